import { countKnob, type Knob, numberKnob, readKnobs } from '../knob.js'
import type { Candidate, PlainScorer } from '../scorer.js'
import { needsOf, signalOf, type TokenSignal, tokenSignals } from './token-signal.js'
import { groupMeans, tailMean } from './window.js'

export interface ConfidenceOptions {
  /** What is averaged. Default `logprob`. DeepConf's own is `top`. */
  readonly of?: TokenSignal | undefined
}

export interface WindowOptions extends ConfidenceOptions {
  /** Tokens of a window. Default 2048, as in DeepConf. */
  readonly window?: number | undefined
}

export interface BottomOptions extends WindowOptions {
  /** Share of the windows that count, above 0 and at most 1. Default 0.1. */
  readonly share?: number | undefined
}

const of: Knob<TokenSignal> = {
  text: `one of ${tokenSignals.map((name) => `"${name}"`).join(', ')}`,
  test: (value): value is TokenSignal => tokenSignals.includes(value as TokenSignal),
  fallback: 'logprob'
}
const window = countKnob(2048, 1, 'tokens')

/** Mean over all tokens: (1/n) sum c_i. Of `logprob` this is `meanLogprob`. An empty branch scores minus infinity. */
export function meanConfidence(options: ConfidenceOptions = {}): PlainScorer {
  const { of: signal } = readKnobs('meanConfidence', { of }, options)
  return scorer(`mean-confidence(${signal})`, signal, (values) => tailMean(values, values.length))
}

/**
 * Self-certainty (arXiv 2502.18581): -(1/nV) sum over tokens and vocabulary of log(V p_ij), the mean of
 * KL(uniform || p_i), nats.
 */
export function selfCertainty(): PlainScorer {
  return scorer('self-certainty', 'certainty', (values) => tailMean(values, values.length))
}

/**
 * Tail confidence (DeepConf, arXiv 2508.15260): the mean over the last `window` tokens, of all where there
 * are fewer. An empty branch scores minus infinity.
 */
export function tailConfidence(options: WindowOptions = {}): PlainScorer {
  const { of: signal, window: size } = readKnobs('tailConfidence', { of, window }, options)
  return scorer(`tail-confidence(${signal},${size})`, signal, (values) => tailMean(values, size))
}

/**
 * Lowest group confidence (DeepConf): a group is the mean over a sliding window of `window` tokens; the
 * least of them counts. A branch shorter than a window is one group; an empty one scores minus infinity.
 */
export function lowestGroupConfidence(options: WindowOptions = {}): PlainScorer {
  const { of: signal, window: size } = readKnobs('lowestGroupConfidence', { of, window }, options)
  return scorer(`lowest-group-confidence(${signal},${size})`, signal, (values) => bottom(groupMeans(values, size), 0))
}

/**
 * Bottom-10% group confidence (DeepConf): the mean of the lowest `share` of all groups, one at least.
 */
export function bottomGroupConfidence(options: BottomOptions = {}): PlainScorer {
  const share = numberKnob(0.1, Number.MIN_VALUE, 1, 'a share above 0 and at most 1')
  const knobs = readKnobs('bottomGroupConfidence', { of, window, share }, options)
  const name = `bottom-group-confidence(${knobs.of},${knobs.window},${knobs.share})`
  return scorer(name, knobs.of, (values) => bottom(groupMeans(values, knobs.window), knobs.share))
}

function scorer(name: string, signal: TokenSignal, measure: (values: Float32Array) => number): PlainScorer {
  const score = (candidate: Candidate) => {
    const { values, sign } = signalOf(candidate, signal)
    return measure(sign === 1 ? values : values.map((value) => -value))
  }
  return { name, needs: needsOf(signal), score: (candidates) => candidates.map(score) }
}

/** The mean of the lowest `share` of the values, one at least; minus infinity of none. */
function bottom(values: Float64Array, share: number): number {
  if (values.length === 0) return Number.NEGATIVE_INFINITY
  const count = Math.max(1, Math.floor(share * values.length))
  const lowest = values.toSorted().subarray(0, count)
  return lowest.reduce((sum, value) => sum + value, 0) / count
}
