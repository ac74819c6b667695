import { bytesText } from '../bytes.js'
import type { OpenOptions } from '../options.js'
import { ProgressLine } from './progress-line.js'
import type { Terminal } from './terminal.js'

/** How far models given by address are, on stderr. */
export class Downloads {
  /** To open models with. */
  readonly options: Pick<OpenOptions, 'signal' | 'onDownload'>
  readonly #terminal: Terminal
  readonly #line: ProgressLine | null
  /** Of the download at work: since when, and what was there then. */
  #since: { readonly at: number; readonly bytes: number } | null = null

  /** `signal` ends a download. */
  constructor(terminal: Terminal, quiet: boolean, signal: AbortSignal) {
    this.#terminal = terminal
    this.#line = quiet ? null : new ProgressLine(terminal)
    this.options = { signal, onDownload: (bytes, total) => this.#on(bytes, total) }
  }

  /** Makes room for what comes next. */
  end(): void {
    this.#line?.end()
    if (this.#since === null || this.#line === null) return
    this.#since = null
    this.#terminal.stderr.write('What has arrived is kept: the same command goes on from there.\n')
  }

  #on(bytes: number, total: number): void {
    if (bytes === total) {
      this.#since = null
      this.#line?.end()
      return
    }
    this.#since ??= { at: performance.now(), bytes }
    const rate = (bytes - this.#since.bytes) / Math.max(1, performance.now() - this.#since.at)
    const left = rate > 0 ? `; about ${Math.ceil((total - bytes) / rate / 60_000)} min left` : ''
    this.#line?.say(`downloading: ${bytesText(bytes)} of ${bytesText(total)}${left}`)
  }
}
