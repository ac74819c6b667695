import type { FinishReason } from './branch.js'

/** One candidate in the final choice: finished, and scored for the last time. */
export interface Contender {
  readonly id: number
  readonly text: string
  /** Generated tokens, without the end token. */
  readonly tokens: number
  readonly reason: FinishReason
  /** What the race's scorer said last. Never NaN; minus infinity is allowed. */
  readonly raw: number
  /** What each of the pipeline's further rewards says, in their order. */
  readonly rewards: readonly number[]
  /** What the pipeline's verifier says; null without one. */
  readonly right: boolean | null
}

/** A contender after shaping; selections look at `shaped`. */
export interface ShapedContender extends Contender {
  readonly shaped: number
}

/**
 * The "accuracy" A of a length reward: 1 or 0 where a verifier has spoken. Without one it is the raw score, and the
 * formula is a length-shaped selection rather than the paper's reward.
 */
export function accuracy({ right, raw }: Contender): number {
  return right === null ? raw : Number(right)
}

/** Whether it wrote its own end, and was not cut off. */
export function endedItself({ reason }: Contender): boolean {
  return reason === 'end' || reason === 'stop'
}
