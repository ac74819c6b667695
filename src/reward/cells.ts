import type { NativeBinding, NativeModel } from '../binding.js'
import { fromAddon } from '../errors.js'
import type { ResolvedOpenOptions } from '../options.js'
import type { Room } from './session.js'

/** For how many branches cells are, and how many tokens of each. */
export interface Extent {
  readonly streams: number
  readonly cells: number
}

/** Whether what is at hand is room enough. */
export function serves(held: Extent | null, streams: number, cells: number): held is Extent {
  return held !== null && held.streams >= streams && held.cells >= cells
}

/** A reward model's native cells, kept from race to race, and made anew when a race needs more than they are. */
export class Cells {
  readonly #options: ResolvedOpenOptions
  readonly #mustBeOpen: () => void
  #held: (Room & Extent) | null = null

  /** `mustBeOpen` throws once the owner has been closed: cells made later would be nobody's to free. */
  constructor(options: ResolvedOpenOptions, mustBeOpen: () => void) {
    this.#options = options
    this.#mustBeOpen = mustBeOpen
  }

  /** What is at hand; null without any. */
  get held(): Extent | null {
    return this.#held
  }

  /** Room enough, but at most `limit` tokens for each branch; what is at hand where that has it. */
  async acquire(
    binding: NativeBinding,
    model: NativeModel,
    streams: number,
    tokens: number,
    limit: number
  ): Promise<Room> {
    this.#mustBeOpen()
    const wanted = Math.min(tokens, limit)
    const held = this.#held
    if (serves(held, streams, wanted)) return held
    await this.drop()
    const { threads, batch, kvType, flashAttention } = this.#options
    const params = { streams, cellsPerStream: wanted, threads, batch, kvType, flashAttention }
    const native = await fromAddon(() => binding.createMirror(model, params))
    try {
      this.#mustBeOpen()
    } catch (error) {
      await native.close()
      throw error
    }
    const room = { native, streams, cells: Math.min(native.occupancy().cellsPerStream, limit) }
    this.#held = room
    return room
  }

  async drop(): Promise<void> {
    const held = this.#held
    this.#held = null
    await held?.native.close()
  }
}
