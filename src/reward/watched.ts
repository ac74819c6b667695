import { onAbort } from '../abort.js'
import { fromAddon, WinnowError } from '../errors.js'

/** A native call that ends when the signal aborts, and then rejects with its reason. `what` reads: a reward model, say. */
export async function whileWatched<T extends { readonly reason: string }>(
  native: { abort(): void },
  what: string,
  signal: AbortSignal,
  call: () => Promise<T>
): Promise<T> {
  signal.throwIfAborted()
  const release = onAbort(signal, () => native.abort())
  try {
    const done = await fromAddon(call)
    if (done.reason === 'reached') return done
    signal.throwIfAborted()
    // Only its closing ends a call besides: what came back holds no scores.
    throw new WinnowError('CLOSED', `Expected an open ${what} but it was closed while it read`)
  } finally {
    release()
  }
}
