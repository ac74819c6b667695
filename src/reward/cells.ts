import type { NativeBinding, NativeModel } from '../binding.js'
import { fromAddon } from '../errors.js'
import type { ResolvedOpenOptions } from '../options.js'
import type { Mirrors, Room } from './session.js'

/** For how many branches cells are, and how many tokens of each. */
export interface Extent {
  readonly streams: number
  readonly cells: number
}

/** Whether what is at hand is room enough. */
export function serves(held: Extent | null, streams: number, cells: number): held is Extent {
  return held !== null && held.streams >= streams && held.cells >= cells
}

interface Held extends Room, Extent {
  /** A session has it. */
  taken: boolean
}

/**
 * A reward model's native cells: of each race that is being scored its own. They are kept from race to race, and made anew
 * where a race needs more than any that nobody has.
 */
export class Cells {
  readonly #options: ResolvedOpenOptions
  readonly #mustBeOpen: () => void
  readonly #all = new Set<Held>()

  /** `mustBeOpen` throws once the owner has been closed: cells made later would be nobody's to free. */
  constructor(options: ResolvedOpenOptions, mustBeOpen: () => void) {
    this.#options = options
    this.#mustBeOpen = mustBeOpen
  }

  /** What is at hand, that nobody has if possible; null without any. */
  get held(): Extent | null {
    const all = [...this.#all]
    return all.find(({ taken }) => !taken) ?? all[0] ?? null
  }

  /** For one session, with at most `limit` tokens for each branch; `done` is called when it has given them back. */
  session(binding: NativeBinding, model: NativeModel, limit: number, done: () => void): Mirrors {
    let own: Held | null = null
    return {
      acquire: async (streams, tokens) => {
        const former = own
        own = null
        if (former !== null) await this.#free(former)
        own = await this.#take(binding, model, streams, Math.min(tokens, limit), limit)
        return own
      },
      release: async (broken) => {
        try {
          if (own !== null && broken) await this.#free(own)
          if (own !== null) own.taken = false
        } finally {
          done()
        }
      }
    }
  }

  async drop(): Promise<void> {
    await Promise.all([...this.#all].map((each) => this.#free(each)))
  }

  async #take(
    binding: NativeBinding,
    model: NativeModel,
    streams: number,
    tokens: number,
    limit: number
  ): Promise<Held> {
    this.#mustBeOpen()
    const idle = [...this.#all].filter(({ taken }) => !taken)
    const enough = idle.find((each) => serves(each, streams, tokens))
    if (enough !== undefined) {
      enough.taken = true
      return enough
    }
    // There may not be room for both.
    for (const each of idle) await this.#free(each)
    const { threads, batch, kvType, flashAttention } = this.#options
    const params = { streams, cellsPerStream: tokens, threads, batch, kvType, flashAttention }
    const native = await fromAddon(() => binding.createMirror(model, params))
    try {
      this.#mustBeOpen()
    } catch (error) {
      await native.close()
      throw error
    }
    const made = { native, streams, cells: Math.min(native.occupancy().cellsPerStream, limit), taken: true }
    this.#all.add(made)
    return made
  }

  async #free(each: Held): Promise<void> {
    this.#all.delete(each)
    await each.native.close()
  }
}
