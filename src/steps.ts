/** The steps of a race, in the order race.ts takes them. Each moves the round on; only `decide` decides anything. */
import { abortable, follow, Patience } from './abort.js'
import type { Branch } from './branch.js'
import { expected, WinnowError } from './errors.js'
import { maxStreams } from './layout.js'
import type { Lease, Turned } from './lease.js'
import type { Progress } from './options.js'
import type { Decision } from './policy.js'
import { textsOf } from './result.js'
import type { RaceReason, Round } from './round.js'
import { nativeRules } from './sampling-rules.js'
import { beginInTime, type Candidate, type ScoringSession, scorerError, scoresOf } from './scorer.js'
import { Waves } from './waves.js'

/** How long a watched race advances before it shows itself again, seconds. */
const glance = 0.1

/** How long a scorer may go on once the deadline has passed or `stop` came, milliseconds. */
export const grace = 1000

/** Decodes the prompt once. Ends the race if patience does not last that long. */
export async function prefill(round: Round): Promise<void> {
  const { pool, prompt } = round.setup
  if (outOfPatience(round)) return
  const done = await native(pool.prefill(prompt.tokens, secondsLeft(round)))
  round.seconds.prefill += done.seconds
  round.processedTokens += done.decoded
  if (done.reason === 'aborted') interrupted(round)
  if (done.reason === 'deadline') end(round, 'deadline')
}

/**
 * Lets a scorer that keeps something for each branch prepare for them: load its model, wait for its turn. One that is
 * not done when the caller's patience has ended has `grace` left; then the race ends.
 */
export async function prepare(round: Round): Promise<void> {
  if (round.reason !== null) return
  const { scorer, signal, options, deadline } = round.setup
  const startedAt = performance.now()
  const patience = new Patience(deadline, options.stop, grace)
  // The session keeps this signal; once patience has been released it follows the race's alone.
  const { signal: either } = follow([signal, patience.over])
  try {
    round.session = await beginInTime(scorer, round.facts(either))
  } catch (error) {
    signal.throwIfAborted()
    if (!patience.over.aborted) throw error
    outOfPatience(round)
  } finally {
    patience.release()
  }
  round.seconds.score += (performance.now() - startedAt) / 1000
}

/** After the last score, and once: the final choice may ask the same scorer again. */
export async function endScoring(round: Round): Promise<void> {
  if (round.session === null || round.scored) return
  round.scored = true
  await round.session.end?.()
}

/** Branches that share the prompt's cells: all, or as many as there is room for. */
export async function fork(round: Round): Promise<void> {
  if (round.reason !== null) return
  const { pool, options, n, maxTokens, given, rungs, prompt, parkedBytes } = round.setup
  const { seed, sampling } = options
  const { temperature, topK, topP, minP } = sampling
  const stopTokens = Int32Array.from(options.stopTokens)
  const needs = [...round.setup.scorer.needs, ...(round.session?.needs ?? []), ...(options.pipeline?.needs ?? [])]
  const certainties = needs.includes('distributions')
  const rules = await nativeRules(sampling)
  const truncation = { temperature, topK, topP, minP }
  const likewise = { seed, maxTokens, ...truncation, stopTokens, certainties, rules }
  const { kvBytes, cells } = pool.occupancy
  const setup = {
    lease: pool,
    branches: round.branches,
    fork: given === null ? likewise : { ...likewise, given },
    promptTokens: prompt.tokens.length,
    bytesPerCell: kvBytes / cells,
    parkedBytes
  }
  round.waves = new Waves(setup, rungs[0]?.width ?? n)
  await moving(
    round,
    round.waves.seat(1, () => false)
  )
}

