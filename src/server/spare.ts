import { type Policy, ranking } from '../policy.js'

/**
 * A policy that leaves at least `n` branches unkilled, so that a request for the n best has n answers: of those it would
 * kill, the highest-scored live on.
 */
export function sparing(policy: Policy, n: number): Policy {
  if (n <= 1) return policy
  const { keeps } = policy
  const { choose } = policy
  return {
    name: policy.name,
    checkpoints: policy.checkpoints,
    onFull: policy.onFull,
    ...(keeps !== undefined && { keeps: (live: number) => Math.max(Math.min(n, live), keeps.call(policy, live)) }),
    ...(choose !== undefined && { choose: (view) => choose.call(policy, view) }),
    decide(view) {
      const decision = policy.decide(view)
      const doomed = new Set(decision.kill)
      const unkilled = view.branches.filter(({ id, state }) => state !== 'killed' && !doomed.has(id)).length
      const spared = ranking(view.branches.filter(({ id }) => doomed.has(id))).slice(0, Math.max(0, n - unkilled))
      for (const { id } of spared) doomed.delete(id)
      return spared.length === 0 ? decision : { ...decision, kill: [...doomed] }
    }
  }
}
