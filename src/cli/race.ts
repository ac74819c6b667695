import { policyNamed, scorerNamed } from '../names.js'
import type { RewardFlags, RewardModels } from './reward.js'
import type { ModelFlags, OutputFlags, RaceFlags } from './settings.js'

/** Flags of one race: what `winnow run` takes, and `winnow plan` of the same. */
export interface OneRaceFlags extends ModelFlags, RewardFlags, RaceFlags, OutputFlags {
  readonly policy: string
  readonly scorer?: string
  readonly deadline?: number
  readonly budget?: number
  readonly deterministic: boolean
  readonly compare: boolean
}

/** What both are asked for. Throws OPTION_UNKNOWN, OPTION_INVALID, HEAD_NOT_FOUND. */
export function raceOf(flags: OneRaceFlags, rewards: RewardModels) {
  const { alpha, margin, right, hopeless, checkpoints, policy, scorer, maxTokens, raw, deterministic, compare } = flags
  const { budget } = flags
  return {
    policy: policyNamed(policy, { alpha, margin, right, hopeless, checkpoints }),
    scorer: scorer === undefined ? (rewards.default ?? undefined) : scorerNamed(scorer, (name) => rewards.named(name)),
    maxTokens,
    raw,
    budget,
    // Only then are the two sides of a comparison about the same candidates.
    deterministic: deterministic || compare
  }
}

/** Settings of one policy alone, as they stand in results: null for the others. */
export function ownSettings({ policy, margin, right, hopeless }: OneRaceFlags) {
  const enough = policy === 'keep-enough'
  return {
    margin: policy === 'spec-reject' ? margin : null,
    right: enough ? right : null,
    hopeless: enough ? hopeless : null
  }
}
