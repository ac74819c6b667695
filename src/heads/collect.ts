import { every } from '../checkpoint.js'
import type { Engine } from '../engine.js'
import type { SamplingOptions } from '../options.js'
import type { ResultBranch } from '../result.js'
import { generator } from '../statistics.js'
import { rightOf } from './labels.js'
import { featureCount, Recorder } from './recorder.js'
import { HeadTable } from './table.js'
import type { Trace } from './traces.js'

/** What a finished candidate of a prompt should be scored; null leaves it out. `rights` are those of labels.ts. */
export type Labeller = (
  branches: readonly ResultBranch[],
  trace: Trace,
  rights: readonly (boolean | null)[]
) => Promise<readonly (number | null)[]>

export interface CollectOptions {
  /** Answers a prompt, where a trace brings none. */
  readonly samples: number
  /** Tokens from one look to the next. */
  readonly grid: number
  /** Looks inside each quarter of an answer, besides its end. */
  readonly spread: number
  readonly seed: number
  readonly maxTokens: number
  readonly sampling?: SamplingOptions | undefined
  readonly raw?: boolean | undefined
  readonly signal?: AbortSignal | undefined
  readonly onPrompt?: ((done: number, tokens: number) => void) | undefined
}

/**
 * Keeps what a head would see of the answers to every prompt, on their way: of those a trace brings, or of the
 * generator's own.
 */
export async function collect(
  engine: Engine,
  traces: readonly Trace[],
  label: Labeller,
  options: CollectOptions
): Promise<HeadTable> {
  const { samples, grid, spread, seed, maxTokens, sampling, raw, signal, onPrompt } = options
  const table = new HeadTable(engine.model.width + featureCount)
  const random = generator(seed)
  let tokens = 0
  for (const [prompt, trace] of traces.entries()) {
    const n = trace.samples?.length ?? samples
    const scorer = new Recorder(n)
    const race = { scorer, checkpoints: every(grid), seed, maxTokens, raw, signal }
    const answers = trace.samples?.map(({ answer }) => answer)
    const { branches, failure } = await (answers === undefined
      ? engine.bestOf(n, trace.prompt, { ...race, sampling })
      : engine.score(trace.prompt, answers, race))
    if (failure !== null) throw failure
    const rights = rightOf(branches, trace)
    const labels = await label(branches, trace, rights)
    const looks = branches.map(({ id }) => (labels[id] === null ? [] : scorer.looks(id, spread, random)))
    const places = Math.max(...looks.map((list) => list.length))
    for (let place = 0; place < places; place++) {
      for (const { id } of branches) {
        const look = looks[id]?.[place]
        if (look === undefined) continue
        table.add({
          ...look,
          label: labels[id] as number,
          right: rights[id] ?? null,
          group: prompt * places + place,
          prompt
        })
      }
    }
    tokens += branches.reduce((sum, branch) => sum + branch.tokens.length, 0)
    onPrompt?.(prompt + 1, tokens)
  }
  return table
}
