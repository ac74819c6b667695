import { type AdapterSet, noAdapters } from './adapter.js'
import type { NativeBinding, NativeModel, NativeOccupancy, NativePool, NativeSizes } from './binding.js'
import { WinnowError } from './errors.js'
import { toBlock } from './ladder.js'
import type { ResolvedOpenOptions } from './options.js'

/** What a race asks of a pool. */
export interface PoolNeeds {
  readonly streams: number
  /** Tokens a branch may hold, prompt included. */
  readonly cellsPerStream: number
  readonly states: boolean
  readonly deterministic: boolean
  /** Default: none. */
  readonly adapters?: AdapterSet | undefined
  /** Just this shape, for a race that has the pool alone and may reshape it. */
  readonly exact?: boolean
  /** Cells of one cache that all share, in all; only where `exact`. Default: streams. */
  readonly unifiedCells?: number | undefined
}

/** The pool at hand. */
export interface HeldPool {
  /** What it was made for. */
  readonly needs: PoolNeeds
  /** What llama.cpp has allocated for it. */
  readonly sizes: NativeSizes
}

/** A pool grows while it then has at most this many times the cells of the larger of what it was and what is needed. */
const growth = 2

/**
 * The pools that serve these needs, in the order in which they are tried: the one at hand where it serves, if with other
 * adapters; one grown in both directions, so that races of different shapes do not take turns making pools, unless most
 * of its cells would be nobody's (many short streams and few long ones make many long ones); one of just this shape.
 */
export function poolsFor(held: PoolNeeds | null, needs: PoolNeeds): readonly PoolNeeds[] {
  if (held === null || needs.exact === true) return [needs]
  if (serves(held, needs)) return [held]
  if (servesAdapted(held, needs)) return [{ ...held, adapters: needs.adapters }, needs]
  const grown = {
    ...needs,
    streams: Math.max(needs.streams, held.streams),
    cellsPerStream: Math.max(needs.cellsPerStream, held.cellsPerStream)
  }
  const [most, own] = [growth * Math.max(cellsOf(held), cellsOf(needs)), cellsOf(needs)]
  return cellsOf(grown) > own && cellsOf(grown) <= most ? [grown, needs] : [needs]
}

/** The engine's one pool: kept from race to race, and made anew when a race needs more than it has. */
export class Streams {
  readonly #binding: NativeBinding
  readonly #model: NativeModel
  readonly #options: ResolvedOpenOptions
  #pool: (HeldPool & { readonly pool: NativePool }) | null = null

  constructor(binding: NativeBinding, model: NativeModel, options: ResolvedOpenOptions) {
    this.#binding = binding
    this.#model = model
    this.#options = options
  }

  /** Null without one. */
  get held(): HeldPool | null {
    return this.#pool
  }

  /** Of the pool at hand; null without one. */
  get occupancy(): NativeOccupancy | null {
    return this.#pool?.pool.occupancy() ?? null
  }

  /** A pool that serves, by `poolsFor`; a grown one only where memory has it. Throws OUT_OF_MEMORY, CONTEXT_TOO_LONG. */
  async acquire(needs: PoolNeeds): Promise<NativePool> {
    const held = this.#pool
    const [first = needs, ...others] = poolsFor(held?.needs ?? null, needs)
    if (held !== null && first === held.needs) return held.pool
    const adaptable = held !== null && needs.exact !== true && servesAdapted(held.needs, needs)
    if (adaptable && (await this.#adapted(held, first))) return held.pool
    await this.drop()
    if (others.length > 0) {
      const grown = await this.#create(first).catch((error: unknown) => {
        if (WinnowError.is(error) && error.code === 'OUT_OF_MEMORY') return null
        throw error
      })
      if (grown !== null) return grown
    }
    return this.#create(needs)
  }

  /** Whether the pool at hand, which has no race, has the adapters of these needs now. Where not, it is of no more use. */
  async #adapted({ pool }: { readonly pool: NativePool }, needs: PoolNeeds): Promise<boolean> {
    try {
      await pool.adapt((needs.adapters ?? noAdapters).members)
      this.#pool = { pool, needs, sizes: await pool.sizes() }
      return true
    } catch (error) {
      this.#options.logger.debug({ error }, 'the pool at hand did not take other adapters')
      return false
    }
  }

  /** Frees the pool: it is no longer wanted, or no longer to be trusted. */
  async drop(): Promise<void> {
    const held = this.#pool
    this.#pool = null
    await held?.pool.close()
  }

  async #create(needs: PoolNeeds): Promise<NativePool> {
    const { threads, batch, kvType, flashAttention, drawing, logger } = this.#options
    const { adapters = noAdapters, ...shape } = needs
    logger.debug({ ...shape, adapters: adapters.key }, 'making a pool')
    try {
      const settings = { threads, batch, kvType, flashAttention, drawing }
      const pool = await this.#binding.createPool(this.#model, { ...shape, ...settings })
      try {
        if (adapters.members.length > 0) await pool.adapt(adapters.members)
        const sizes = await pool.sizes()
        this.#pool = { pool, needs: { ...needs, cellsPerStream: pool.occupancy().cellsPerStream }, sizes }
        return pool
      } catch (error) {
        await pool.close()
        throw error
      }
    } catch (error) {
      throw WinnowError.from(error)
    }
  }
}

/** Whether a pool made for some needs will do for others. */
export function serves(has: PoolNeeds, needs: PoolNeeds): boolean {
  return (
    has.streams >= needs.streams &&
    has.cellsPerStream >= needs.cellsPerStream &&
    has.deterministic === needs.deterministic &&
    has.unifiedCells === undefined &&
    needs.unifiedCells === undefined &&
    haveSameAdapters(has, needs) &&
    (has.states || !needs.states)
  )
}

/** Whether races of the one are written with the adapters of the other. */
export function haveSameAdapters(a: PoolNeeds, b: PoolNeeds): boolean {
  return (a.adapters ?? noAdapters).key === (b.adapters ?? noAdapters).key
}

/** Whether it will do once it has the adapters of these needs. */
function servesAdapted(held: PoolNeeds, needs: PoolNeeds): boolean {
  return serves({ ...held, adapters: needs.adapters }, needs)
}

function cellsOf({ streams, cellsPerStream }: PoolNeeds): number {
  return streams * toBlock(cellsPerStream)
}
