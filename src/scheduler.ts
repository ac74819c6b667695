import { onAbort } from './abort.js'
import type { NativeDevice } from './binding.js'
import { WinnowError } from './errors.js'
import { Heat } from './heat.js'
import { maxStreams } from './layout.js'
import { Lease } from './lease.js'
import { haveSameAdapters, type PoolNeeds, type Streams, serves } from './streams.js'

interface Waiting {
  readonly needs: PoolNeeds
  resolve(lease: Lease): void
  reject(error: unknown): void
}

/**
 * Lets any number of races share the engine's one pool. Races get their streams in the order they ask: a race that ends,
 * or loses branches, makes room for the next. One that needs another pool (longer streams, more of them, other adapters) has its turn when
 * those before it have ended, and nobody overtakes it.
 */
export class Scheduler {
  readonly #streams: Streams
  /** Streams that a pool is made with when so many are asked for at the same time. */
  readonly #shared: number
  readonly #waiting: Waiting[] = []
  #heat: Heat | null = null
  /** The pool is for one race, which may leave it in another shape: it is not kept. */
  #alone = false
  /** Nobody more is let in, so that a larger pool can be made. */
  #draining = false
  #admitting = false
  /** Something changed since admission last looked. */
  #stale = false
  #idle: (() => void)[] = []

  constructor(streams: Streams, shared: number) {
    this.#streams = streams
    this.#shared = shared
  }

  /** Streams for a race. Rejects with the signal's reason, and throws what making a pool does. */
  lease(needs: PoolNeeds, signal: AbortSignal): Promise<Lease> {
    return new Promise((resolve, reject) => {
      const waiting = {
        needs,
        resolve: (lease: Lease) => {
          unsubscribe()
          resolve(lease)
        },
        reject: (error: unknown) => {
          unsubscribe()
          reject(error)
        }
      }
      this.#waiting.push(waiting)
      const unsubscribe = onAbort(signal, () => {
        const index = this.#waiting.indexOf(waiting)
        if (index < 0) return
        this.#waiting.splice(index, 1)
        reject(signal.reason)
        this.#changed()
      })
      this.#changed()
    })
  }

  /** When every race has ended and none waits: frees the pool. */
  async close(): Promise<void> {
    while (this.busy) await new Promise<void>((resolve) => this.#idle.push(resolve))
    await this.#streams.drop()
  }

  /** Whether a race runs or waits. */
  get busy(): boolean {
    return this.#admitting || this.#waiting.length > 0 || (this.#heat?.leases.size ?? 0) > 0
  }

  /** Somebody asks, or streams came free. */
  #changed(): void {
    this.#stale = true
    if (!this.#admitting) void this.#settle()
  }

  async #settle(): Promise<void> {
    this.#admitting = true
    while (this.#stale) {
      this.#stale = false
      if (this.#heat !== null && this.#heat.leases.size === 0 && (this.#heat.broken || this.#alone)) {
        this.#heat = null
        await this.#streams.drop().catch(() => {})
      }
      await this.#admit()
    }
    this.#admitting = false
    if (this.busy) return
    for (const resolve of this.#idle.splice(0)) resolve()
  }

  async #admit(): Promise<void> {
    for (let [next] = this.#waiting; next !== undefined; [next] = this.#waiting) {
      try {
        const heat = await this.#heatFor(next.needs)
        if (heat === null) return
        // It may have been aborted meanwhile.
        if (this.#waiting[0] !== next) continue
        this.#waiting.shift()
        const lease = new Lease(heat, next.needs.streams)
        heat.add(lease)
        next.resolve(lease)
      } catch (error) {
        if (this.#waiting[0] === next) this.#waiting.shift()
        next.reject(error)
      }
    }
  }

  /** Where a race of these needs can start now; null while it has to wait. */
  async #heatFor(needs: PoolNeeds): Promise<Heat | null> {
    const heat = this.#heat
    if (heat !== null && heat.leases.size > 0) {
      if (this.#alone || needs.exact === true) return null
      const held = this.#streams.held?.needs
      if (heat.broken || held === undefined || !serves(held, needs)) return null
      const taken = [...heat.leases].reduce((sum, lease) => sum + lease.held, 0)
      if (!this.#draining && taken + needs.streams <= held.streams) return heat
      // It has to wait in any case; so many want streams that a larger pool is worth letting this one run empty.
      if (this.#together(needs).streams > held.streams) this.#draining = true
      return null
    }
    this.#draining = false
    this.#alone = needs.exact === true
    const pool = this.#alone ? await this.#streams.acquire(needs) : await this.#acquire(needs)
    if (this.#heat?.pool !== pool) this.#heat = new Heat(pool, () => this.#changed())
    return this.#heat as Heat
  }

  /** A pool for all who wait, as far as they can share one and memory has it; otherwise one for the first. */
  async #acquire(first: PoolNeeds) {
    const all = this.#together(first)
    try {
      return await this.#streams.acquire(all)
    } catch (error) {
      if (all === first || !WinnowError.is(error) || error.code !== 'OUT_OF_MEMORY') throw error
      return this.#streams.acquire(first)
    }
  }

  /** What the first who wait need together, as far as they can share a pool. */
  #together(first: PoolNeeds): PoolNeeds {
    let all = first
    for (const { needs } of this.#waiting.slice(1)) {
      const streams = all.streams + needs.streams
      const alike = needs.deterministic === first.deterministic && haveSameAdapters(needs, first)
      if (needs.exact === true || !alike || streams > this.#shared) break
      const cellsPerStream = Math.max(all.cellsPerStream, needs.cellsPerStream)
      all = { ...all, streams, cellsPerStream, states: all.states || needs.states }
    }
    return all
  }
}

/** Rows of a step beyond which more make it no faster for each: on a GPU its width is nearly free. */
export function sharedStreams(devices: readonly NativeDevice[]): number {
  return devices.some(({ type }) => type === 'gpu') ? maxStreams : 64
}
