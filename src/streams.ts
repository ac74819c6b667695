import type { NativeBinding, NativeModel, NativePool } from './binding.js'
import { WinnowError } from './errors.js'
import type { ResolvedOpenOptions } from './options.js'

/** What a race asks of a pool. */
export interface PoolNeeds {
  readonly streams: number
  /** Tokens a branch may hold, prompt included. */
  readonly cellsPerStream: number
  readonly states: boolean
  readonly deterministic: boolean
}

/** The engine's one pool: kept from race to race, and made anew when a race needs more than it has. */
export class Streams {
  readonly #binding: NativeBinding
  readonly #model: NativeModel
  readonly #options: ResolvedOpenOptions
  #pool: { readonly pool: NativePool; readonly needs: PoolNeeds } | null = null

  constructor(binding: NativeBinding, model: NativeModel, options: ResolvedOpenOptions) {
    this.#binding = binding
    this.#model = model
    this.#options = options
  }

  /** Throws OUT_OF_MEMORY, CONTEXT_TOO_LONG. */
  async acquire(needs: PoolNeeds): Promise<NativePool> {
    const held = this.#pool
    if (held !== null && serves(held.needs, needs)) return held.pool
    await this.drop()
    if (held !== null) {
      // Grow in both directions, so that races of different shapes do not take turns making pools.
      const grown = {
        ...needs,
        streams: Math.max(needs.streams, held.needs.streams),
        cellsPerStream: Math.max(needs.cellsPerStream, held.needs.cellsPerStream)
      }
      const pool = await this.#create(grown).catch((error: unknown) => {
        if (WinnowError.is(error) && error.code === 'OUT_OF_MEMORY') return null
        throw error
      })
      if (pool !== null) return pool
    }
    return this.#create(needs)
  }

  /** Frees the pool: it is no longer wanted, or no longer to be trusted. */
  async drop(): Promise<void> {
    const held = this.#pool
    this.#pool = null
    await held?.pool.close()
  }

  async #create(needs: PoolNeeds): Promise<NativePool> {
    const { threads, batch, kvType, flashAttention, logger } = this.#options
    logger.debug(needs, 'making a pool')
    try {
      const pool = await this.#binding.createPool(this.#model, { ...needs, threads, batch, kvType, flashAttention })
      this.#pool = { pool, needs: { ...needs, cellsPerStream: pool.occupancy().cellsPerStream } }
      return pool
    } catch (error) {
      throw WinnowError.from(error)
    }
  }
}

function serves(has: PoolNeeds, needs: PoolNeeds): boolean {
  return (
    has.streams >= needs.streams &&
    has.cellsPerStream >= needs.cellsPerStream &&
    has.deterministic === needs.deterministic &&
    (has.states || !needs.states)
  )
}
