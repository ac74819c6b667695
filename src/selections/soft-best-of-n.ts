import type { ShapedContender } from '../contender.js'
import { numberKnob, readKnobs } from '../knob.js'
import type { Selection } from '../selection.js'
import { generator } from '../statistics.js'

export interface SoftOptions {
  /** In units of the score, above 0: small is nearly argmax, large nearly uniform. Default 1. */
  readonly temperature?: number | undefined
}

/**
 * Soft best-of-N (arXiv 2505.03156): draws contender i with probability exp(s_i / temperature) / sum, which bounds how
 * far a wrong reward can be gamed. The draw follows from the race's seed and prompt alone.
 */
export function softBestOfN(options: SoftOptions = {}): Selection {
  const temperatureKnob = numberKnob(1, Number.MIN_VALUE, Number.MAX_VALUE, 'a number above 0')
  const { temperature } = readKnobs('softBestOfN', { temperature: temperatureKnob }, options)
  return {
    name: `soft-best-of-n(${temperature})`,
    select(contenders, seed) {
      const shares = softmax(contenders, temperature)
      const lot = generator(seed)()
      let sum = 0
      let last: number | null = null
      for (const [i, share] of shares.entries()) {
        if (share === 0) continue
        sum += share
        last = i
        if (lot < sum) break
      }
      // Where rounding left the sum below the lot, the last one with any share.
      const winner = last === null ? null : (contenders[last] as ShapedContender)
      const percent = last === null ? 0 : 100 * (shares[last] as number)
      return { id: winner?.id ?? null, why: `drawn with probability ${percent.toFixed(1)}%` }
    }
  }
}

/** exp(s_i / temperature) / sum; all equal where every score is minus infinity. Sums to 1. */
export function softmax(contenders: readonly Pick<ShapedContender, 'shaped'>[], temperature: number): number[] {
  const top = Math.max(...contenders.map(({ shaped }) => shaped))
  const weights = contenders.map(({ shaped }) => (shaped === top ? 1 : Math.exp((shaped - top) / temperature)))
  const total = weights.reduce((sum, weight) => sum + weight, 0)
  return weights.map((weight) => weight / total)
}
