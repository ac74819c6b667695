import { expected } from '../errors.js'
import type { PlainScorer } from '../scorer.js'
import {
  bottomGroupConfidence,
  lowestGroupConfidence,
  meanConfidence,
  selfCertainty,
  tailConfidence
} from './confidence.js'
import { meanLogprob } from './mean-logprob.js'
import { minLogprob } from './min-logprob.js'
import { perplexity } from './perplexity.js'

/** Scorers of log-probabilities and entropies by their names on the command line. */
const whole = {
  'mean-logprob': meanLogprob,
  'min-logprob': minLogprob,
  perplexity,
  'mean-entropy': () => meanConfidence({ of: 'entropy' }),
  'mean-top': () => meanConfidence({ of: 'top' }),
  'self-certainty': selfCertainty
} as const satisfies Record<string, () => PlainScorer>

/** The same over windows, whose tokens may follow a colon: `tail-logprob:64`. */
const windowed = {
  'tail-logprob': (window?: number) => tailConfidence({ of: 'logprob', window }),
  'tail-entropy': (window?: number) => tailConfidence({ of: 'entropy', window }),
  'lowest-group-logprob': (window?: number) => lowestGroupConfidence({ of: 'logprob', window }),
  'lowest-group-entropy': (window?: number) => lowestGroupConfidence({ of: 'entropy', window }),
  'bottom-group-logprob': (window?: number) => bottomGroupConfidence({ of: 'logprob', window }),
  'bottom-group-entropy': (window?: number) => bottomGroupConfidence({ of: 'entropy', window }),
  'tail-top': (window?: number) => tailConfidence({ of: 'top', window }),
  'lowest-group-top': (window?: number) => lowestGroupConfidence({ of: 'top', window }),
  'bottom-group-top': (window?: number) => bottomGroupConfidence({ of: 'top', window })
} as const satisfies Record<string, (window?: number) => PlainScorer>

export const confidenceNames: readonly string[] = [...Object.keys(whole), ...Object.keys(windowed)]

/** The scorer of a name above, or null where it is none. Throws OPTION_INVALID for a wrong window. */
export function confidenceNamed(text: string): PlainScorer | null {
  if (Object.hasOwn(whole, text)) return whole[text as keyof typeof whole]()
  const [name = '', tokens, ...more] = text.split(':')
  if (!Object.hasOwn(windowed, name)) return null
  const scorer = windowed[name as keyof typeof windowed]
  if (tokens === undefined) return scorer()
  if (!/^\d{1,9}$/.test(tokens) || more.length > 0) {
    throw expected('OPTION_INVALID', 'a number of tokens behind the colon', `the scorer ${name}`, text)
  }
  return scorer(Number(tokens))
}
