import type { PlainScorer } from '../scorer.js'
import { tailMean } from './window.js'

/**
 * The paper's self-reward (arXiv 2410.20290; Zanette-Labs/SpeculativeRejection b51917f, self_evaluate): minus the
 * perplexity, -exp(-(1/n) sum log p_i), below 0 and at most -1, of the tokens written so far. It ranks as `meanLogprob`
 * does; the two differ where scores are added up or shaped. The reference counts the prompt's tokens too, the same
 * number for every branch of a race but not on the same scale. An empty branch scores minus infinity.
 */
export function perplexity(): PlainScorer {
  return {
    name: 'perplexity',
    needs: [],
    score: (candidates) => candidates.map(({ logprobs }) => -Math.exp(-tailMean(logprobs, logprobs.length)))
  }
}
