import type { PlainScorer } from '../scorer.js'

/**
 * The smallest raw log-probability of the tokens written so far, nats: the one step the model trusted least. An
 * empty branch scores minus infinity, since nothing speaks for it.
 */
export function minLogprob(): PlainScorer {
  return {
    name: 'min-logprob',
    needs: [],
    score: (candidates) => candidates.map(({ logprobs }) => smallest(logprobs))
  }
}

function smallest(values: Float32Array): number {
  if (values.length === 0) return Number.NEGATIVE_INFINITY
  let least = Number.POSITIVE_INFINITY
  for (const value of values) least = Math.min(least, value)
  return least
}
