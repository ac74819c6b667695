import type { BranchStatus, FinishReason, Score } from './branch.js'
import type { Checkpoints } from './checkpoint.js'
import { WinnowError } from './errors.js'

/** One branch as a policy sees it. */
export interface Standing {
  readonly id: number
  readonly state: BranchStatus['state']
  /** Why it finished; null while live or when killed. */
  readonly reason: FinishReason | null
  /** The latest score; of a finished branch the final one. Null only for a branch that was never scored. */
  readonly score: number | null
  readonly scores: readonly Score[]
  /** Generated tokens. */
  readonly tokens: number
  /** Finished since the last checkpoint. */
  readonly fresh: boolean
}

/** Everything known at a checkpoint, and everything a decision may depend on. */
export interface View {
  /** 0 at the first checkpoint. */
  readonly index: number
  /** Generated tokens of a live branch now; after the end of the race, of the longest branch. */
  readonly tokens: number
  /** Nothing is live: this is the last look, and there is nothing left to kill. */
  readonly last: boolean
  /** All branches, by id. */
  readonly branches: readonly Standing[]
  /** 32 bits that depend on the race's seed and prompt only: the one source of randomness a policy has. */
  readonly seed: number
  /** What the same policy returned at the previous checkpoint; undefined at the first. */
  readonly memory: unknown
  /** The streams are full: so many live branches can go on in longer ones. Undefined at any other checkpoint. */
  readonly room?: number | undefined
}

export interface Decision {
  /** Ids of live branches to kill. */
  readonly kill: readonly number[]
  /** Why, for the record of each killed branch. */
  readonly why?: string
  /** Handed back at the next checkpoint and to `choose`. */
  readonly memory?: unknown
}

/**
 * A pure function from what is known to what to do. It never touches the pool and keeps nothing between calls
 * (`memory` travels through the caller), so a recorded race can be decided again by another policy.
 */
export interface Policy {
  readonly name: string
  /** When it wants to look, unless the caller says otherwise. */
  readonly checkpoints: Checkpoints
  decide(view: View): Decision
  /**
   * It decides whenever the streams are full too. Its races begin with as many candidates as memory holds, whatever they
   * grow to (ladder.ts), which `keeps` then says how to get down from.
   */
  readonly onFull?: true | undefined
  /**
   * How many of `live` branches outlive a checkpoint at most, where that does not depend on the scores. Plans and the
   * forecast in a result rest on it (`Result.expected`); who is killed does not.
   */
  keeps?(live: number): number
  /** The winner's id when the race is over, or null for none. Without it: `highest`. */
  choose?(view: View): number | null
}

/** Reasons that leave an answer cut off by the caller's patience, by memory or by the scorer's end. */
const cutOff: ReadonlySet<FinishReason | null> = new Set(['deadline', 'stopped', 'full', 'failed'])

/**
 * Who may win: the finished branches with a score. Answers that were cut off count only when there is no other: their
 * scores are partial ones.
 */
export function contenders(branches: readonly Standing[]): Standing[] {
  const whole = branches.filter(isWhole)
  return whole.length > 0 ? whole : branches.filter((branch) => isScored(branch) && branch.tokens > 0)
}

/** Finished and not cut off: its score is a final one. */
export function isWhole(branch: Standing): boolean {
  return isScored(branch) && !cutOff.has(branch.reason)
}

function isScored({ state, score }: Standing): boolean {
  return state === 'finished' && score !== null
}

/** The contender with the highest score, ties to the lower id. */
export function highest(branches: readonly Standing[]): number | null {
  let winner: Standing | null = null
  for (const branch of contenders(branches)) {
    if (winner === null || (branch.score as number) > (winner.score as number)) winner = branch
  }
  return winner?.id ?? null
}

/** Highest score first. Equal scores keep the order they come in: the lower id first, unless told otherwise. */
export function ranking(branches: readonly Standing[]): Standing[] {
  return [...branches].sort((a, b) => {
    const x = scoreOf(a)
    const y = scoreOf(b)
    return x === y ? 0 : y > x ? 1 : -1
  })
}

/** Throws SCORE_INVALID where there is none to decide by. */
export function scoreOf({ id, score }: Standing): number {
  if (score !== null && !Number.isNaN(score)) return score
  throw new WinnowError('SCORE_INVALID', `Expected a score for branch ${id} but received ${score}`)
}

/** Nearest whole number, halves to the even one: Python's `round`, which the reference rule is written in. */
export function roundHalfEven(value: number): number {
  const floor = Math.floor(value)
  const rest = value - floor
  if (rest !== 0.5) return rest < 0.5 ? floor : floor + 1
  return floor % 2 === 0 ? floor : floor + 1
}
