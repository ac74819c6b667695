import type { Branch } from '../branch.js'

/** A branch that may still be an answer, as it stood at a look. */
interface Glimpse {
  readonly id: number
  readonly live: boolean
  readonly tokens: Int32Array
  readonly cut: number
}

type TextsOf = (tokens: readonly Int32Array[], cuts: readonly number[]) => Promise<string[]>

/**
 * What all branches that may still win have in common: whoever wins, the answer begins so, and it can be streamed. Of live
 * branches that is less whatever may yet change: half a character, and what may turn out to be a stop text.
 */
export class CommonText {
  readonly #textsOf: TextsOf
  readonly #stops: readonly string[]
  readonly #grew: (text: string) => void
  #text = ''
  /** Who was looked at when the texts were found to part, or one of them to have ended; '' while they may go on. */
  #stuck = ''
  #next: readonly Glimpse[] | null = null
  #reading: Promise<void> | null = null
  #closed = false

  /** `grew` is told what came new. */
  constructor(textsOf: TextsOf, stops: readonly string[], grew: (text: string) => void) {
    this.#textsOf = textsOf
    this.#stops = stops
    this.#grew = grew
  }

  /** All that was given out. */
  get text(): string {
    return this.#text
  }

  /** The branches are read during the call; a look that comes while one is read replaces whoever waits. */
  look(branches: readonly Branch[]): void {
    if (this.#closed || namesOf(branches) === this.#stuck) return
    this.#next = branches.map(({ id, status, tokens, cut }) => ({
      id,
      live: status.state === 'live',
      tokens: tokens.slice(),
      cut
    }))
    this.#reading ??= this.#read()
  }

  /** No more is given out once this has resolved. */
  async close(): Promise<void> {
    this.#closed = true
    this.#next = null
    await this.#reading
  }

  async #read(): Promise<void> {
    while (this.#next !== null) {
      const glimpses = this.#next
      this.#next = null
      try {
        const lists = glimpses.map(({ tokens }) => tokens)
        const texts = await this.#textsOf(
          lists,
          glimpses.map(({ cut }) => cut)
        )
        if (!this.#closed) this.#take(glimpses, texts)
      } catch {
        // The engine was closed: the race says so itself.
        this.#closed = true
      }
    }
    this.#reading = null
  }

  #take(glimpses: readonly Glimpse[], texts: readonly string[]): void {
    const shown = texts.map((text, i) => (glimpses[i]?.live ? settled(text, this.#stops) : text))
    const common = commonPrefix(shown)
    const partsOrEnds = shown.every((text) => text.length > common.length)
    const ended = shown.some((text, i) => text.length === common.length && glimpses[i]?.live === false)
    this.#stuck = partsOrEnds || ended ? namesOf(glimpses) : ''
    if (common.length <= this.#text.length) return
    const added = common.slice(this.#text.length)
    this.#text = common
    this.#grew(added)
  }
}

function namesOf(branches: readonly { readonly id: number }[]): string {
  return branches.map(({ id }) => id).join()
}

/** The text less what more tokens may change. */
function settled(text: string, stops: readonly string[]): string {
  // Bytes of a character that is not whole yet are read as U+FFFD.
  const whole = text.replace(/\ufffd+$/u, '')
  let held = 0
  for (const stop of stops) {
    let length = Math.min(stop.length - 1, whole.length)
    while (length > held && !whole.endsWith(stop.slice(0, length))) length--
    held = Math.max(held, length)
  }
  return whole.slice(0, whole.length - held)
}

/** Of whole characters: never half a surrogate pair. */
export function commonPrefix(texts: readonly string[]): string {
  const [first = '', ...others] = texts
  let length = first.length
  for (const text of others) {
    let same = 0
    while (same < length && same < text.length && first[same] === text[same]) same++
    length = same
  }
  const last = first.charCodeAt(length - 1)
  return first.slice(0, length > 0 && last >= 0xd800 && last <= 0xdbff ? length - 1 : length)
}
