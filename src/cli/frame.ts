import type { Branch } from '../branch.js'

/** What one frame shows. */
export interface Frame {
  readonly title: string
  readonly branches: readonly Branch[]
  readonly tokens: number
  readonly seconds: number
  /** Ids killed since the frame before, or at the last checkpoint if that was earlier. */
  readonly killed: ReadonlySet<number>
  /** The end of the text of the branch that leads; empty before the first score. */
  readonly leading: string
}

const heights = [...'▁▂▃▄▅▆▇█']
const colors = { high: 32, middle: 33, low: 31, dead: 90, dim: 2 } as const

/**
 * One cell a branch, in rows of at most 64 and as many as the terminal has lines for: a live one is a bar as high as its rank among the living and finished, a
 * finished one a disc, one killed just now a cross, one killed before a dot.
 */
export function drawFrame(frame: Frame, columns: number, lines: number, color: boolean): string[] {
  const paint = (text: string, code: number) => (color ? `\u001b[${code}m${text}\u001b[0m` : text)
  const ranks = ranksOf(frame.branches)
  const cells = frame.branches.map((branch) => cell(branch, frame.killed, ranks, paint))
  const width = Math.max(8, Math.min(64, columns - 2))
  // Beside the rows: three lines of words, and the one below a frame.
  const most = Math.max(1, lines - 4)
  const rows = Array.from({ length: Math.min(most, Math.ceil(cells.length / width)) }, (_, row) =>
    cells.slice(row * width, (row + 1) * width).join('')
  )
  const hidden = Math.max(0, cells.length - rows.length * width)
  const count = (state: string) => frame.branches.filter(({ status }) => status.state === state).length
  const written = frame.branches.reduce((sum, branch) => sum + branch.length, 0)
  const facts = [
    ...(hidden === 0 ? [] : [`${hidden.toLocaleString('en')} not shown`]),
    `${frame.tokens} tokens deep`,
    `${count('live')} live`,
    `${count('finished')} finished`,
    `${count('killed')} killed`,
    `${written.toLocaleString('en')} written`,
    `${frame.seconds.toFixed(1)} s`
  ].join('  ')
  const drawn = [frame.title, ...rows.map((row) => ` ${row}`), ` ${facts}`, ` ${frame.leading}`]
  return drawn.map((line, i) =>
    i > 0 && i <= rows.length ? line : paint(clip(line, columns - 1), i === 0 ? 1 : colors.dim)
  )
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
