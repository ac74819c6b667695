import { accuracy } from '../contender.js'
import { numberKnob, readKnobs } from '../knob.js'
import type { Shaper } from '../shaper.js'

export interface RelativeLengthOptions {
  /** Weight of the accuracy, at least 0. Default 5, as in the authors' code. */
  readonly lambda?: number | undefined
}

/**
 * R = mean L / L - 1 + lambda (A - mean A), cut to -2..4 (O1-Pruner, arXiv 2501.12570; cut and lambda from
 * o1_scripts/construct_dataset.py). The means are the race's own, where the paper takes them from a reference model's
 * samples. The script's z-normalisation changes no ranking and is left out. An empty answer counts as one token. A
 * raw score of minus infinity stays one and counts in no mean.
 */
export function relativeLength(options: RelativeLengthOptions = {}): Shaper {
  const lambdaKnob = numberKnob(5, 0, Number.MAX_VALUE, 'a number of at least 0')
  const { lambda } = readKnobs('relativeLength', { lambda: lambdaKnob }, options)
  return {
    name: `relative-length(${lambda})`,
    shape(contenders) {
      const lengths = contenders.map(({ tokens }) => Math.max(1, tokens))
      const meanLength = mean(lengths)
      const accuracies = contenders.map(accuracy)
      const meanAccuracy = mean(accuracies.filter(Number.isFinite))
      return accuracies.map((value, i) => {
        if (!Number.isFinite(value)) return value
        const reward = meanLength / (lengths[i] as number) - 1 + lambda * (value - meanAccuracy)
        return Math.min(4, Math.max(-2, reward))
      })
    }
  }
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value / values.length, 0)
}
