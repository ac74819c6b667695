import { accuracy, type Contender } from '../contender.js'
import { choiceKnob, type Knob, numberKnob, readKnobs } from '../knob.js'
import type { Shaper } from '../shaper.js'

/** Tokens an answer should have; or what the contenders themselves say it should be, such as `lengthBudget`. */
export type Budget = number | ((contenders: readonly Contender[]) => number)

export interface BudgetLengthOptions {
  /** `exact`: hit the budget. `max`: do not exceed it. Default `max`. */
  readonly kind?: 'exact' | 'max' | undefined
  readonly budget: Budget
  /** Score a token of distance costs, at least 0. Default 1/3000 for `exact`, 1/500 for `max`, as in the code. */
  readonly alpha?: number | undefined
}

const budgetKnob: Knob<Budget> = {
  text: 'a number of tokens, at least 0, or a function',
  test: (value): value is Budget => typeof value === 'function' || (Number.isFinite(value) && (value as number) >= 0)
}

/**
 * The rewards of length-controlled policy optimisation (L1, arXiv 2503.04697; cmu-l3/l1, math_reward.py), n* the budget:
 * `exact` R = A - alpha |n* - L|; `max` R = A d with d = (clip(alpha (n* - L), -1, 1) + 1) / 2.
 *
 * Without a verifier `max` is raw + d: a product would turn the order round where raw scores are below 0.
 */
export function budgetLength(options: BudgetLengthOptions): Shaper {
  const kind = choiceKnob('max', 'exact', 'max')
  const alphaKnob = numberKnob(options?.kind === 'exact' ? 1 / 3000 : 1 / 500, 0, 1e300, 'a number of at least 0')
  const knobs = readKnobs('budgetLength', { kind, budget: budgetKnob, alpha: alphaKnob }, options)
  const { alpha, budget } = knobs
  const nearness = (tokens: number, goal: number) => (Math.max(-1, Math.min(1, alpha * (goal - tokens))) + 1) / 2
  const reward = (contender: Contender, goal: number) => {
    const { tokens, right, raw } = contender
    if (knobs.kind === 'exact') return accuracy(contender) - alpha * Math.abs(goal - tokens)
    return right === null ? raw + nearness(tokens, goal) : Number(right) * nearness(tokens, goal)
  }
  return {
    name: `budget-length(${knobs.kind},${typeof budget === 'number' ? budget : 'function'},${alpha})`,
    shape(contenders) {
      const goal = typeof budget === 'number' ? budget : budget(contenders)
      return contenders.map((contender) => reward(contender, goal))
    },
    ...(typeof budget === 'number' && {
      bound: (ceiling: number, tokens: number) =>
        knobs.kind === 'exact' ? ceiling - alpha * Math.max(0, tokens - budget) : ceiling + nearness(tokens, budget)
    })
  }
}

/**
 * DAST's token length budget (arXiv 2503.04472): p mean L of right answers + (1 - p) `longest`, p the share of right
 * answers among those a verifier has judged. `longest` when none is right or none was judged, tokens.
 */
export function lengthBudget(contenders: readonly Contender[], longest: number): number {
  const judged = contenders.filter(({ right }) => right !== null)
  const right = judged.filter((contender) => contender.right)
  if (right.length === 0) return longest
  const share = right.length / judged.length
  const mean = right.reduce((sum, { tokens }) => sum + tokens, 0) / right.length
  return share * mean + (1 - share) * longest
}
