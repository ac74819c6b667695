import { expected } from '../errors.js'
import { contenders, isWhole, type Policy, type Standing } from '../policy.js'
import { type Best, type Shaper, undecided } from '../shaper.js'

export interface StopOptions {
  /** Who is killed before that. */
  readonly policy: Policy
  /** A shaper with a `bound`. */
  readonly shape: Shaper
  /** The highest raw score the scorer can give: 1 of a probability. */
  readonly ceiling: number
}

/**
 * Another policy, and beyond it the exact early stop that a length penalty allows: once no live branch can still win by
 * the shaped score, all of them are killed. The winner is the one that decoding to the end would give, provided that
 * no raw score exceeds `ceiling`. The winner is chosen by shaped score, without a verifier; a pipeline beside this policy
 * agrees with it when it has the same shape and neither verifier nor judges, and chooses by `argmax`.
 *
 * Throws OPTION_INVALID for a shaper without a bound.
 */
export function stopWhenDecided({ policy, shape, ceiling }: StopOptions): Policy {
  if (!hasBound(shape)) {
    throw expected('OPTION_INVALID', 'a shaper with a bound', 'shape of stopWhenDecided', shape.name)
  }
  if (typeof ceiling !== 'number' || Number.isNaN(ceiling)) {
    throw expected('OPTION_INVALID', 'a number', 'ceiling of stopWhenDecided', ceiling)
  }
  const { keeps } = policy
  return {
    name: `${policy.name}+stop(${shape.name})`,
    checkpoints: policy.checkpoints,
    // A bound: beyond it the stop may kill the rest.
    ...(policy.onFull === true && { onFull: true as const }),
    ...(keeps !== undefined && { keeps: (live: number) => keeps.call(policy, live) }),
    decide(view) {
      const decision = policy.decide(view)
      const killed = new Set(decision.kill)
      const live = view.branches.filter(({ id, state }) => state === 'live' && !killed.has(id))
      if (live.length === 0) return decision
      const finished = best(shape, view.branches.filter(isWhole))
      if (undecided(shape, ceiling, finished, live).length > 0) return decision
      return { ...decision, kill: [...decision.kill, ...live.map(({ id }) => id)], why: 'cannot win any more' }
    },
    choose: (view) => best(shape, contenders(view.branches))?.id ?? null
  }
}

/** The highest shaped score of finished branches, ties to the lower id. */
function best(shape: Shaper, finished: readonly Standing[]): Best | null {
  let winner: Best | null = null
  for (const { id, score: raw, tokens, reason } of finished) {
    if (raw === null || reason === null) continue
    const [shaped = raw] = shape.shape([{ id, text: '', tokens, reason, raw, rewards: [], right: null }])
    if (winner === null || shaped > winner.shaped) winner = { id, shaped }
  }
  return winner
}

function hasBound(shape: Shaper): shape is Shaper & Pick<Required<Shaper>, 'bound'> {
  return typeof shape.bound === 'function'
}
