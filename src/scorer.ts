import { abortable } from './abort.js'
import type { ModelFacts, NativeHead } from './binding.js'
import type { BranchStatus } from './branch.js'
import { codes, expected, WinnowError } from './errors.js'
import type { RacePool } from './lease.js'
import type { ChatMessage } from './prompt.js'

/** One branch as a scorer sees it. The arrays are views: read them during the call, copy what must outlive it. */
export interface Candidate {
  readonly id: number
  readonly state: BranchStatus['state']
  /** Generated tokens, without the end token. */
  readonly tokens: Int32Array
  /** Raw log-probability of each token, nats. */
  readonly logprobs: Float32Array
  /** Entropy of the distribution each token was drawn from, nats. */
  readonly entropies: Float32Array
  /** KL(uniform || p) at each token, nats; undefined unless the scorer `needs` distributions. */
  readonly certainties?: Float32Array | undefined
  /** Minus the mean log-probability of the 20 likeliest tokens, nats; undefined like `certainties`. */
  readonly topConfidences?: Float32Array | undefined
  /** The text so far; empty unless the scorer `needs` text. */
  readonly text: string
}

/** What a scorer may use besides the candidates. */
export interface Scoring {
  readonly pool: RacePool
  /** The prompt as the model reads it, template included. */
  readonly prompt: string
  /** Aborted when the race is, or goes on without this call's scores; a scorer that takes long should listen. */
  readonly signal: AbortSignal
}

/**
 * `states`: the pool keeps hidden states. `text`: candidates come with their text. `distributions`: candidates come
 * with `certainties` and `topConfidences`, for another pass over the logits of each token.
 */
export type Need = 'states' | 'text' | 'distributions'

/** Candidates -> one raw number each, higher is better. Never NaN; minus infinity is allowed. */
export interface PlainScorer {
  readonly name: string
  readonly needs: readonly Need[]
  /** Called once a checkpoint with the live branches and those that finished since the last one. */
  score(candidates: readonly Candidate[], scoring: Scoring): Promise<ArrayLike<number>> | ArrayLike<number>
}

/** A scorer that keeps something for each branch from checkpoint to checkpoint, such as a reward model its KV cells. */
export interface SessionScorer {
  readonly name: string
  /** What any of its sessions may need of the pool. */
  readonly needs: readonly Need[]
  /** It runs a model of its own, or has a part that does: memory that `engine.plan` is to count, or to refuse. */
  readonly ownsModel?: true | undefined
  /** Called once a race, before its first token is written. */
  begin(race: RaceFacts): Promise<ScoringSession>
}

export type Scorer = PlainScorer | SessionScorer

export function ownsModel(scorer: Scorer): boolean {
  return 'ownsModel' in scorer && scorer.ownsModel === true
}

/** What a session knows of the race it scores. */
export interface RaceFacts {
  /** The generator. */
  readonly model: ModelFacts
  /** The engine's reward head, if it has one. */
  readonly head: NativeHead | null
  /** The prompt before the generator's chat template; text is one turn of the user's. */
  readonly turns: readonly ChatMessage[]
  readonly n: number
  /** Candidates that are written at once, at most; the others wait for their wave. */
  readonly atOnce: number
  /** The most tokens a candidate may grow to. */
  readonly maxTokens: number
  /** As in `Scoring`. */
  readonly signal: AbortSignal
}

/** A scorer's part in one race. */
export interface ScoringSession {
  readonly needs: readonly Need[]
  score(candidates: readonly Candidate[], scoring: Scoring): Promise<ArrayLike<number>> | ArrayLike<number>
  /** These were killed and come no more: what is kept for them may go. */
  kill?(ids: readonly number[]): Promise<void>
  /** Tokens that another model decoded for these scores so far. */
  readonly processedTokens?: number
  /** Called once, after the last score or when the race failed. Never rejects. */
  end?(): Promise<void>
}

/** The session of any scorer; of one that keeps nothing, the scorer itself. */
export async function beginScoring(scorer: Scorer, race: RaceFacts): Promise<ScoringSession> {
  if (!('begin' in scorer)) return { needs: scorer.needs, score: (all, scoring) => scorer.score(all, scoring) }
  try {
    return await scorer.begin(race)
  } catch (error) {
    throw scorerError(scorer.name, error)
  }
}

/** The same, unless the race's signal aborts first: then a rejection with its reason. */
export async function beginInTime(scorer: Scorer, race: RaceFacts): Promise<ScoringSession> {
  const beginning = beginScoring(scorer, race)
  try {
    return await abortable(beginning, race.signal)
  } catch (error) {
    // Whoever begins all the same has nobody left to score for, and others may wait for its turn.
    beginning.then((late) => late.end?.()).catch(() => {})
    throw error
  }
}

/** The short form of a scorer: it sees texts and returns numbers. */
export type ScoreFunction = (candidates: readonly Candidate[]) => Promise<ArrayLike<number>> | ArrayLike<number>

/** A scorer out of a plain function. */
export function scorerOf(score: ScoreFunction, name: string = score.name || 'custom'): PlainScorer {
  return { name, needs: ['text'], score: (candidates) => score(candidates) }
}

/** Runs a session and refuses what is not one number for each candidate. `name` is the scorer's. */
export async function scoresOf(
  name: string,
  session: ScoringSession,
  candidates: readonly Candidate[],
  scoring: Scoring
): Promise<ArrayLike<number>> {
  const scores = await callSession(name, session, candidates, scoring)
  if (typeof scores?.length !== 'number' || scores.length !== candidates.length) {
    throw expected('SCORE_INVALID', `${candidates.length} scores`, `as many branches from ${name}`, scores)
  }
  for (let i = 0; i < scores.length; i++) {
    const score = scores[i]
    if (typeof score !== 'number' || Number.isNaN(score)) {
      throw expected('SCORE_INVALID', 'a number', `branch ${candidates[i]?.id} from ${name}`, score)
    }
  }
  return scores
}

async function callSession(
  name: string,
  session: ScoringSession,
  candidates: readonly Candidate[],
  scoring: Scoring
): Promise<ArrayLike<number>> {
  try {
    return await session.score(candidates, scoring)
  } catch (error) {
    throw scoring.signal.aborted ? error : scorerError(name, error)
  }
}

/** What a scorer failed with, under a stable code. */
export function scorerError(name: string, error: unknown): WinnowError {
  if (WinnowError.is(error)) return error
  const native = (error as { code?: unknown } | null)?.code
  if (typeof native === 'string' && Object.hasOwn(codes, native)) return WinnowError.from(error)
  const message = error instanceof Error ? error.message : String(error)
  return new WinnowError('SCORER_FAILED', `The scorer ${name} failed: ${message}`, { cause: error })
}
