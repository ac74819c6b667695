import type { PlainScorer } from '../scorer.js'

/**
 * Mean raw log-probability of the tokens written so far, nats: how much the model trusts itself on the whole. An
 * empty branch scores minus infinity, since nothing speaks for it.
 */
export function meanLogprob(): PlainScorer {
  return {
    name: 'mean-logprob',
    needs: [],
    score: (candidates) => candidates.map(({ logprobs }) => mean(logprobs))
  }
}

function mean(values: Float32Array): number {
  if (values.length === 0) return Number.NEGATIVE_INFINITY
  let sum = 0
  for (const value of values) sum += value
  return sum / values.length
}