/** Writes until all are at the next checkpoint, or nothing lives, the streams are full or patience ends. */
export async function advance(round: Round): Promise<void> {
  const { pool, options, maxTokens } = round.setup
  const waves = round.waves as Waves
  const target = Math.min(nextCheckpoint(round) ?? maxTokens, maxTokens)
  const until = Math.min(target, round.room)
  while (!outOfPatience(round)) {
    round.processedTokens += await moving(
      round,
      waves.seat(until, () => outOfPatience(round))
    )
    if (outOfPatience(round)) return
    const patience = secondsLeft(round)
    // A watched race stops at a glance and goes on: what is sampled does not depend on where it pauses.
    const glancing = options.onProgress !== undefined && (patience === 0 || patience > glance)
    const moved = await native(advanced(pool, target, glancing ? glance : patience, waves.least(until)))
    round.seconds.decode += moved.decodeSeconds
    round.seconds.sample += moved.sampleSeconds
    round.processedTokens += moved.decoded
    round.branches.apply(moved)
    tell(round, options.onProgress, [])
    if (moved.reason === 'aborted') return interrupted(round)
    if (moved.reason === 'deadline' && !glancing) return end(round, 'deadline')
    if (moved.reason === 'full' && !(await moving(round, waves.clear(until)))) return full(round)
    if (moved.reason === 'settled' && round.branches.settled) return end(round, 'settled')
    if ((moved.reason === 'reached' || moved.reason === 'settled') && !waves.pending(until)) {
      // Whoever lives was full, and has left its stream.
      if (until < target) full(round)
      return
    }
  }
}

/**
 * Where `deterministic` finds no cell beside a branch that is decoded alone, the others wait in full streams: they are `full`
 * too, and what was written before is told.
 */
async function advanced(pool: Lease, target: number, seconds: number, least: number): Promise<Turned> {
  try {
    return await pool.advance(target, seconds, least)
  } catch (error) {
    if (WinnowError.from(error).code !== 'STREAMS_FULL') throw error
    // Nobody takes a step where more are to be on their way than there can be.
    return { ...(await pool.advance(target, 0, maxStreams + 1)), reason: 'full' }
  }
}

function nextCheckpoint({ setup, tokens }: Round): number | null {
  const { checkpoints } = setup.options
  const next = checkpoints.next(tokens) ?? null
  if (next === null || (Number.isInteger(next) && next > tokens)) return next
  throw expected(
    'OPTION_INVALID',
    `a whole number above ${tokens} or null`,
    `the checkpoints ${checkpoints.name}`,
    next
  )
}

/**
 * One number for every live branch and every newly finished one, in one call. A scorer that is not done when the
 * caller's patience has ended has `grace` left; then the race ends with the scores it has.
 */
export async function score(round: Round): Promise<void> {
  const branches = round.due()
  const { session } = round
  const startedAt = performance.now()
  if (branches.length > 0 && session !== null) {
    const texts = session.needs.includes('text') ? await textsOf(round.setup.model, branches) : null
    const candidates = branches.map((branch, i) => candidate(branch, texts?.[i] ?? ''))
    const scores = await patiently(round, session, candidates)
    if (scores !== null) round.record(branches, scores)
  }
  round.seconds.score += (performance.now() - startedAt) / 1000
}

/** The scores, or null when the scorer failed or was left behind. Rejects when the race is aborted. */
async function patiently(
  round: Round,
  session: ScoringSession,
  candidates: readonly Candidate[]
): Promise<ArrayLike<number> | null> {
  const { pool, prompt, scorer, signal, options, deadline } = round.setup
  const patience = new Patience(deadline, options.stop, grace)
  const { signal: either, release } = follow([signal, patience.over])
  try {
    const scoring = { pool, prompt: prompt.text, signal: either }
    return await abortable(scoresOf(scorer.name, session, candidates, scoring), either)
  } catch (error) {
    signal.throwIfAborted()
    if (patience.over.aborted) {
      outOfPatience(round)
    } else {
      fail(round, error)
    }
    return null
  } finally {
    release()
    patience.release()
  }
}

/** Asks the policy, and refuses an answer that names anything but live branches. */
export function decide(round: Round): Decision {
  const startedAt = performance.now()
  const { policy } = round.setup.options
  const decision = policy.decide(round.view())
  if (!Array.isArray(decision?.kill)) {
    throw expected('POLICY_INVALID', 'a decision with an array of ids to kill', `the policy ${policy.name}`, decision)
  }
  round.memory = decision.memory
  round.seconds.policy += (performance.now() - startedAt) / 1000
  const live = new Set(round.branches.live.map((branch) => branch.id))
  for (const id of decision.kill) {
    if (live.delete(id)) continue
    const message = `Expected the ids of live branches, each once, from the policy ${policy.name} but received ${id}`
    throw new WinnowError('POLICY_INVALID', message)
  }
  return decision
}

