import { WinnowError } from '../errors.js'
import type { Candidate, Need } from '../scorer.js'

/**
 * How sure the model was at each token, larger is surer:
 * `logprob` log p of the token drawn; `entropy` minus the entropy, which is KL(p || uniform) - log V;
 * `top` -(1/20) sum of log p over the 20 likeliest tokens: DeepConf's token confidence (arXiv 2508.15260);
 * `certainty` KL(uniform || p) = -log V - (1/V) sum of log p: self-certainty's term (arXiv 2502.18581).
 * All of the model's own distribution (temperature 1, nothing cut), nats.
 */
export type TokenSignal = 'logprob' | 'entropy' | 'top' | 'certainty'

export const tokenSignals: readonly TokenSignal[] = ['logprob', 'entropy', 'top', 'certainty']

/**
 * The signal's numbers and the sign they are to be read with. Throws SIGNAL_MISSING where the candidate does not
 * carry what the formula needs: nothing is put in its place.
 */
export function signalOf(
  candidate: Candidate,
  signal: TokenSignal
): { readonly values: Float32Array; readonly sign: 1 | -1 } {
  if (signal === 'logprob') return { values: candidate.logprobs, sign: 1 }
  if (signal === 'entropy') return { values: candidate.entropies, sign: -1 }
  const values = signal === 'top' ? candidate.topConfidences : candidate.certainties
  if (values !== undefined) return { values, sign: 1 }
  const what = signal === 'top' ? 'log-probabilities of the likeliest tokens' : 'mean log-probability of the vocabulary'
  throw new WinnowError(
    'SIGNAL_MISSING',
    `Expected the ${what} at every token for the signal "${signal}" but received none: the scorer must need "distributions"`
  )
}

/** What a scorer of this signal needs. */
export function needsOf(signal: TokenSignal): readonly Need[] {
  return signal === 'top' || signal === 'certainty' ? ['distributions'] : []
}
