import { type Contender, endedItself } from '../contender.js'
import { numberKnob, readKnobs } from '../knob.js'
import type { Shaper } from '../shaper.js'

export interface SigmoidLengthOptions {
  /** Weight of the length, 0 to 1. Default 0.1, as in the authors' run script. */
  readonly alpha?: number | undefined
}

/**
 * R = 1[right] (1 - alpha sigmoid(z)), z = (L - mean) / (standard deviation + 1e-7) with both taken over the lengths of
 * the right answers, deviation of the population; 0 for wrong answers and such as were cut off (Arora and Zanette,
 * arXiv 2502.04463; Zanette-Labs/efficient-reasoning, reward_server/math_server.py).
 *
 * Without a verifier: raw - alpha sigmoid(z), z over all contenders.
 */
export function sigmoidLength(options: SigmoidLengthOptions = {}): Shaper {
  const { alpha } = readKnobs('sigmoidLength', { alpha: numberKnob(0.1, 0, 1, 'a number from 0 to 1') }, options)
  return {
    name: `sigmoid-length(${alpha})`,
    shape(contenders) {
      const { mean, deviation } = spread(contenders.filter(({ right }) => right !== false))
      return contenders.map((contender) => {
        const share = 1 / (1 + Math.exp(-(contender.tokens - mean) / (deviation + 1e-7)))
        if (contender.right === null) return contender.raw - alpha * share
        return contender.right && endedItself(contender) ? 1 - alpha * share : 0
      })
    }
  }
}

function spread(contenders: readonly Contender[]): { mean: number; deviation: number } {
  const count = Math.max(1, contenders.length)
  const mean = contenders.reduce((sum, { tokens }) => sum + tokens, 0) / count
  const variance = contenders.reduce((sum, { tokens }) => sum + (tokens - mean) ** 2, 0) / count
  return { mean, deviation: Math.sqrt(variance) }
}
