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
