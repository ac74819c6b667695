import { accuracy } from '../contender.js'
import { numberKnob, readKnobs } from '../knob.js'
import type { Shaper } from '../shaper.js'

export interface LengthPenaltyOptions {
  /** Score a token costs, at least 0. */
  readonly alpha: number
}

/** R = A - alpha L, L in tokens: the general form of a length reward (arXiv 2503.16419). */
export function lengthPenalty(options: LengthPenaltyOptions): Shaper {
  const alphaKnob = numberKnob(undefined, 0, Number.MAX_VALUE, 'a number of at least 0')
  const { alpha } = readKnobs('lengthPenalty', { alpha: alphaKnob }, options)
  return {
    name: `length-penalty(${alpha})`,
    shape: (contenders) => contenders.map((contender) => accuracy(contender) - alpha * contender.tokens),
    bound: (ceiling, tokens) => ceiling - alpha * tokens
  }
}
