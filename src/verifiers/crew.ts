import { setMaxListeners } from 'node:events'
import { availableParallelism } from 'node:os'
import { Piscina } from 'piscina'
import { follow } from '../abort.js'
import { WinnowError } from '../errors.js'
import { countKnob, readKnobs } from '../knob.js'
import type { Routine, RoutineInput } from './routine.js'
import { Slots } from './slots.js'
import type { Report, Started, Task } from './worker.js'

export interface CrewOptions {
  /** Worker threads at once. Default: half the cores, one at least. */
  readonly threads?: number | undefined
  /** Memory of JavaScript values a thread may fill, MiB; a call that needs more fails. Default 256. */
  readonly memoryMb?: number | undefined
  /** How long a thread may take to start and to load a module, milliseconds. Default 10000. */
  readonly loadMs?: number | undefined
}

/**
 * How a call ended. `timeout`: its thread was killed, as that is the only way to end a function that does not return.
 * `unloadable`: the module or its export is not there, or loading took too long. `failed`: it threw, returned something
 * else, or ended its thread.
 */
export type CallOutcome = Report | { readonly kind: 'timeout'; readonly limitMs: number }

/**
 * Worker threads that run routines, one call a thread. A thread is started when first needed and replaced when it was
 * killed; idle ones do not keep the process alive. Calls wait for their turn, and the clock of a call starts when its
 * function does. `close()` kills what runs.
 */
export class Crew {
  readonly #options: Required<{ [K in keyof CrewOptions]: number }>
  readonly #slots: Slots
  readonly #closing = new AbortController()
  readonly #starts = new Map<number, () => void>()
  #piscina: Piscina<Task, Report> | null = null
  #calls = 0

  /** Throws OPTION_INVALID and OPTION_UNKNOWN. */
  constructor(options: CrewOptions = {}) {
    // Every call that waits or runs listens.
    setMaxListeners(0, this.#closing.signal)
    const threads = countKnob(Math.max(1, Math.floor(availableParallelism() / 2)), 1, 'threads')
    const memoryMb = countKnob(256, 16, 'MiB')
    this.#options = readKnobs('Crew', { threads, memoryMb, loadMs: countKnob(10_000, 1, 'milliseconds') }, options)
    this.#slots = new Slots(this.#options.threads)
  }

  /**
   * Calls the routine with the input. `limitMs` is the time the call itself may take. Rejects with the signal's reason,
   * and with CLOSED when the crew is closed; a call in progress is killed in both cases.
   */
  async call(routine: Routine, input: RoutineInput, limitMs: number, signal: AbortSignal): Promise<CallOutcome> {
    const { signal: either, release } = follow([signal, this.#closing.signal])
    try {
      await this.#slots.take(either)
      try {
        return await this.#run({ call: this.#calls++, routine, input }, limitMs, either)
      } finally {
        this.#slots.give()
      }
    } finally {
      release()
    }
  }

  async close(): Promise<void> {
    this.#closing.abort(new WinnowError('CLOSED', 'Expected an open crew but it was closed'))
    await this.#piscina?.destroy()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #run(task: Task, limitMs: number, signal: AbortSignal): Promise<CallOutcome> {
    const { loadMs } = this.#options
    const watch = new Watch(loadMs)
    this.#starts.set(task.call, () => watch.restart(limitMs))
    const { signal: either, release } = follow([signal, watch.over])
    try {
      return await this.#threads().run(task, { signal: either })
    } catch (error) {
      signal.throwIfAborted()
      if (!watch.over.aborted)
        return { kind: 'failed', message: error instanceof Error ? error.message : String(error) }
      if (watch.restarted) return { kind: 'timeout', limitMs }
      return { kind: 'unloadable', message: `Expected the module to load within ${loadMs} ms but it did not` }
    } finally {
      release()
      watch.release()
      this.#starts.delete(task.call)
    }
  }

  #threads(): Piscina<Task, Report> {
    if (this.#piscina !== null) return this.#piscina
    const { threads, memoryMb } = this.#options
    this.#piscina = new Piscina({
      filename: new URL('./worker.js', import.meta.url).href,
      minThreads: 0,
      maxThreads: threads,
      idleTimeout: 10_000,
      resourceLimits: { maxOldGenerationSizeMb: memoryMb }
    })
    this.#piscina.on('message', ({ started }: Started) => this.#starts.get(started)?.())
    // What a routine left behind may fail after its call has ended; nobody waits for that, and it must not end the process.
    this.#piscina.on('error', () => {})
    return this.#piscina
  }
}

/** A clock that runs out once. */
class Watch {
  readonly #over = new AbortController()
  #timer: NodeJS.Timeout
  restarted = false

  constructor(milliseconds: number) {
    this.#timer = this.#after(milliseconds)
  }

  get over(): AbortSignal {
    return this.#over.signal
  }

  restart(milliseconds: number): void {
    clearTimeout(this.#timer)
    this.restarted = true
    this.#timer = this.#after(milliseconds)
  }

  release(): void {
    clearTimeout(this.#timer)
  }

  // An answer that arrived while this thread was busy is read before the clock strikes.
  #after(milliseconds: number): NodeJS.Timeout {
    return setTimeout(() => setImmediate(() => this.#over.abort()), milliseconds)
  }
}
