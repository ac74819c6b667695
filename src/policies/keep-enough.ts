import { type Checkpoints, every } from '../checkpoint.js'
import { expected } from '../errors.js'
import { type Decision, type Policy, scoreOf, type View } from '../policy.js'

export interface KeepEnoughOptions {
  /** Right answers to be expected of those who live on, above 0. More is safer and dearer. Default 8. */
  readonly right?: number | undefined
  /** Who has less chance than this of being right is killed, however few are left, 0 <= hopeless < 1. Default 0.05. */
  readonly hopeless?: number | undefined
  /** Default `every(8)`. */
  readonly checkpoints?: Checkpoints | undefined
}

/** What it does where nothing is said. */
export const enough = { right: 8, hopeless: 0.05 } as const

/**
 * Kills by chance instead of by share: at each checkpoint the best live branches are kept until `right` right answers are to
 * be expected of them, and of those the hopeless are killed too; the last live branch never. An easy prompt is down to a few
 * branches soon, a hard one keeps nearly all, and rejection costs most where it is safe. A rejection rate cannot do that.
 *
 * Scores must be log-odds of being right, as a calibrated reward head's are: the chance is sigmoid(score), and the sum of
 * chances is the expected number. Log-probabilities are no such thing. Throws OPTION_INVALID.
 */
export function keepEnough(options: KeepEnoughOptions = {}): Policy {
  const { right = enough.right, hopeless = enough.hopeless, checkpoints = every(8) } = options
  if (typeof right !== 'number' || !(right > 0 && right < Number.POSITIVE_INFINITY)) {
    throw expected('OPTION_INVALID', 'a number above 0', 'right', right)
  }
  if (typeof hopeless !== 'number' || !(hopeless >= 0 && hopeless < 1)) {
    throw expected('OPTION_INVALID', 'a number from 0 to below 1', 'hopeless', hopeless)
  }
  return { name: 'keep-enough', checkpoints, decide: (view) => decide(view, right, hopeless) }
}

function decide(view: View, right: number, hopeless: number): Decision {
  // The sort is stable: among equals the lower id is kept.
  const ranked = view.branches
    .filter((branch) => branch.state === 'live')
    .map((branch) => ({ id: branch.id, chance: 1 / (1 + Math.exp(-scoreOf(branch))) }))
    .sort((a, b) => b.chance - a.chance)
  let kept = 0
  for (let sum = 0; kept < ranked.length && sum < right; kept++) {
    const { chance } = ranked[kept] as (typeof ranked)[number]
    if (chance < hopeless && kept > 0) break
    sum += chance
  }
  return { kill: ranked.slice(kept).map(({ id }) => id), why: 'enough without it' }
}
