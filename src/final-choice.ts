/**
 * The final choice of a race: raw -> (verified) -> shaped -> judged -> selected. The scorer of the race gives the raw
 * scores and the policy kills by them; what is here happens once, to the finished answers.
 */
import { abortable } from './abort.js'
import type { FinishReason } from './branch.js'
import type { Contender, ShapedContender } from './contender.js'
import { expected, WinnowError } from './errors.js'
import type { Judge, Judging } from './judge.js'
import type { Pipeline } from './pipeline.js'
import { beginInTime, type Candidate, type RaceFacts, type Scorer, type Scoring, scoresOf } from './scorer.js'
import { highestBy } from './selection.js'
import type { Shaper } from './shaper.js'

/** A finished branch with its last raw score, as it comes to the choice. */
export interface Entrant {
  readonly candidate: Candidate
  readonly reason: FinishReason
  readonly raw: number
}

/** A contender as it came out. */
export interface Ranked extends ShapedContender {
  /** The name of the judge that rejected it; null where all accepted or none was asked. */
  readonly rejectedBy: string | null
}

export interface FinalChoice {
  /** Null only when nothing finished. */
  readonly winner: number | null
  readonly why: string
  /**
   * `accepted`: the winner passed every judge. `none-accepted`: nobody did, and the choice is among all the same, so
   * that a race always has an answer; check this where a rejected answer must not be used. `unjudged`: no judges.
   */
  readonly verdict: 'accepted' | 'none-accepted' | 'unjudged'
  readonly contenders: readonly Ranked[]
  /** What a reward, verifier, shaper, judge or selection failed with; the choice is then the highest score known. */
  readonly failure: WinnowError | null
}

/**
 * Chooses among finished answers; their candidates carry their text. Rejects only when the signal aborts, with its
 * reason: whatever fails on the way is `failure`, and the choice falls back to the highest shaped score, or raw score
 * before shaping, ties to the lower id. `seed` is the view's; `spend` is told of the tokens that each reward decoded.
 */
export async function finalChoice(
  { rewards, verifier, shape, judges, select }: Pipeline,
  entrants: readonly Entrant[],
  race: RaceFacts,
  scoring: Scoring,
  seed: number,
  spend: (tokens: number) => void = () => {}
): Promise<FinalChoice> {
  const judging: Judging = { prompt: scoring.prompt, signal: scoring.signal }
  const rejectedBy = new Map<number, string>()
  let shaped: readonly ShapedContender[] = entrants.map(newcomer)
  let verdict: FinalChoice['verdict'] = 'unjudged'
  const conclude = (winner: number | null, why: string, failure: WinnowError | null): FinalChoice => {
    const contenders = shaped.map((one) => ({ ...one, rejectedBy: rejectedBy.get(one.id) ?? null }))
    return { winner, why, verdict, contenders, failure }
  }
  if (entrants.length === 0) return conclude(null, 'nothing finished', null)
  try {
    const rewarded = await reward(rewards, entrants, shaped, race, scoring, spend)
    const verified = verifier === null ? rewarded : await verify(verifier, rewarded, judging)
    shaped = shape === null ? verified.map((one) => ({ ...one, shaped: one.raw })) : applyShape(shape, verified)
    const accepted = await judgeAll(judges, shaped, judging, rejectedBy)
    if (judges.length > 0) verdict = accepted.length > 0 ? 'accepted' : 'none-accepted'
    const eligible = accepted.length > 0 ? accepted : shaped
    const { id, why } = select.select(eligible, seed)
    if (id === null || !eligible.some((contender) => contender.id === id)) {
      throw expected('SELECTION_INVALID', 'the id of a contender', `the choice of ${select.name}`, id)
    }
    return conclude(id, verdict === 'none-accepted' ? `no answer was accepted; among all: ${why}` : why, null)
  } catch (error) {
    scoring.signal.throwIfAborted()
    const failure = WinnowError.is(error) ? error : failed(error)
    const passed = shaped.filter(({ id }) => !rejectedBy.has(id))
    const winner = highestBy(passed.length > 0 ? passed : shaped, (contender) => contender.shaped)
    return conclude(winner?.id ?? null, 'highest score, since the choice failed', failure)
  }
}

function newcomer({ candidate, reason, raw }: Entrant): ShapedContender {
  const { id, text, tokens } = candidate
  return { id, text, tokens: tokens.length, reason, raw, rewards: [], right: null, shaped: raw }
}

/** One further score for each contender from each scorer, in sessions of their own that see only finished answers. */
async function reward(
  scorers: readonly Scorer[],
  entrants: readonly Entrant[],
  contenders: readonly Contender[],
  race: RaceFacts,
  scoring: Scoring,
  spend: (tokens: number) => void
): Promise<readonly Contender[]> {
  const candidates = entrants.map(({ candidate }) => candidate)
  const columns: ArrayLike<number>[] = []
  for (const scorer of scorers) {
    const session = await beginInTime(scorer, race)
    try {
      columns.push(await abortable(scoresOf(scorer.name, session, candidates, scoring), scoring.signal))
    } finally {
      await session.end?.()
      spend(session.processedTokens ?? 0)
    }
  }
  return contenders.map((contender, i) => ({ ...contender, rewards: columns.map((column) => column[i] as number) }))
}

async function verify(verifier: Judge, contenders: readonly Contender[], judging: Judging) {
  const verdicts = await verdictsOf(verifier, contenders, judging)
  return contenders.map((contender, i) => ({ ...contender, right: verdicts[i] as boolean }))
}

function applyShape(shape: Shaper, contenders: readonly Contender[]): ShapedContender[] {
  const scores = shape.shape(contenders)
  return contenders.map((contender, i) => {
    const score = scores[i]
    if (typeof score === 'number' && !Number.isNaN(score)) return { ...contender, shaped: score }
    throw expected('SHAPE_INVALID', 'a number', `branch ${contender.id} from ${shape.name}`, score)
  })
}

/** Those whom every judge accepts; the others are noted with the judge that rejected them. */
async function judgeAll(
  judges: readonly Judge[],
  contenders: readonly ShapedContender[],
  judging: Judging,
  rejectedBy: Map<number, string>
): Promise<readonly ShapedContender[]> {
  let accepted = contenders
  for (const judge of judges) {
    if (accepted.length === 0) break
    const verdicts = await verdictsOf(judge, accepted, judging)
    for (const [i, { id }] of accepted.entries()) if (!verdicts[i]) rejectedBy.set(id, judge.name)
    accepted = accepted.filter((_, i) => verdicts[i])
  }
  return accepted
}

async function verdictsOf(judge: Judge, contenders: readonly Contender[], judging: Judging) {
  const verdicts = await abortable(Promise.resolve(judge.judge(contenders, judging)), judging.signal)
  if (verdicts?.length === contenders.length && verdicts.every((verdict) => typeof verdict === 'boolean')) {
    return verdicts
  }
  throw expected('JUDGE_INVALID', `${contenders.length} times true or false`, `the judge ${judge.name}`, verdicts)
}

function failed(error: unknown): WinnowError {
  const message = error instanceof Error ? error.message : String(error)
  return new WinnowError('PIPELINE_FAILED', `The final choice failed: ${message}`, { cause: error })
}
