import { WinnowError } from '../errors.js'
import type { Candidate } from '../scorer.js'

/**
 * What a candidate carries about the distributions its tokens were drawn from, where the engine reads more of them
 * than the entropy. One number for each token, nats, of the model's own distribution (temperature 1, nothing cut).
 */
export interface Distributions {
  /** C = -(1/k) sum of log p over the k likeliest tokens: DeepConf's token confidence (arXiv 2508.15260), k = 20. */
  readonly topConfidences?: Float32Array | undefined
  /** -log V - (1/V) sum of log p over the vocabulary = KL(uniform || p): self-certainty's term (arXiv 2502.18581). */
  readonly certainties?: Float32Array | undefined
}

/**
 * How sure the model was at each token, larger is surer:
 * `logprob` log p of the token drawn; `entropy` minus the entropy, which is KL(p || uniform) - log V;
 * `top` and `certainty` the two of `Distributions`.
 */
export type TokenSignal = 'logprob' | 'entropy' | 'top' | 'certainty'

export const tokenSignals: readonly TokenSignal[] = ['logprob', 'entropy', 'top', 'certainty']

/**
 * The signal's numbers and the sign they are to be read with. Throws SIGNAL_MISSING where the candidate does not
 * carry what the formula needs: nothing is put in its place.
 */
export function signalOf(
  candidate: Candidate & Distributions,
  signal: TokenSignal
): { readonly values: Float32Array; readonly sign: 1 | -1 } {
  if (signal === 'logprob') return { values: candidate.logprobs, sign: 1 }
  if (signal === 'entropy') return { values: candidate.entropies, sign: -1 }
  const values = signal === 'top' ? candidate.topConfidences : candidate.certainties
  if (values !== undefined) return { values, sign: 1 }
  const what = signal === 'top' ? 'log-probabilities of the likeliest tokens' : 'mean log-probability of the vocabulary'
  throw new WinnowError(
    'SIGNAL_MISSING',
    `Expected the ${what} at every token for the signal "${signal}" but received none: this engine does not read them`
  )
}
