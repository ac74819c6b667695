import type { NativeBinding } from '../binding.js'
import type { Engine } from '../engine.js'
import { sha256 } from '../model.js'
import { type CollectOptions, collect, type Labeller } from './collect.js'
import { writeHeadFile } from './file.js'
import { type HeadNet, layersOf } from './net.js'
import { type HeadReport, reportOf } from './report.js'
import type { Trace } from './traces.js'
import { divide, fitPart, type HeadPart, type TrainOptions } from './train.js'

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
  readonly signal?: AbortSignal | undefined
}

export interface TrainedHead {
  readonly path: string
  readonly rows: number
  readonly prompts: { readonly train: number; readonly validation: number; readonly test: number }
  /** The epoch that was kept, and how many there were. */
  readonly epoch: { readonly best: number; readonly run: number }
  readonly report: HeadReport
}

/**
 * A reward head for an engine's model out of answers to prompts, its own or given ones: collects states, fits, measures on prompts
 * the head has not seen, and writes the head file. Deterministic by seed on one machine.
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
  const { out, label, binary, trainedOn, signal } = options
  const table = await collect(engine, traces, label, { ...options.collect, signal })
  const { width: stateColumns, path } = engine.model
  const division = divide(table.prompts, options.fit.seed)
  const settings = { ...options.fit, stateColumns, binary, signal }
  const heads = {} as Record<HeadPart, HeadNet>
  for (const part of ['both', 'features', 'state'] as const) {
    heads[part] = await fitPart(binding, table, division, part, settings)
  }
  const { fit } = heads.both
  const names = binding.featureNames
  const features = names.map((name, i) => ({ name, mean: fit.mean[i] as number, std: fit.deviation[i] as number }))
  const modelSha256 = await sha256(path)
  const content = { width: stateColumns, features, activation: 'silu', trainedOn, modelSha256 } as const
  await writeHeadFile(out, { ...content, ...layersOf(heads.both) }, signal)
  const { train, validation, test } = division
  return {
    path: out,
    rows: table.rows,
    prompts: { train: train.size, validation: validation.size, test: test.size },
    epoch: { best: fit.best, run: fit.epochs.length },
    report: reportOf(table, heads, names, test, validation, { stateColumns, binary, seed: options.fit.seed })
  }
}
