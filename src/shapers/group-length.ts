import { accuracy } from '../contender.js'
import { numberKnob, readKnobs } from '../knob.js'
import type { Shaper } from '../shaper.js'

export interface GroupLengthOptions {
  /** Of the length term, at least 0. Default 1. */
  readonly weight?: number | undefined
}

/**
 * R = A + weight r, with lambda = 0.5 - (L - min) / (max - min) over the lengths of the group and r = lambda for a right
 * answer, min(0, lambda) for a wrong one, 0 for all when they are equally long (Kimi k1.5, arXiv
 * 2501.12599). Without a verifier every answer counts as right.
 */
export function groupLength(options: GroupLengthOptions = {}): Shaper {
  const weightKnob = numberKnob(1, 0, Number.MAX_VALUE, 'a number of at least 0')
  const { weight } = readKnobs('groupLength', { weight: weightKnob }, options)
  return {
    name: `group-length(${weight})`,
    shape(contenders) {
      const lengths = contenders.map(({ tokens }) => tokens)
      const [min, max] = [Math.min(...lengths), Math.max(...lengths)]
      return contenders.map((contender) => {
        const lambda = max === min ? 0 : 0.5 - (contender.tokens - min) / (max - min)
        return accuracy(contender) + weight * (contender.right === false ? Math.min(0, lambda) : lambda)
      })
    }
  }
}
