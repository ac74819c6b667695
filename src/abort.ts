/** A signal that follows several others. `release` detaches it, so long-lived signals keep no reference to it. */
export function follow(signals: readonly (AbortSignal | undefined)[]): { signal: AbortSignal; release: () => void } {
  const controller = new AbortController()
  const undo: (() => void)[] = []
  for (const signal of signals) {
    if (signal === undefined) continue
    undo.push(onAbort(signal, () => controller.abort(signal.reason)))
  }
  return {
    signal: controller.signal,
    release: () => {
      for (const step of undo) step()
    }
  }
}

/** Calls back once when the signal aborts, at once if it has. Returns how to unsubscribe. */
export function onAbort(signal: AbortSignal | undefined, callback: () => void): () => void {
  if (signal === undefined) return () => {}
  if (signal.aborted) {
    callback()
    return () => {}
  }
  signal.addEventListener('abort', callback, { once: true })
  return () => signal.removeEventListener('abort', callback)
}

/** The promise, or a rejection with the signal's reason if that comes first. */
export async function abortable<T>(promise: PromiseLike<T>, signal: AbortSignal): Promise<T> {
  // Whoever comes too late must not be an unhandled rejection.
  promise.then(undefined, () => {})
  signal.throwIfAborted()
  let unsubscribe = () => {}
  const aborted = new Promise<never>((_, reject) => {
    unsubscribe = onAbort(signal, () => reject(signal.reason))
  })
  try {
    return await Promise.race([promise, aborted])
  } finally {
    unsubscribe()
  }
}

/** A signal that aborts `grace` milliseconds after a deadline (of `performance.now()`) has passed or `stop` came. */
export class Patience {
  readonly #over = new AbortController()
  readonly #timers: NodeJS.Timeout[] = []
  readonly #unsubscribe: () => void

  constructor(deadline: number, stop: AbortSignal | undefined, grace: number) {
    const left = deadline - performance.now() + grace
    // Node turns a longer timeout into none at all.
    if (left < 2 ** 31) this.#after(Math.max(0, left))
    this.#unsubscribe = onAbort(stop, () => this.#after(grace))
  }

  get over(): AbortSignal {
    return this.#over.signal
  }

  release(): void {
    this.#unsubscribe()
    for (const timer of this.#timers) clearTimeout(timer)
  }

  #after(milliseconds: number): void {
    this.#timers.push(setTimeout(() => this.#over.abort(), milliseconds))
  }
}
