import type { Branch } from '../branch.js'
import type { Progress } from '../options.js'
import { type Terminal, wantsColor } from './terminal.js'

/** What one frame shows. */
export interface Frame {
  readonly title: string
  readonly branches: readonly Branch[]
  readonly tokens: number
  readonly seconds: number
  /** Ids killed at the last checkpoint. */
  readonly killed: ReadonlySet<number>
  /** The end of the text of the branch that leads; empty before the first score. */
  readonly leading: string
}

const heights = [...'▁▂▃▄▅▆▇█']
const colors = { high: 32, middle: 33, low: 31, dead: 90, dim: 2 } as const

/**
 * One cell a branch, in rows of at most 64: a live one is a bar as high as its rank among the living and finished, a
 * finished one a disc, one killed at the last checkpoint a cross, one killed before a dot.
 */
export function drawFrame(frame: Frame, columns: number, color: boolean): string[] {
  const paint = (text: string, code: number) => (color ? `\u001b[${code}m${text}\u001b[0m` : text)
  const ranks = ranksOf(frame.branches)
  const cells = frame.branches.map((branch) => cell(branch, frame.killed, ranks, paint))
  const width = Math.max(8, Math.min(64, columns - 2))
  const rows = Array.from({ length: Math.ceil(cells.length / width) }, (_, row) =>
    cells.slice(row * width, (row + 1) * width).join('')
  )
  const count = (state: string) => frame.branches.filter(({ status }) => status.state === state).length
  const written = frame.branches.reduce((sum, branch) => sum + branch.length, 0)
  const facts = [
    `${frame.tokens} tokens deep`,
    `${count('live')} live`,
    `${count('finished')} finished`,
    `${count('killed')} killed`,
    `${written.toLocaleString('en')} written`,
    `${frame.seconds.toFixed(1)} s`
  ].join('  ')
  const lines = [frame.title, ...rows.map((row) => ` ${row}`), ` ${facts}`, ` ${frame.leading}`]
  return lines.map((line, i) =>
    i > 0 && i <= rows.length ? line : paint(clip(line, columns - 1), i === 0 ? 1 : colors.dim)
  )
}

/** Draws frames over each other on a terminal; elsewhere says a line every half minute. */
export class LiveView {
  readonly #terminal: Terminal
  readonly #title: string
  readonly #textOf: (tokens: Int32Array) => Promise<string>
  readonly #color: boolean
  #height = 0
  #killed: ReadonlySet<number> = new Set()
  #leading = ''
  #spokeAt = Number.NEGATIVE_INFINITY
  #drewAt = Number.NEGATIVE_INFINITY

  constructor(terminal: Terminal, title: string, textOf: (tokens: Int32Array) => Promise<string>) {
    this.#terminal = terminal
    this.#title = title
    this.#textOf = textOf
    this.#color = wantsColor(terminal.env, terminal.stderr)
  }

  onProgress(progress: Progress): void {
    if (!this.#terminal.stderr.isTTY || performance.now() - this.#drewAt < 100) return
    this.#draw(progress)
  }

  onCheckpoint(progress: Progress): void {
    this.#killed = new Set(progress.killed)
    this.#readLeader(progress.branches)
    if (this.#terminal.stderr.isTTY) this.#draw(progress)
    else this.#speak(progress)
  }

  #draw({ branches, tokens, seconds }: Progress): void {
    const { stderr } = this.#terminal
    const frame = { title: this.#title, branches, tokens, seconds, killed: this.#killed, leading: this.#leading }
    const lines = drawFrame(frame, stderr.columns, this.#color)
    stderr.write(`${this.#height > 0 ? `\u001b[${this.#height}A\u001b[J` : ''}${lines.join('\n')}\n`)
    this.#height = lines.length
    this.#drewAt = performance.now()
  }

  #speak({ branches, tokens, killed }: Progress): void {
    if (performance.now() - this.#spokeAt < 30_000) return
    this.#spokeAt = performance.now()
    const live = branches.filter(({ status }) => status.state === 'live').length
    this.#terminal.stderr.write(
      `${tokens} tokens deep: ${live} of ${branches.length} live, ${killed.length} killed now\n`
    )
  }

  #readLeader(branches: readonly Branch[]): void {
    const leader = leaderOf(branches)
    if (leader === null || !this.#terminal.stderr.isTTY) return
    this.#textOf(leader.tokens.slice(-64)).then(
      (text) => {
        this.#leading = `#${leader.id} leads: …${text.replace(/\s+/g, ' ').slice(-56)}`
      },
      // The engine was closed meanwhile: there is nothing left to show it on.
      () => {}
    )
  }
}

function leaderOf(branches: readonly Branch[]): Branch | null {
  let leader: Branch | null = null
  for (const branch of branches) {
    if (branch.status.state === 'killed' || branch.score === null) continue
    if (leader === null || branch.score > (leader.score as number)) leader = branch
  }
  return leader
}

/** id -> share of the scored, not killed branches that it scores above, 0..1. */
function ranksOf(branches: readonly Branch[]): ReadonlyMap<number, number> {
  const scored = branches.filter((branch) => branch.status.state !== 'killed' && branch.score !== null)
  const sorted = scored.sort((a, b) => (a.score as number) - (b.score as number))
  return new Map(sorted.map((branch, i) => [branch.id, sorted.length === 1 ? 1 : i / (sorted.length - 1)]))
}

function cell(
  branch: Branch,
  killed: ReadonlySet<number>,
  ranks: ReadonlyMap<number, number>,
  paint: (text: string, code: number) => string
): string {
  if (branch.status.state === 'killed') {
    return killed.has(branch.id) ? paint('×', colors.low) : paint('·', colors.dead)
  }
  const rank = ranks.get(branch.id) ?? 0.5
  const tone = rank > 2 / 3 ? colors.high : rank > 1 / 3 ? colors.middle : colors.low
  const height = heights[Math.min(heights.length - 1, Math.floor(rank * heights.length))] as string
  return paint(branch.status.state === 'finished' ? '●' : height, tone)
}

function clip(line: string, columns: number): string {
  const letters = [...line]
  return letters.length <= columns ? line : `${letters.slice(0, Math.max(1, columns - 1)).join('')}…`
}
