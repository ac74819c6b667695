import { follow } from '../abort.js'
import type { Engine } from '../engine.js'
import { expected, WinnowError } from '../errors.js'
import { ofFile, scorerNamed } from '../names.js'
import type { Progress } from '../options.js'
import { specReject } from '../policies/spec-reject.js'
import type { Scorer } from '../scorer.js'
import type { Admission } from './admission.js'
import type { Ask, ScoreAsk } from './ask.js'
import { best } from './best.js'
import type { Gate } from './gate.js'
import type { Answer } from './reply.js'
import type { ResolvedServiceOptions } from './service-options.js'
import { Shadow, type Shadowed } from './shadow.js'
import { sparing } from './spare.js'

/** Behind a deadline a scorer at work has a second; whoever still waits then is refused. Milliseconds. */
const grace = 2000

/** What every entry runs on. */
export interface Venue {
  readonly engine: Engine
  readonly options: ResolvedServiceOptions
  readonly gate: Gate
  readonly admission: Admission
  /** Ends races with their best so far: the service goes down. */
  readonly stop: AbortSignal
}

/** Who looks on. `branches` of a progress are those that may still be an answer. */
export interface Watch {
  /** Any of them ends the entry. */
  readonly signals: readonly AbortSignal[]
  readonly onProgress?: (progress: Progress) => void
  readonly onCheckpoint?: (progress: Progress) => void
}

export interface Entered extends Answer {
  /** Seconds until it had its streams. */
  readonly waited: number
  readonly shadowed: Shadowed
}

/**
 * One request's race, from the gate to its answer. Throws QUEUE_FULL, DRAINING, REQUEST_TOO_LARGE, DEADLINE_PASSED, and what
 * `bestOf` does.
 */
export async function enter(venue: Venue, ask: Ask, watch: Watch): Promise<Entered> {
  const { engine, options, admission } = venue
  const { bestOf, n, tokenBudget } = ask
  const policy = sparing(ask.policy ?? options.policy ?? specReject(), n)
  const watched = options.pipeline === undefined && policy.onFull !== true && bestOf > n
  const shadow = watched && Math.random() < options.shadow ? new Shadow(Math.floor(Math.random() * bestOf)) : null
  const over = new AbortController()
  const stop = follow([venue.stop, over.signal])
  const seen = (progress: Progress): Progress => {
    const hidden = shadow?.hidden
    if (hidden === undefined || hidden.size === 0) return progress
    return { ...progress, branches: progress.branches.filter(({ id }) => !hidden.has(id)) }
  }
  const onProgress = (progress: Progress) => {
    const written = progress.branches.reduce((sum, { length }) => sum + length, 0)
    if (tokenBudget !== null && written >= tokenBudget) over.abort()
    watch.onProgress?.(seen(progress))
  }
  try {
    return await inTime(venue, ask.options.deadlineMs, watch.signals, async (signal, deadlineMs, started) => {
      const arrivedAt = performance.now()
      let waited = 0
      const race = {
        ...ask.options,
        policy: shadow?.over(policy) ?? policy,
        scorer: scorerOf(options, ask.scorer),
        pipeline: options.pipeline,
        // Requests with a seed and without share one pool, which is made for the one or the other.
        deterministic: true,
        deadlineMs,
        signal,
        stop: stop.signal
      }
      await admission.admit(engine, bestOf, ask.prompt, race)
      const result = await engine.bestOf(bestOf, ask.prompt, {
        ...race,
        onStart: () => {
          waited = (performance.now() - arrivedAt) / 1000
          started()
        },
        ...((tokenBudget !== null || watch.onProgress !== undefined) && { onProgress }),
        ...(watch.onCheckpoint !== undefined && {
          onCheckpoint: (progress: Progress) => watch.onCheckpoint?.(seen(progress))
        })
      })
      if (result.failure !== null) throw result.failure
      const hidden = shadow?.hidden ?? new Set<number>()
      const answers = best(result, n, hidden)
      if (result.winner === null && !result.branches.some(({ tokens }) => tokens.length > 0))
        throw tooLate(result.reason)
      return {
        result,
        best: answers,
        overBudget: over.signal.aborted,
        waited,
        shadowed: shadow?.outcome(result) ?? null
      }
    })
  } finally {
    stop.release()
  }
}

/** The scores of texts that are there, in their order, and the prompt's and answers' tokens. */
export async function enterScore(venue: Venue, ask: ScoreAsk, signals: readonly AbortSignal[]) {
  const { engine, options, admission } = venue
  const { prompt, answers, raw } = ask
  // No token is written with less than a byte; streams for more would be empty.
  const longest = Math.max(...answers.map((answer) => Buffer.byteLength(answer)))
  return inTime(venue, undefined, signals, async (signal, deadlineMs, onStart) => {
    const race = {
      raw,
      scorer: scorerOf(options, ask.scorer),
      maxTokens: Math.min(options.limits.tokens, longest + 1),
      deterministic: true,
      deadlineMs,
      signal
    }
    await admission.admit(engine, answers.length, prompt, race)
    const result = await engine.score(prompt, answers, { ...race, onStart })
    if (result.failure !== null) throw result.failure
    if (result.reason === 'deadline') throw tooLate(result.reason)
    return result
  })
}

/** Lets a request in, and makes it end: answered, refused or told that it is too late. */
async function inTime<T>(
  { gate, options }: Venue,
  asked: number | undefined,
  signals: readonly AbortSignal[],
  work: (signal: AbortSignal, deadlineMs: number, started: () => void) => Promise<T>
): Promise<T> {
  const deadlineMs = asked ?? options.limits.deadlineMs
  const place = gate.enter()
  const late = new AbortController()
  const timer = setTimeout(() => late.abort(tooLate('deadline')), deadlineMs + grace)
  const { signal, release } = follow([...signals, late.signal])
  try {
    return await work(signal, deadlineMs, place.start)
  } finally {
    clearTimeout(timer)
    release()
    place.leave()
  }
}

/** Throws OPTION_UNKNOWN. Heads in files are for whoever runs the service to name. */
function scorerOf({ scorer, scorers = {} }: ResolvedServiceOptions, name: string | null): Scorer | undefined {
  if (name === null) return scorer
  if (Object.hasOwn(scorers, name)) return scorers[name]
  const field = 'winnow.scorer'
  if (name.startsWith(ofFile)) throw expected('OPTION_UNKNOWN', 'the name of a scorer', field, name, { field })
  return scorerNamed(name)
}

function tooLate(reason: string): WinnowError {
  const [code, what] =
    reason === 'stopped' ? ['DRAINING', 'the service went down'] : ['DEADLINE_PASSED', 'its time was over']
  return new WinnowError(code, `Expected an answer but ${what} before anything was written`)
}
