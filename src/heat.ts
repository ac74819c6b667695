import type { NativeAdvance, NativePool } from './binding.js'
import { WinnowError } from './errors.js'
import type { Lease, Turned } from './lease.js'

/**
 * How long races whose turn it is wait for one that is between two turns (scoring, deciding), milliseconds. Then they go
 * on without it: slower, for its streams leave gaps in the batch, but nobody can hold them up.
 */
const patience = 10

/** Errors after which a pool is of no use to anybody. */
const fatal: readonly string[] = ['NATIVE_ASSERT', 'DECODE_FAILED', 'POOL_DEAD', 'INTEGRITY']

interface Job {
  readonly lease: Lease
  readonly abortable: boolean
  run(): Promise<void>
}

/** How far a race goes, as `NativePool.advance` takes it. */
export interface Goal {
  readonly until: number
  readonly least: number
}

interface Turn extends Goal {
  /** Of `performance.now()`; infinity for none. */
  readonly deadline: number
  resolve(turned: Turned): void
  reject(error: unknown): void
}

/**
 * The races that share a pool, and the only one who calls it. One job at a time, in the order they come; between jobs all
 * races that wait for a turn advance together, as one batch, until the first of them is there.
 */
export class Heat {
  readonly pool: NativePool
  /** It failed: whoever comes later needs another pool. */
  broken = false
  readonly #onFreed: () => void
  readonly #leases = new Set<Lease>()
  readonly #jobs: Job[] = []
  readonly #turns = new Map<Lease, Turn>()
  /** Their prefill or turn is to end; told so with what they have taken by then. */
  readonly #aborting = new Set<Lease>()
  /** Not waited for until they want a turn again. */
  readonly #away = new Set<Lease>()
  /** A lone branch of a deterministic pool had no cell beside it: there is one as soon as somebody comes or goes. */
  #stuck = false
  #timer: NodeJS.Timeout | undefined
  /** Whom the operation at hand is for; empty where it cannot be aborted. */
  #served: readonly Lease[] = []
  #busy = false
  #advancing = false

  /** `onFreed` is called whenever streams come free. */
  constructor(pool: NativePool, onFreed: () => void) {
    this.pool = pool
    this.#onFreed = onFreed
  }

  get leases(): ReadonlySet<Lease> {
    return this.#leases
  }

  add(lease: Lease): void {
    this.#leases.add(lease)
  }

  freed(): void {
    this.#onFreed()
  }

