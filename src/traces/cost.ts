import { LeastSquares } from './least-squares.js'
import type { Replay } from './replay.js'
import type { Trace, TraceHeader } from './trace.js'
import { count, noWork, type Work } from './work.js'

/** Seconds of a race by phase. */
export interface ReplayedSeconds {
  readonly prefill: number
  /** Decoding and sampling. */
  readonly decode: number
  readonly score: number
  /** Whatever of the race is none of these: crossings, bookkeeping, texts. */
  readonly other: number
}

/**
 * What a race takes on the machine that recorded: sums of what was done, each times what one of it took there. With every
 * coefficient at least 0 (least squares), seconds are
 *
 *     prefill = a0 + a1 promptTokens
 *     decode  = b0 steps + b1 rows + b2 attended            (of a step: b0 + b1 width + b2 width context)
 *     score   = c0 looks + c1 scored + c2 freshTokens + c3 promptTokens     (of each scorer its own)
 *     other   = d0 + d1 generatedTokens
 */
export class CostModel {
  readonly #prefill: Float64Array
  readonly #decode: Float64Array
  readonly #scores: readonly Float64Array[]
  readonly #rewardTokens: readonly Float64Array[]
  readonly #other: Float64Array

  constructor(fit: CostFit) {
    this.#prefill = fit.prefill.solve()
    this.#decode = fit.decode.solve()
    this.#scores = fit.scores.map((each) => each.solve())
    this.#rewardTokens = fit.rewardTokens.map((each) => each.solve())
    this.#other = fit.other.solve()
  }

  /** By the scorer of this place. */
  seconds({ work }: Pick<Replay, 'work'>, scorer = 0): ReplayedSeconds {
    return {
      prefill: times(this.#prefill, [1, work.promptTokens]),
      decode: times(this.#decode, writing(work)),
      score: times(this.#scores[scorer], scoring(work)),
      other: times(this.#other, [1, work.generatedTokens])
    }
  }

  /** Tokens that a model of the scorer's own would decode; 0 for a scorer without one. */
  rewardTokens({ work }: Pick<Replay, 'work'>, scorer = 0): number {
    return Math.round(times(this.#rewardTokens[scorer], scoring(work)))
  }

  /** Seconds of one decode step of so many rows, each of which attends to `context` tokens. */
  step(width: number, context: number): number {
    return times(this.#decode, [1, width, width * context])
  }
}

export function wallOf({ prefill, decode, score, other }: ReplayedSeconds): number {
  return prefill + decode + score + other
}

/** What the recorded races took, gathered trace by trace. */
export class CostFit {
  readonly prefill = new LeastSquares(2)
  readonly decode = new LeastSquares(3)
  readonly other = new LeastSquares(2)
  readonly scores: readonly LeastSquares[]
  readonly rewardTokens: readonly LeastSquares[]
  readonly #grid: number

  constructor({ scorers, grid }: TraceHeader) {
    this.#grid = grid
    this.scores = scorers.map(() => new LeastSquares(4))
    this.rewardTokens = scorers.map(() => new LeastSquares(4))
  }

  add(trace: Trace): void {
    const { timing, promptTokens } = trace
    this.prefill.add([1, promptTokens], timing.prefill)
    let [written, generated] = [0, 0]
    for (const [look, work] of looksOf(trace, this.#grid).entries()) {
      this.decode.add(writing(work), timing.steps[look] as number)
      written += timing.steps[look] as number
      generated += work.generatedTokens
      const first = { ...work, promptTokens: look === 0 ? promptTokens : 0 }
      for (const [i, fit] of this.scores.entries()) {
        const seconds = timing.scores[i]?.[look] as number
        written += seconds
        fit.add(scoring(first), seconds)
        this.rewardTokens[i]?.add(scoring(first), timing.rewardTokens[i]?.[look] as number)
      }
    }
    this.other.add([1, generated], Math.max(0, timing.wall - timing.prefill - written))
  }

  model(): CostModel {
    return new CostModel(this)
  }
}

/** What was done between the looks of a recording, in which nobody is killed. */
function looksOf({ lengths, lived, undecoded, promptTokens }: Trace, grid: number): Work[] {
  const found: Work[] = []
  let live = Array.from(lengths, (_, id) => id)
  for (let look = 0; live.length > 0; look++) {
    const lives = (id: number) => (lived[id] as number) > look
    const ends = Int32Array.from(live, (id) => (lives(id) ? (look + 1) * grid : (lengths[id] as number)))
    const decoded = ends.map((end, i) => {
      const id = live[i] as number
      return end - (!lives(id) && undecoded.includes(id) ? 1 : 0)
    })
    const work = noWork(promptTokens, 0)
    count(work, look * grid, ends, decoded, live.length)
    found.push(work)
    live = live.filter(lives)
  }
  return found
}

function writing({ steps, rows, attended }: Work): readonly number[] {
  return [steps, rows, attended]
}

function scoring({ looks, scored, freshTokens, promptTokens }: Work): readonly number[] {
  return [looks, scored, freshTokens, promptTokens]
}

function times(coefficients: Float64Array | undefined, values: readonly number[]): number {
  return values.reduce((sum, value, i) => sum + value * (coefficients?.[i] ?? 0), 0)
}
