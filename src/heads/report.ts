import type { Interval } from '../statistics.js'
import { calibrationError, differenceOf, type Judged, type Ranking, rankingOf } from './measure.js'
import { type HeadNet, logitOf } from './net.js'
import type { HeadTable } from './table.js'
import { columnsOf, type HeadPart } from './train.js'

/** How one score ranks at the ends of the four quarters of an answer. */
export interface Quarters {
  readonly score: string
  readonly quarters: readonly Ranking[]
}

export interface HeadReport {
  readonly prompts: number
  readonly rows: number
  readonly measure: { readonly within: string; readonly pooled: string }
  readonly scores: readonly Quarters[]
  /** By how much the head ranks better, within prompts, than one that sees the confidence features alone. */
  readonly stateGain: readonly Interval[]
  /** Quarters (1-4) at whose ends the interval of that lies above 0. */
  readonly stateHelpsAt: readonly number[]
  /** Expected calibration error at the ends of the quarters; null for labels that are no probabilities. */
  readonly calibration: readonly number[] | null
}

/** Measures heads and single features on prompts that no head has seen. */
export function reportOf(
  table: HeadTable,
  heads: Readonly<Record<HeadPart, HeadNet>>,
  featureNames: readonly string[],
  test: ReadonlySet<number>,
  validation: ReadonlySet<number>,
  settings: { readonly stateColumns: number; readonly binary: boolean; readonly seed: number }
): HeadReport {
  const { stateColumns, binary, seed } = settings
  const rowsOf = (prompts: ReadonlySet<number>, quarter: number) =>
    table.prompts.flatMap((prompt, row) => (prompts.has(prompt) && table.quarters[row] === quarter ? [row] : []))
  const judged = (rows: readonly number[], score: (input: Float32Array) => number): Judged[] =>
    rows.map((row) => ({
      prompt: table.prompts[row] as number,
      label: table.labels[row] as number,
      score: score(table.input(row))
    }))
  const ofHead = (part: HeadPart) => (input: Float32Array) =>
    logitOf(heads[part], input.subarray(...columnsOf(part, stateColumns, table.columns)))
  const quarters = [1, 2, 3, 4]
  const measured = (score: (input: Float32Array) => number) =>
    quarters.map((quarter) => rankingOf(judged(rowsOf(test, quarter), score), binary, seed))

  const parts: readonly [HeadPart, string][] = [
    ['both', 'head'],
    ['features', 'head on the features alone'],
    ['state', 'head on the state alone']
  ]
  const features = featureNames.map((name, i): Quarters => {
    const value = (input: Float32Array) => input[stateColumns + i] as number
    // The direction in which a feature points is chosen where the heads were stopped, not where they are measured.
    const chance = rankingOf(judged(rowsOf(validation, 4), value), binary, seed).within.mean
    const points = chance >= (binary ? 0.5 : 0)
    return {
      score: points ? name : `${name} (negated)`,
      quarters: measured((input) => (points ? 1 : -1) * value(input))
    }
  })
  const stateGain = quarters.map((quarter) => {
    const rows = rowsOf(test, quarter)
    return differenceOf(judged(rows, ofHead('both')), judged(rows, ofHead('features')), binary, seed)
  })
  return {
    prompts: test.size,
    rows: quarters.reduce((sum, quarter) => sum + rowsOf(test, quarter).length, 0),
    measure: binary ? { within: 'AUROC', pooled: 'AUROC' } : { within: "Kendall's tau-b", pooled: "Pearson's r" },
    scores: [...parts.map(([part, score]) => ({ score, quarters: measured(ofHead(part)) })), ...features],
    stateGain,
    stateHelpsAt: quarters.filter((_, i) => (stateGain[i] as Interval).low > 0),
    calibration: binary ? quarters.map((q) => calibrationError(judged(rowsOf(test, q), ofHead('both')))) : null
  }
}
