import { accuracy } from '../contender.js'
import { expected } from '../errors.js'
import { countKnob, readKnobs } from '../knob.js'
import type { Shaper } from '../shaper.js'

export interface OverlongPenaltyOptions {
  /** L_max, tokens. */
  readonly max: number
  /** L_cache, the tokens before `max` over which the penalty grows; at most `max`. */
  readonly cache: number
}

/**
 * R = A + P(L), DAPO's soft overlong punishment (arXiv 2503.14476; there L_max 20480, L_cache 4096):
 * P = 0 for L <= max - cache; ((max - cache) - L) / cache up to max; -1 beyond.
 */
export function overlongPenalty(options: OverlongPenaltyOptions): Shaper {
  const knobs = { max: countKnob(undefined, 1, 'tokens'), cache: countKnob(undefined, 1, 'tokens') }
  const { max, cache } = readKnobs('overlongPenalty', knobs, options)
  if (cache > max) throw expected('OPTION_INVALID', `at most max (${max}) tokens`, 'cache of overlongPenalty', cache)
  const penalty = (tokens: number) => (tokens > max ? -1 : Math.min(0, (max - cache - tokens) / cache))
  return {
    name: `overlong-penalty(${max},${cache})`,
    shape: (contenders) => contenders.map((contender) => accuracy(contender) + penalty(contender.tokens)),
    bound: (ceiling, tokens) => ceiling + penalty(tokens)
  }
}
