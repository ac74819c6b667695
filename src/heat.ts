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

interface Turn {
  readonly until: number
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
  /** Those whose abort is to end the operation at hand. */
  readonly #aborting = new Set<Lease>()
  /** Not waited for until they want a turn again. */
  readonly #away = new Set<Lease>()
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

  turn(lease: Lease, until: number, seconds: number): Promise<Turned> {
    return new Promise<Turned>((resolve, reject) => {
      const deadline = seconds === 0 ? Number.POSITIVE_INFINITY : performance.now() + 1000 * seconds
      this.#turns.set(lease, { until, deadline, resolve, reject })
      this.#away.delete(lease)
      this.#join()
    })
  }

  abort(lease: Lease): void {
    if (this.#served.includes(lease)) {
      this.#aborting.add(lease)
      this.pool.abort()
      return
    }
    const turn = this.#turns.get(lease)
    if (turn === undefined) return
    this.#turns.delete(lease)
    turn.resolve(nothing('aborted'))
    this.#next()
  }

  async end(lease: Lease): Promise<void> {
    this.#turns.delete(lease)
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
    clearTimeout(this.#timer)
    const job = this.#jobs.shift()
    if (job !== undefined) {
      void this.#run(job.abortable ? [job.lease] : [], () => job.run())
    } else if (this.#turns.size > 0) {
      const late = [...this.#leases].filter((each) => each.racing && !this.#turns.has(each) && !this.#away.has(each))
      if (late.length === 0) {
        void this.#run([...this.#turns.keys()], () => this.#advance())
        return
      }
      this.#timer = setTimeout(() => {
        for (const lease of late) if (!this.#turns.has(lease)) this.#away.add(lease)
        this.#next()
      }, patience)
    }
  }

  /** `operation` never rejects. */
  async #run(served: readonly Lease[], operation: () => Promise<void>): Promise<void> {
    this.#busy = true
    this.#served = served
    await operation()
    this.#busy = false
    this.#served = []
    this.#aborting.clear()
    this.#next()
  }

  async #advance(): Promise<void> {
    const turns = [...this.#turns]
    if (turns.length > 1) for (const [lease] of turns) lease.alone = false
    const flat = Int32Array.from(turns.flatMap(([lease, { until }]) => [lease.race, until]))
    this.#advancing = true
    try {
      const moved = await this.pool.advance(flat, this.#secondsLeft())
      for (const [i, [lease, turn]] of turns.entries()) {
        const advance = moved[i] ?? null
        if (advance === null) continue
        this.#turns.delete(lease)
        turn.resolve({ ...advance, reason: this.#reasonFor(lease, turn, advance) })
      }
    } catch (error) {
      // A lone branch in a deterministic pool without a cell to spare: there is one as soon as somebody comes back.
      if (WinnowError.from(error).code === 'STREAMS_FULL' && this.#away.size > 0) return this.#away.clear()
      for (const [lease, turn] of turns) {
        this.#turns.delete(lease)
        turn.reject(this.#noticed(error))
      }
    } finally {
      this.#advancing = false
    }
  }

  /** What ended the call may have been another race's abort or deadline. */
  #reasonFor(lease: Lease, turn: Turn, { reason }: NativeAdvance): Turned['reason'] {
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

function nothing(reason: Turned['reason']): Turned {
  const ints = () => new Int32Array()
  const none = { branches: ints(), counts: ints(), status: new Uint8Array(), cuts: ints(), tokens: ints() }
  const floats = () => new Float32Array()
  const values = { logprobs: floats(), entropies: floats(), certainties: floats(), topConfidences: floats() }
  const cost = { steps: 0, decoded: 0, decodeSeconds: 0, sampleSeconds: 0, cellsPeak: 0 }
  return { reason, ...none, ...values, ...cost }
}
