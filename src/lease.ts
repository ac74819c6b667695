import {
  BranchCode,
  type NativeAdvance,
  type NativeForkParams,
  type NativeHead,
  type NativeOccupancy,
  type NativePool,
  type NativePrefill
} from './binding.js'
import { WinnowError } from './errors.js'
import type { Heat } from './heat.js'
import type { Rung } from './ladder.js'

/** What of the pool a scorer may use: the rows are those of the race's branches after their last decoded tokens. */
export interface RacePool {
  /** One number for each branch. */
  score(head: NativeHead, ids: Int32Array): Promise<Float32Array>
  /** ids x width of the model. */
  states(ids: Int32Array): Promise<Float32Array>
  /** ids x features of a head. */
  confidence(ids: Int32Array): Promise<Float32Array>
}

/** A race's part of a pool: so many streams, and the operations on what is in them. Other races may have the rest. */
export class Lease implements RacePool {
  readonly #heat: Heat
  #race = 0
  #live = 0
  #forked = false
  #ended = false
  #aborted = false
  /** Streams it may use. */
  readonly streams: number
  /** The most KV cells of this race at once, so far. */
  peakCells = 0

  constructor(heat: Heat, streams: number) {
    this.#heat = heat
    this.streams = streams
  }

  /** Streams that nobody else may have now: all until the fork, then those with a live branch. */
  get held(): number {
    if (this.#ended) return 0
    return this.#forked ? Math.min(this.#live, this.streams) : this.streams
  }

  /** The number of its race in the pool; 0 before the prefill and after the end. */
  get race(): number {
    return this.#race
  }

  /** It has branches, so it will want a turn. */
  get racing(): boolean {
    return this.#live > 0
  }

  /** Whether every step so far was decoded for this race alone. */
  alone = true

  /** Of the whole pool. */
  get occupancy(): NativeOccupancy {
    return this.#heat.pool.occupancy()
  }

  /** Seconds; 0 means no deadline. */
  async prefill(prompt: Int32Array, seconds: number): Promise<NativePrefill> {
    const deadline = performance.now() + 1000 * seconds
    const work = async (pool: NativePool): Promise<NativePrefill> => {
      // It may have waited for others' prompts.
      if (this.#aborted) return { reason: 'aborted', race: 0, tokens: prompt.length, decoded: 0, seconds: 0 }
      return pool.prefill(prompt, seconds === 0 ? 0 : Math.max(1e-3, (deadline - performance.now()) / 1000))
    }
    const done = await this.#job(work, true)
    this.#race = done.race
    if (done.reason === 'reached') this.peakCells = done.tokens
    return done
  }

  async fork(params: NativeForkParams): Promise<void> {
    await this.#job(async (pool) => {
      await pool.fork(this.#race, params)
      // Before the heat looks who is racing.
      this.#live += params.count
      this.#forked = true
    })
    this.#heat.freed()
  }

  /**
   * Until every live branch has so many generated tokens, or fewer than `least` of them are still to get there. `running`:
   * something else came between; ask again.
   */
  async advance(until: number, seconds: number, least = 0): Promise<Turned> {
    const turned = await this.#heat.turn(this, { until, least }, seconds)
    const ended = turned.status.reduce((sum, status) => sum + (status === BranchCode.live ? 0 : 1), 0)
    this.#live -= ended
    if (ended > 0) this.#heat.freed()
    if (turned.cellsPeak > 0) this.peakCells = turned.cellsPeak
    return turned
  }

  async kill(ids: Int32Array): Promise<void> {
    await this.#job((pool) => pool.kill(this.#race, ids))
    this.#live -= ids.length
    this.#heat.freed()
  }

  /** Out of their streams, with or without a copy of their cells; only where the pool is this race's alone. */
  async park(ids: Int32Array, copy: boolean): Promise<void> {
    await this.#job((pool) => pool.park(this.#race, ids, copy))
  }

  /** Back into streams. The tokens that were decoded again. */
  async resume(ids: Int32Array): Promise<number> {
    return this.#job((pool) => pool.resume(this.#race, ids))
  }

  /** Streams of another number and length, with the same branches in them; only where the pool is this race's alone. */
  async reshape({ width, cells }: Rung): Promise<void> {
    await this.#job((pool) => pool.reshape(width, cells))
  }

  score(head: NativeHead, ids: Int32Array): Promise<Float32Array> {
    return this.#job((pool) => pool.score(head, this.#race, ids))
  }

  states(ids: Int32Array): Promise<Float32Array> {
    return this.#job((pool) => pool.states(this.#race, ids))
  }

  confidence(ids: Int32Array): Promise<Float32Array> {
    return this.#job((pool) => pool.confidence(this.#race, ids))
  }

  /** Ends its prefill or its turn soon, which then resolves with reason `aborted`. Neither: no effect. */
  abort(): void {
    this.#aborted = true
    this.#heat.abort(this)
  }

  /** Frees what it holds. Whoever still uses it is refused from now on. Idempotent. */
  async end(): Promise<void> {
    if (this.#ended) return
    this.#ended = true
    this.#live = 0
    await this.#heat.end(this)
  }

  async #job<T>(work: (pool: NativePool) => Promise<T>, abortable = false): Promise<T> {
    if (this.#ended) throw new WinnowError('CLOSED', 'Expected a race that goes on but received one that has ended')
    return this.#heat.job(this, work, abortable)
  }
}

/** The outcome of a turn. */
export type Turned = Omit<NativeAdvance, 'reason'> & { readonly reason: NativeAdvance['reason'] | 'running' }
