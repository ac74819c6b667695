import { type Interval, wilson } from '../statistics.js'

/** Candidates of alike scores, and how many of them are right. */
export interface CalibrationBin {
  readonly from: number
  readonly to: number
  /** Of their scores. */
  readonly mean: number
  readonly count: number
  readonly right: number
  /** Right ones among them, with Wilson's interval, which takes candidates for independent. */
  readonly share: Interval
}

/** How often candidates are right by the score they had at some time. */
export interface Calibration {
  /** When the score was read. */
  readonly when: string
  readonly bins: readonly CalibrationBin[]
}

const wanted = 10

/**
 * Ten bins of about as many candidates each, fewer where scores are alike: equal scores share a bin. Candidates without a
 * finite score are in none.
 */
export function calibrationOf(when: string, scores: readonly number[], right: readonly boolean[]): Calibration {
  const order = scores.flatMap((score, i) => (Number.isFinite(score) ? [i] : []))
  const score = (i: number) => scores[i] as number
  order.sort((a, b) => score(a) - score(b))
  const bins: CalibrationBin[] = []
  for (let begin = 0; begin < order.length; ) {
    let end = Math.max(begin + 1, Math.round(((bins.length + 1) * order.length) / wanted))
    while (end < order.length && score(order[end] as number) === score(order[end - 1] as number)) end++
    bins.push(binOf(order.slice(begin, end).map((i) => [score(i), right[i] as boolean])))
    begin = end
  }
  return { when, bins }
}

/** Of candidates by ascending score. */
function binOf(candidates: readonly (readonly [number, boolean])[]): CalibrationBin {
  const count = candidates.length
  const right = candidates.filter(([, is]) => is).length
  return {
    from: candidates[0]?.[0] as number,
    to: candidates.at(-1)?.[0] as number,
    mean: candidates.reduce((sum, [score]) => sum + score, 0) / count,
    count,
    right,
    share: wilson(right, count)
  }
}
