import type { NativeHead, NativePool } from './binding.js'
import type { BranchStatus } from './branch.js'
import { codes, expected, WinnowError } from './errors.js'

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
  /** The text so far; empty unless the scorer `needs` text. */
  readonly text: string
}

/** What a scorer may use besides the candidates. */
export interface Scoring {
  readonly pool: NativePool
  /** The engine's reward head, if it has one. */
  readonly head: NativeHead | null
  /** The prompt as the model reads it, template included. */
  readonly prompt: string
  /** Aborted when the race is, or goes on without this call's scores; a scorer that takes long should listen. */
  readonly signal: AbortSignal
}

/** Candidates -> one raw number each, higher is better. Never NaN; minus infinity is allowed. */
export interface Scorer {
  readonly name: string
  /** `states`: the pool keeps hidden states. `text`: candidates come with their text. */
  readonly needs: readonly ('states' | 'text')[]
  /** Called once a checkpoint with the live branches and those that finished since the last one. */
  score(candidates: readonly Candidate[], scoring: Scoring): Promise<ArrayLike<number>> | ArrayLike<number>
}

/** The short form of a scorer: it sees texts and returns numbers. */
export type ScoreFunction = (candidates: readonly Candidate[]) => Promise<ArrayLike<number>> | ArrayLike<number>

/** A scorer out of a plain function. */
export function scorerOf(score: ScoreFunction, name: string = score.name || 'custom'): Scorer {
  return { name, needs: ['text'], score: (candidates) => score(candidates) }
}

/** Runs a scorer and refuses what is not one number for each candidate. */
export async function scoresOf(
  scorer: Scorer,
  candidates: readonly Candidate[],
  scoring: Scoring
): Promise<ArrayLike<number>> {
  const scores = await callScorer(scorer, candidates, scoring)
  if (typeof scores?.length !== 'number' || scores.length !== candidates.length) {
    throw expected('SCORE_INVALID', `${candidates.length} scores`, `as many branches from ${scorer.name}`, scores)
  }
  for (let i = 0; i < scores.length; i++) {
    const score = scores[i]
    if (typeof score !== 'number' || Number.isNaN(score)) {
      throw expected('SCORE_INVALID', 'a number', `branch ${candidates[i]?.id} from ${scorer.name}`, score)
    }
  }
  return scores
}

async function callScorer(scorer: Scorer, candidates: readonly Candidate[], scoring: Scoring) {
  try {
    return await scorer.score(candidates, scoring)
  } catch (error) {
    if (WinnowError.is(error) || scoring.signal.aborted) throw error
    const native = (error as { code?: unknown } | null)?.code
    if (typeof native === 'string' && Object.hasOwn(codes, native)) throw WinnowError.from(error)
    const message = error instanceof Error ? error.message : String(error)
    throw new WinnowError('SCORER_FAILED', `The scorer ${scorer.name} failed: ${message}`, { cause: error })
  }
}
