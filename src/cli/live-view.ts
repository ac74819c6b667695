import type { Branch } from '../branch.js'
import type { Progress } from '../options.js'
import { drawFrame } from './frame.js'
import { isWatched, type Terminal, wantsColor } from './terminal.js'

/** How long a frame stands at least, milliseconds. */
const pause = 100

/** Draws frames over each other where a person watches, ten a second at most; elsewhere says a line every half minute. */
export class LiveView {
  readonly #terminal: Terminal
  readonly #title: string
  readonly #textOf: (tokens: Int32Array, cut: number) => Promise<string>
  readonly #color: boolean
  readonly #watched: boolean
  #height = 0
  #killed: ReadonlySet<number> = new Set()
  #leading = ''
  #spokeAt = Number.NEGATIVE_INFINITY
  #drewAt = Number.NEGATIVE_INFINITY
  /** The checkpoint that came too soon after a frame for one of its own. */
  #undrawn: Progress | null = null

  constructor(terminal: Terminal, title: string, textOf: (tokens: Int32Array, cut: number) => Promise<string>) {
    this.#terminal = terminal
    this.#title = title
    this.#textOf = textOf
    this.#color = wantsColor(terminal)
    this.#watched = isWatched(terminal)
  }

  onProgress(progress: Progress): void {
    if (this.#watched && this.#isTime()) this.#draw(progress)
  }

  onCheckpoint(progress: Progress): void {
    if (!this.#watched) {
      this.#speak(progress)
      return
    }
    this.#killed = new Set([...(this.#undrawn === null ? [] : this.#killed), ...progress.killed])
    this.#readLeader(progress.branches)
    if (this.#isTime()) this.#draw(progress)
    else this.#undrawn = progress
  }

  /** Draws how it ended, if that has not been drawn. */
  end(): void {
    if (this.#undrawn !== null) this.#draw(this.#undrawn)
  }

  #isTime(): boolean {
    return performance.now() - this.#drewAt >= pause
  }

  #draw({ branches, tokens, seconds }: Progress): void {
    const { stderr } = this.#terminal
    const frame = { title: this.#title, branches, tokens, seconds, killed: this.#killed, leading: this.#leading }
    const lines = drawFrame(frame, stderr.columns, stderr.rows, this.#color)
    stderr.write(`${this.#height > 0 ? `\u001b[${this.#height}A\u001b[J` : ''}${lines.join('\n')}\n`)
    this.#height = lines.length
    this.#undrawn = null
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
    if (leader === null) return
    this.#textOf(leader.tokens.slice(-64), leader.cut).then(
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
