import { onAbort } from './abort.js'
import type { NativeBinding, NativeModel } from './binding.js'
import { fromAddon } from './errors.js'
import type { ResolvedOpenOptions } from './options.js'

/** The options of `open` that depend on the machine: what they change is speed, memory and rounding. */
export type Settings = Pick<ResolvedOpenOptions, 'threads' | 'batch' | 'kvType' | 'flashAttention' | 'drawing'>

/** What `drawing` comes to: on the CPU the graph was measured to be slower, and on a GPU it was not measured. */
export function drawingOf({ drawing }: Pick<Settings, 'drawing'>): 'host' | 'graph' {
  return drawing === 'graph' ? 'graph' : 'host'
}

/** What is timed: a prompt, and some steps of candidates that share it. */
export interface Course {
  readonly n: number
  readonly prompt: Int32Array
  /** Steps that count. */
  readonly steps: number
}

/** One run over a course. */
export interface Timing {
  readonly promptSeconds: number
  /** Of a step of all n candidates, decoding and sampling; the mean over the course. */
  readonly stepSeconds: number
  /** Of the tokens of the course, nats: the same bits again wherever nothing is computed otherwise. */
  readonly logprobs: Float32Array
  readonly cellBytes: number
}

/**
 * Runs over a course once, in a pool that is made for it and freed. Null where `deadline` (of `performance.now()`) came
 * first. The candidates write given tokens, so that none ends early and every run computes the same.
 *
 * Throws what making and using a pool does, and the reason of an aborted `signal`.
 */
export async function timed(
  binding: NativeBinding,
  model: NativeModel,
  settings: Settings,
  { n, prompt, steps }: Course,
  deadline: number,
  signal: AbortSignal | undefined
): Promise<Timing | null> {
  const left = () => (deadline - performance.now()) / 1000
  if (left() <= 0) return null
  // One step before those that count, and a token to spare: nobody ends.
  const tokens = steps + 2
  const shape = { streams: n, cellsPerStream: prompt.length + tokens, states: false, deterministic: false }
  const pool = await fromAddon(() => binding.createPool(model, { ...settings, ...shape }))
  const unsubscribe = onAbort(signal, () => pool.abort())
  /** A job's outcome. Between two jobs `abort` has none to end: an abort shows here. */
  const job = async <T>(start: (seconds: number) => Promise<T>) => {
    signal?.throwIfAborted()
    // No time at all would be no deadline.
    const outcome = await fromAddon(() => start(Math.max(1e-3, left())))
    signal?.throwIfAborted()
    return outcome
  }
  try {
    const prefill = await job((seconds) => pool.prefill(prompt, seconds))
    if (prefill.reason !== 'reached') return null
    const { race } = prefill
    const fork = { ...forkParams, count: n, maxTokens: tokens, given: givenOf(prompt, n, tokens) }
    await fromAddon(() => pool.fork(race, fork))
    /** Null where it was cut short. */
    const advanced = async (until: number) => {
      const [outcome] = await job((seconds) => pool.advance(Int32Array.of(race, until), seconds))
      return outcome?.reason === 'reached' ? outcome : null
    }
    // llama.cpp makes the copies of the prompt with the first decode after a fork.
    const first = await advanced(1)
    const rest = first === null ? null : await advanced(1 + steps)
    if (first === null || rest === null) return null
    return {
      promptSeconds: prefill.seconds,
      stepSeconds: (rest.decodeSeconds + rest.sampleSeconds) / steps,
      logprobs: Float32Array.of(...first.logprobs, ...rest.logprobs),
      cellBytes: pool.occupancy().kvBytes
    }
  } finally {
    unsubscribe()
    await pool.close()
  }
}

/** The most by which two runs' log-probabilities differ, nats. 0: the same bits. */
export function moved(a: Timing, b: Timing): number {
  let most = 0
  for (const [i, logprob] of a.logprobs.entries()) {
    if (!Object.is(logprob, b.logprobs[i])) most = Math.max(most, Math.abs(logprob - (b.logprobs[i] as number)))
  }
  return most
}

const forkParams = {
  seed: 0n,
  firstCandidate: 0,
  temperature: 1,
  topK: 0,
  topP: 1,
  minP: 0,
  stopTokens: new Int32Array()
} as const

/** Each candidate writes the prompt's own tokens from another place on. */
function givenOf(prompt: Int32Array, n: number, tokens: number) {
  const offsets = Int32Array.from({ length: n + 1 }, (_, i) => i * tokens)
  const given = Int32Array.from({ length: n * tokens }, (_, i) => {
    const place = Math.floor(i / tokens) + (i % tokens)
    return prompt[place % prompt.length] as number
  })
  return { tokens: given, offsets }
}
