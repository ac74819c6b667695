import type { ModelFacts, NativeBinding } from '../binding.js'
import type { Engine } from '../engine.js'
import { sha256 } from '../model.js'
import { bestCalibrated } from './calibrate.js'
import { type CollectOptions, collect, type Labeller } from './collect.js'
import { writeHeadFile } from './file.js'
import { type HeadNet, layersOf, logitOf } from './net.js'
import { knotsOf, type PositionLine } from './position.js'
import { type HeadReport, reportOf } from './report.js'
import type { HeadTable } from './table.js'
import type { Trace } from './traces.js'
import { divide, fitPart, type HeadPart, type TrainOptions } from './train.js'
import { withoutLength } from './without-length.js'

export interface TrainHeadOptions {
  /** Where the head file goes. */
  readonly out: string
  readonly label: Labeller
  /** Labels are 0..1. */
  readonly binary: boolean
  /** In words, for the head file: which label, which prompts. */
  readonly trainedOn: string
  readonly collect: CollectOptions
  readonly fit: Omit<TrainOptions, 'stateColumns' | 'binary'>
  /** Whether sigmoid(score) is made a probability, where that can be learnt; for labels of 0..1. Default: yes. */
  readonly calibrate?: boolean | undefined
  /** Takes from the score what the length of an answer alone tells of it (without-length.ts). Default: no. */
  readonly debiasLength?: boolean | undefined
  readonly signal?: AbortSignal | undefined
}

export interface TrainedHead {
  readonly path: string
  readonly rows: number
  readonly prompts: { readonly train: number; readonly validation: number; readonly test: number }
  /** The epoch that was kept, and how many there were. */
  readonly epoch: { readonly best: number; readonly run: number }
  /** What the file puts on the logit; null where the score is the logit. */
  readonly position: PositionLine | null
  readonly report: HeadReport
}

/**
 * A reward head for an engine's model out of answers to prompts, its own or given ones: collects states, fits, measures
 * on prompts the head has not seen, and writes the head file. Deterministic by seed on one machine.
 *
 * Throws OPTION_INVALID (fewer than ten prompts, labels that do not differ), PROBLEMS_INVALID, WRITE_FAILED, and
 * whatever a race throws.
 */
export async function trainHead(
  binding: NativeBinding,
  engine: Engine,
  traces: readonly Trace[],
  options: TrainHeadOptions
): Promise<TrainedHead> {
  const { label, signal } = options
  const table = await collect(engine, traces, label, { ...options.collect, signal })
  return trainOn(binding, table, engine.model, options)
}

/** The same, of looks that have been collected. */
export async function trainOn(
  binding: NativeBinding,
  table: HeadTable,
  { width: stateColumns, path }: Pick<ModelFacts, 'width' | 'path'>,
  options: Omit<TrainHeadOptions, 'label' | 'collect'>
): Promise<TrainedHead> {
  const { out, binary, trainedOn, calibrate = true, debiasLength = false, signal } = options
  const division = divide(table.prompts, options.fit.seed)
  const settings = { ...options.fit, stateColumns, binary, signal }
  const heads = {} as Record<HeadPart, HeadNet>
  for (const part of ['both', 'features', 'state'] as const) {
    heads[part] = await fitPart(binding, table, division, part, settings)
  }
  const { fit } = heads.both
  const names = binding.featureNames
  const features = names.map((name, i) => ({ name, mean: fit.mean[i] as number, std: fit.deviation[i] as number }))
  const looks = placedLooks(table, heads.both, names, division.validation)
  const position = await lineOf(looks, binary && calibrate, debiasLength, signal)
  const modelSha256 = await sha256(path)
  const content = { width: stateColumns, features, activation: 'silu', position, trainedOn, modelSha256 } as const
  await writeHeadFile(out, { ...content, ...layersOf(heads.both) }, signal)
  const { train, validation, test } = division
  const measured = { stateColumns, binary, seed: options.fit.seed, position }
  return {
    path: out,
    rows: table.rows,
    prompts: { train: train.size, validation: validation.size, test: test.size },
    epoch: { best: fit.best, run: fit.epochs.length },
    position,
    report: reportOf(table, heads, names, test, validation, measured)
  }
}

/** What the line by position is fitted to: the head's logits on prompts it has not learnt from. */
function placedLooks(table: HeadTable, head: HeadNet, names: readonly string[], prompts: ReadonlySet<number>) {
  const logTokens = head.stateColumns + names.indexOf('log_tokens')
  return table.rowsOf(prompts).map((row) => ({
    logit: logitOf(head, table.input(row)),
    logTokens: table.input(row)[logTokens] as number,
    label: table.labels[row] as number,
    prompt: table.prompts[row] as number,
    group: table.groups[row] as number,
    ended: table.quarters[row] === 4
  }))
}

/** Calibration alone may go by position; one that did so after the length is taken out would put it back in. */
async function lineOf(
  looks: ReturnType<typeof placedLooks>,
  calibrate: boolean,
  debiasLength: boolean,
  signal: AbortSignal | undefined
): Promise<PositionLine | null> {
  const knots = knotsOf(looks.map(({ logTokens }) => logTokens))
  const line = debiasLength ? withoutLength(looks, knots) : null
  if (!calibrate) return line
  const answers = looks.filter(({ ended }) => ended).length
  const one = knots.slice(0, 1)
  return bestCalibrated(looks, debiasLength ? [one] : [one, knots], line, answers / looks.length, signal)
}