  job<T>(lease: Lease, work: (pool: NativePool) => Promise<T>, abortable: boolean): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const run = async () => {
        try {
          resolve(await work(this.pool))
        } catch (error) {
          reject(this.#noticed(error))
        }
      }
      this.#jobs.push({ lease, abortable, run })
      this.#join()
    })
  }

  turn(lease: Lease, goal: Goal, seconds: number): Promise<Turned> {
    return new Promise<Turned>((resolve, reject) => {
      const deadline = seconds === 0 ? Number.POSITIVE_INFINITY : performance.now() + 1000 * seconds
      this.#turns.set(lease, { ...goal, deadline, resolve, reject })
      this.#away.delete(lease)
      this.#join()
    })
  }

  abort(lease: Lease): void {
    const serving = this.#served.includes(lease)
    if (!serving && !this.#turns.has(lease)) return
    this.#aborting.add(lease)
    if (serving) this.pool.abort()
    else this.#next()
  }

  async end(lease: Lease): Promise<void> {
    this.#turns.delete(lease)
    this.#aborting.delete(lease)
    const { race } = lease
    // A pool that failed has nothing left to free.
    if (race !== 0 && !this.broken) await this.job(lease, (pool) => pool.end(race), false).catch(() => {})
    this.#leases.delete(lease)
    this.#away.delete(lease)
    this.#onFreed()
    this.#next()
  }

  /** Those who advance give way at their next step, and go on with or after whoever came. */
  #join(): void {
    if (this.#advancing) this.pool.abort()
    this.#next()
  }

  #next(): void {
    if (this.#busy) return
    const job = this.#jobs.shift()
    if (job !== undefined) {
      void this.#run(job.abortable ? [job.lease] : [], () => job.run())
      return
    }
    const waiting = [...this.#turns.keys()]
    const ending = waiting.filter((lease) => this.#aborting.has(lease))
    const late = [...this.#leases].some((each) => each.racing && !this.#turns.has(each) && !this.#away.has(each))
    if (ending.length > 0) {
      void this.#run(ending, () => this.#advance(ending))
    } else if (waiting.length > 0 && !late && !this.#stuck) {
      this.#rest()
      void this.#run(waiting, () => this.#advance(waiting))
    } else if (waiting.length > 0) {
      // Once for all who are late, whatever comes meanwhile.
      this.#timer ??= setTimeout(() => {
        this.#rest()
        for (const each of this.#leases) if (each.racing && !this.#turns.has(each)) this.#away.add(each)
        this.#next()
      }, patience)
    } else {
      this.#rest()
    }
  }

  #rest(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#stuck = false
  }

  /** `operation` never rejects. */
  async #run(served: readonly Lease[], operation: () => Promise<void>): Promise<void> {
    this.#busy = true
    this.#served = served
    await operation()
    this.#busy = false
    this.#served = []
    for (const lease of served) if (!this.#turns.has(lease)) this.#aborting.delete(lease)
    this.#next()
  }

  async #advance(leases: readonly Lease[]): Promise<void> {
    const turns = leases.map((lease) => [lease, this.#turns.get(lease) as Turn] as const)
    if (turns.length > 1) for (const lease of leases) lease.alone = false
    const flat = Int32Array.from(turns.flatMap(([lease, { until }]) => [lease.race, until]))
    const least = Int32Array.from(turns, ([, turn]) => turn.least)
    this.#advancing = true
    try {
      const moving = this.pool.advance(flat, this.#secondsLeft(), least)
      // No step more: it is told what it took in earlier calls.
      if (leases.some((lease) => this.#aborting.has(lease))) this.pool.abort()
      const moved = await moving
      for (const [i, [lease, turn]] of turns.entries()) {
        const advance = moved[i] ?? null
        if (advance === null) continue
        this.#turns.delete(lease)
        turn.resolve({ ...advance, reason: this.#reasonFor(lease, turn, advance) })
      }
    } catch (error) {
      await this.#failed(turns, error)
    } finally {
      this.#advancing = false
    }
  }

  /** One race's failure is no other's: where the pool goes on, each is advanced by itself to see whose it was. */
  async #failed(turns: readonly (readonly [Lease, Turn])[], error: unknown): Promise<void> {
    const { code } = WinnowError.from(error)
    if (fatal.includes(code)) this.broken = true
    if (code === 'STREAMS_FULL' && this.#leases.size > turns.length) {
      this.#stuck = true
      for (const [lease, { deadline }] of turns) if (performance.now() >= deadline) this.#aborting.add(lease)
      return
    }
    if (!this.broken && turns.length > 1) {
      for (const [lease] of turns) await this.#advance([lease])
      return
    }
    for (const [lease, turn] of turns) {
      this.#turns.delete(lease)
      turn.reject(error)
    }
  }

  /** What ended the call may have been another race's abort or deadline. */
  #reasonFor(lease: Lease, turn: Turn, { reason }: NativeAdvance): Turned['reason'] {
    if (reason === 'aborted' && performance.now() >= turn.deadline) return 'deadline'
    if (reason === 'aborted' && !this.#aborting.has(lease)) return 'running'
    if (reason === 'deadline' && performance.now() < turn.deadline) return 'running'
    return reason
  }

  /** Until the first deadline; 0 is none. */
  #secondsLeft(): number {
    const first = Math.min(...[...this.#turns.values()].map(({ deadline }) => deadline))
    return first === Number.POSITIVE_INFINITY ? 0 : Math.max(1e-3, (first - performance.now()) / 1000)
  }

  #noticed(error: unknown): unknown {
    if (fatal.includes(WinnowError.from(error).code)) this.broken = true
    return error
  }
}