/** Frees the cells of the rejected at once. */
export async function kill(round: Round, decision: Decision): Promise<void> {
  if (decision.kill.length > 0) {
    await native(round.setup.pool.kill(Int32Array.from(decision.kill)))
    round.waves?.forget(decision.kill)
    round.branches.kill(decision.kill, round.tokens, decision.why ?? round.setup.options.policy.name)
    await round.session?.kill?.(decision.kill).catch((error: unknown) => fail(round, error))
  }
  if (round.reason === null && round.branches.settled) round.reason = 'settled'
}

/** Where the streams are full: the survivors into fewer and longer ones. Too many of them end where they are. */
export async function climb(round: Round): Promise<void> {
  if (!round.full) return
  round.full = false
  if (round.reason !== null) return
  const { rungs, waves, pool } = round.setup
  const live = round.branches.live.length
  const next = rungs.findLastIndex(({ width }) => waves * width >= live)
  const rung = rungs[next]
  if (rung === undefined || next <= round.rung) return end(round, 'full')
  const cells = Math.min(rung.cells, round.setup.model.facts.contextTrain)
  try {
    await moving(round, (round.waves as Waves).narrow(rung.width))
    await moving(round, pool.reshape({ width: rung.width, cells }))
    round.rung = next
    round.rungs.push(rung)
  } catch (error) {
    // All is as it was, but there is no more memory.
    if (!WinnowError.is(error) || error.code !== 'OUT_OF_MEMORY') throw error
    end(round, 'full')
  }
}

/** Tells whoever watches. */
export function report(round: Round, decision: Decision): void {
  round.index++
  tell(round, round.setup.options.onCheckpoint, decision.kill)
}

// An async function fits the type. Nobody waits for it, but its rejection must not go unhandled.
function tell(round: Round, watcher: ((progress: Progress) => unknown) | undefined, killed: readonly number[]): void {
  Promise.resolve(watcher?.(progress(round, killed))).catch((error: unknown) => {
    round.rejection = { error }
  })
}

/** Whether the race must end now because of the caller. Throws the reason of an abort, and what a watcher failed with. */
function outOfPatience(round: Round): boolean {
  round.setup.signal.throwIfAborted()
  if (round.rejection !== null) throw round.rejection.error
  if (round.setup.options.stop?.aborted) end(round, 'stopped')
  else if (performance.now() >= round.setup.deadline) end(round, 'deadline')
  return round.reason !== null
}

function interrupted(round: Round): void {
  round.setup.signal.throwIfAborted()
  end(round, 'stopped')
}

function full(round: Round): void {
  if (round.setup.rungs[round.rung + 1] === undefined) end(round, 'full')
  else round.full = true
}

function fail(round: Round, error: unknown): void {
  round.failure = scorerError(round.setup.scorer.name, error)
  end(round, 'failed')
}

function end(round: Round, reason: RaceReason): void {
  round.reason = reason
  if (reason !== 'settled') round.branches.finishLive(reason)
}

/** For the addon: 0 is no deadline. */
function secondsLeft(round: Round): number {
  const { deadline } = round.setup
  return deadline === Number.POSITIVE_INFINITY ? 0 : Math.max(1e-3, (deadline - performance.now()) / 1000)
}

function progress(round: Round, killed: readonly number[]): Progress {
  return {
    index: round.index,
    tokens: round.tokens,
    seconds: round.wallSeconds,
    branches: round.branches.all,
    killed
  }
}

/** A branch as scorers see it: without the tokens of a stop text. */
export function candidate(branch: Branch, text: string): Candidate {
  const { id, status, distributions } = branch
  const shown = <T extends Int32Array | Float32Array>(values: T) =>
    values.subarray(0, branch.length - branch.cutTokens) as T
  return {
    id,
    state: status.state,
    tokens: shown(branch.tokens),
    logprobs: shown(branch.logprobs),
    entropies: shown(branch.entropies),
    certainties: distributions && shown(distributions.certainties),
    topConfidences: distributions && shown(distributions.topConfidences),
    text
  }
}

/** Moves branches, and counts the time. */
async function moving<T>(round: Round, job: Promise<T>): Promise<T> {
  const startedAt = performance.now()
  try {
    return await native(job)
  } finally {
    round.seconds.move += (performance.now() - startedAt) / 1000
  }
}

async function native<T>(job: Promise<T>): Promise<T> {
  try {
    return await job
  } catch (error) {
    throw WinnowError.from(error)
  }
}
