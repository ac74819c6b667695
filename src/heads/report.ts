import type { Interval } from '../statistics.js'
import { differenceOf, type Judged, meanWithin, type Ranking, rankingOf } from './measure.js'
import { type HeadNet, logitOf } from './net.js'
import { lengthCorrelation } from './pooled.js'
import { type PositionLine, scoreAt } from './position.js'
import { calibrationError, type ReliabilityBin, reliabilityOf } from './reliability.js'
import { type Survival, survivalOf } from './survival.js'
import type { HeadTable } from './table.js'
import { columnsOf, type HeadPart } from './train.js'

/** How one score ranks at the ends of the four quarters of an answer. */
export interface Quarters {
  readonly score: string
  readonly quarters: readonly Ranking[]
}

/** Correlations within prompts with log(1 + tokens written), at the ends of the quarters. */
export interface LengthReport {
  /** Of the head's score, as the file gives it. */
  readonly score: readonly Interval[]
  /** Of its logit, before the line by position. */
  readonly logit: readonly Interval[]
  readonly label: readonly Interval[]
}

/** Predicted against observed at the end of a quarter. */
export interface Calibration {
  /** Expected calibration error of the score, and of the logit before the line by position. */
  readonly error: number
  readonly before: number
  readonly bins: readonly ReliabilityBin[]
}

export interface HeadReport {
  readonly prompts: number
  readonly rows: number
  readonly measure: { readonly within: string; readonly pooled: string }
  readonly scores: readonly Quarters[]
  /** By how much the head's logit ranks better, within prompts, than a head's that sees the confidence features alone. */
  readonly stateGain: readonly Interval[]
  /** Quarters (1-4) at whose ends the interval of that lies above 0. */
  readonly stateHelpsAt: readonly number[]
  readonly length: LengthReport
  /** One a quarter; null for labels that are no probabilities. */
  readonly calibration: readonly Calibration[] | null
  /** Of labels that are somebody's scores: how much of them the head keeps; null for right and wrong. */
  readonly survival: Survival | null
}

export interface ReportSettings {
  readonly stateColumns: number
  readonly binary: boolean
  readonly seed: number
  /** Of the head; null where its score is its logit. */
  readonly position: PositionLine | null
}

/** A number of a row of the table. */
type Value = (row: number) => number

/** Measures heads and single features on prompts that no head has seen. */
export function reportOf(
  table: HeadTable,
  heads: Readonly<Record<HeadPart, HeadNet>>,
  featureNames: readonly string[],
  test: ReadonlySet<number>,
  validation: ReadonlySet<number>,
  settings: ReportSettings
): HeadReport {
  const { binary, seed } = settings
  const { logits, feature, logTokens, score } = valuesOf(table, heads, featureNames, settings)
  const label = (row: number) => table.labels[row] as number
  const prompt = (row: number) => table.prompts[row] as number
  const quarters = [1, 2, 3, 4]
  const tested = quarters.map((quarter) => table.rowsOf(test, quarter))
  const finished = table.rowsOf(validation, 4)

  const judged = (rows: readonly number[], value: Value): Judged[] =>
    rows.map((row) => ({ prompt: prompt(row), label: label(row), score: value(row) }))
  const quartersOf = (name: string, value: Value): Quarters => ({
    score: name,
    quarters: tested.map((rows) => rankingOf(judged(rows, value), binary, seed))
  })
  const featureQuarters = (name: string): Quarters => {
    const value = feature(name)
    // The direction in which a feature points is chosen where the heads were stopped, not where they are measured.
    const chance = meanWithin(judged(finished, value), binary)
    // With nothing to rank there (NaN) it stays as it is.
    return chance < (binary ? 0.5 : 0) ? quartersOf(`${name} (negated)`, (row) => -value(row)) : quartersOf(name, value)
  }
  const stateGain = tested.map((rows) =>
    differenceOf(judged(rows, logits.both), judged(rows, logits.features), binary, seed)
  )
  const withLength = (value: Value) =>
    tested.map((rows) => {
      const looks = rows.map((row) => ({ prompt: prompt(row), value: value(row), logTokens: logTokens(row) }))
      return lengthCorrelation(looks, seed)
    })
  const calibration = (rows: readonly number[]): Calibration => {
    const bins = reliabilityOf(judged(rows, score))
    return { error: calibrationError(bins), before: calibrationError(reliabilityOf(judged(rows, logits.both))), bins }
  }
  const taught = (rows: readonly number[]) =>
    judged(rows, score).map((one, i) => ({ ...one, right: table.rights[rows[i] as number] ?? null }))
  return {
    prompts: test.size,
    rows: tested.reduce((sum, rows) => sum + rows.length, 0),
    measure: binary ? { within: 'AUROC', pooled: 'AUROC' } : { within: "Kendall's tau-b", pooled: "Pearson's r" },
    scores: [
      quartersOf('head', score),
      quartersOf('head on the features alone', logits.features),
      quartersOf('head on the state alone', logits.state),
      ...featureNames.map(featureQuarters)
    ],
    stateGain,
    stateHelpsAt: quarters.filter((_, i) => (stateGain[i] as Interval).low > 0),
    length: { score: withLength(score), logit: withLength(logits.both), label: withLength(label) },
    calibration: binary ? tested.map(calibration) : null,
    survival: binary ? null : survivalOf(tested.map(taught), seed)
  }
}

/** What heads and features say of a row. */
function valuesOf(
  table: HeadTable,
  heads: Readonly<Record<HeadPart, HeadNet>>,
  featureNames: readonly string[],
  { stateColumns, position }: ReportSettings
) {
  const ofHead = (part: HeadPart): Value => {
    const known = new Map<number, number>()
    const columns = columnsOf(part, stateColumns, table.columns)
    return (row) => {
      const logit = known.get(row) ?? logitOf(heads[part], table.input(row).subarray(...columns))
      known.set(row, logit)
      return logit
    }
  }
  const logits = { both: ofHead('both'), features: ofHead('features'), state: ofHead('state') }
  const feature = (name: string): Value => {
    const column = stateColumns + featureNames.indexOf(name)
    return (row) => table.input(row)[column] as number
  }
  const logTokens = feature('log_tokens')
  const score: Value = (row) => scoreAt(position, { logit: logits.both(row), logTokens: logTokens(row) })
  return { logits, feature, logTokens, score }
}
