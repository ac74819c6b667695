import { roundHalfEven } from '../../dist/policy.js'

/** The rule as published: of all, finished or not, by descending score, the share 1 - alpha, halves to even. */
export function ranked(candidates, alpha) {
  const order = [...candidates].sort((a, b) => b.score - a.score)
  return order.slice(0, roundHalfEven((1 - alpha) * order.length))
}
