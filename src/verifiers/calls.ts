import { setMaxListeners } from 'node:events'
import { follow } from '../abort.js'
import type { CallOutcome, Crew } from './crew.js'
import type { Routine, RoutineInput } from './routine.js'

/**
 * One call for each input, side by side as far as the crew has threads; `read` turns an outcome into a result or throws.
 * Once one throws, the others are killed, and none runs any more when this rejects.
 */
export async function callAll<T>(
  crew: Crew,
  routine: Routine,
  inputs: readonly RoutineInput[],
  limits: { readonly limitMs: number; readonly signal: AbortSignal },
  read: (outcome: CallOutcome, i: number) => T
): Promise<T[]> {
  const failure = new AbortController()
  const { signal, release } = follow([limits.signal, failure.signal])
  // Every call listens to it; Node takes more than ten for a leak.
  setMaxListeners(0, signal)
  const one = async (input: RoutineInput, i: number) => {
    try {
      return read(await crew.call(routine, input, limits.limitMs, signal), i)
    } catch (error) {
      failure.abort(error)
      throw error
    }
  }
  try {
    const calls = inputs.map(one)
    await Promise.allSettled(calls)
    signal.throwIfAborted()
    return await Promise.all(calls)
  } finally {
    release()
  }
}
