import { every } from '../checkpoint.js'
import type { Engine } from '../engine.js'
import type { SamplingOptions } from '../options.js'
import type { Problem } from '../problems.js'
import type { ResultBranch } from '../result.js'
import { generator } from '../statistics.js'
import { featureCount, Recorder } from './recorder.js'
import { HeadTable } from './table.js'

/** What a finished candidate of a prompt should be scored; null leaves it out. */
export type Labeller = (branches: readonly ResultBranch[], problem: Problem) => Promise<readonly (number | null)[]>

export interface CollectOptions {
  /** Candidates a prompt. */
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

/** Lets the generator answer every prompt many times, and keeps what a head would see on the way. */
export async function collect(
  engine: Engine,
  problems: readonly Problem[],
  label: Labeller,
  options: CollectOptions
): Promise<HeadTable> {
  const { samples, grid, spread, seed, maxTokens, sampling, raw, signal, onPrompt } = options
  const table = new HeadTable(engine.model.width + featureCount)
  const random = generator(seed)
  let tokens = 0
  for (const [prompt, problem] of problems.entries()) {
    const scorer = new Recorder(samples)
    const checkpoints = every(grid)
    const race = { scorer, checkpoints, seed, maxTokens, sampling, raw, signal }
    const { branches, failure } = await engine.bestOf(samples, problem.prompt, race)
    if (failure !== null) throw failure
    const labels = await label(branches, problem)
    const looks = branches.map(({ id }) => (labels[id] === null ? [] : scorer.looks(id, spread, random)))
    const places = Math.max(...looks.map((list) => list.length))
    for (let place = 0; place < places; place++) {
      for (const { id } of branches) {
        const look = looks[id]?.[place]
        if (look === undefined) continue
        table.add({ ...look, label: labels[id] as number, group: prompt * places + place, prompt })
      }
    }
    tokens += branches.reduce((sum, branch) => sum + branch.tokens.length, 0)
    onPrompt?.(prompt + 1, tokens)
  }
  return table
}
