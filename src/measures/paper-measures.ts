/** What the paper's figures show of a policy, out of replays: arXiv 2410.20290, formulas as its repository has them. */
import type { Arm } from '../arm.js'
import { bestOfN } from '../policies/best-of-n.js'
import type { Interval } from '../statistics.js'
import { type CostModel, wallOf } from '../traces/cost.js'
import { bestOf, replay } from '../traces/replay.js'
import type { ReplayedRow } from '../traces/replayed-row.js'
import { finalScore, type Trace, type TraceHeader } from '../traces/trace.js'
import { type BestOfNPoint, equivalentN, speedUp } from './equivalent.js'
import { expectedOfBest } from './expected-best.js'
import { improvement, improvementScore, relativeCompute } from './improvement.js'
import { winRate } from './win-rate.js'

/** Best-of-N at one N, over all prompts. */
export interface BestOfNMeasure {
  readonly n: number
  /** 100 (1 + mean improvement) of its expected pick; the pool is all candidates. */
  readonly improvementScore: number
  /** Share of prompts its expected pick is right on; null where the right answers are not known. */
  readonly accuracy: number | null
  /** Mean seconds of the first N, foretold. */
  readonly seconds: number
  /** Mean generated tokens of N candidates. */
  readonly tokens: number
}

export interface PolicyMeasure {
  readonly policy: string
  /** Null where the returned answer has no score by the first scorer on some prompt. */
  readonly improvementScore: number | null
  /** Seconds over those of best-of-N with all candidates. */
  readonly relativeCompute: number
  /** The same without scoring, as the paper counts its perplexity arm. */
  readonly relativeGeneration: number
  /** Best-of-N is as good at this N, by improvement score; null where it is so at none from 1 to all. */
  readonly equivalentN: number | null
  /** What best-of-N takes there, over what the policy took: of seconds, and of generated tokens. */
  readonly speedUp: number | null
  readonly tokenSpeedUp: number | null
  /** Against the first N of the same candidates. */
  readonly winRates: readonly { readonly n: number; readonly reward: Interval | null; readonly gold: Interval | null }[]
}

/** What a policy got on each prompt. */
interface Taken {
  readonly score: number | null
  readonly right: number | null
  readonly seconds: number
  readonly generation: number
  readonly tokens: number
}

/** Best-of-N's own. */
interface PoolTaken extends Taken {
  readonly expectedImprovement: number
  readonly expectedRight: number | null
  readonly expectedTokens: number
}

/** Gathers prompt by prompt. The reward is the recording's first scorer's. */
export class PaperMeasures {
  readonly #header: TraceHeader
  readonly #arms: readonly Arm[]
  readonly #cost: CostModel
  readonly #n: number
  readonly #sizes: readonly number[]
  readonly #taken = new Map<string, Taken[]>()
  readonly #improvements = new Map<string, (number | null)[]>()
  readonly #pool = new Map<number, PoolTaken[]>()

  /** `n` candidates are the pool; best-of-N is measured at 1, 2, 4, ... and n. */
  constructor(header: TraceHeader, arms: readonly Arm[], cost: CostModel, n = header.n) {
    this.#header = header
    this.#arms = arms
    this.#cost = cost
    this.#n = n
    const doubling = Array.from({ length: Math.floor(Math.log2(n)) + 1 }, (_, i) => 2 ** i)
    this.#sizes = [...new Set([...doubling, n])]
  }

  /** `rows` are those of `replayArms` on the same trace. */
  add(trace: Trace, rows: readonly ReplayedRow[]): void {
    const scores = trace.scores(0)
    const finals = Array.from({ length: this.#n }, (_, id) => finalScore(trace, scores, id))
    const improvements = finals.map((score) => improvement(score, finals))
    for (const row of rows) {
      const score = this.#scoreOf(row, finals)
      const taken = { ...secondsOf(row), score, right: asNumber(row.right), tokens: row.generatedTokens }
      push(this.#taken, row.arm, taken)
      push(this.#improvements, row.arm, score === null ? null : improvement(score, finals))
    }
    for (const n of this.#sizes) push(this.#pool, n, this.#bestOf(trace, scores, finals, improvements, n))
  }

  /** Of a winner that was stopped, what it is said to be worth there, if by the first scorer. */
  #scoreOf({ arm, winner, truncated, score }: ReplayedRow, finals: readonly number[]): number | null {
    if (winner === null) return null
    if (!truncated) return finals[winner] ?? null
    return this.#arms.find(({ name }) => name === arm)?.against === null ? score : null
  }

  #bestOf(
    trace: Trace,
    scores: Float64Array,
    finals: readonly number[],
    improvements: readonly number[],
    n: number
  ): PoolTaken {
    const done = replay(this.#header, trace, bestOfN(), { n })
    const best = bestOf(trace, scores, n)
    const seconds = this.#cost.seconds(done)
    const known = trace.right[0] !== null
    const lengths = [...trace.lengths.subarray(0, this.#n)]
    const of = (values: readonly number[]) => expectedOfBest(finals, values, n)
    return {
      score: finals[best] as number,
      right: asNumber(trace.right[best] ?? null),
      seconds: wallOf(seconds),
      generation: wallOf({ ...seconds, score: 0 }),
      tokens: done.work.generatedTokens,
      expectedImprovement: of(improvements),
      expectedRight: known ? of(trace.right.slice(0, this.#n).map(Number)) : null,
      expectedTokens: (n * lengths.reduce((sum, length) => sum + length, 0)) / lengths.length
    }
  }

  bestOfN(): BestOfNMeasure[] {
    return [...this.#pool].map(([n, taken]) => ({
      n,
      improvementScore: improvementScore(taken.map(({ expectedImprovement }) => expectedImprovement)),
      accuracy: meanOf(taken.map(({ expectedRight }) => expectedRight)),
      seconds: meanOf(taken.map(({ seconds }) => seconds)) as number,
      tokens: meanOf(taken.map(({ expectedTokens }) => expectedTokens)) as number
    }))
  }

  /** `seed`: of the intervals. */
  policies(seed: number): PolicyMeasure[] {
    const curve = this.bestOfN()
    const points = (cost: 'seconds' | 'tokens'): BestOfNPoint[] =>
      curve.map((point) => ({ n: point.n, score: point.improvementScore, cost: point[cost] }))
    const all = this.#pool.get(this.#n) ?? []
    return this.#arms.map(({ name }) => {
      const taken = this.#taken.get(name) ?? []
      const improvements = this.#improvements.get(name) ?? []
      const known = improvements.filter((value) => value !== null)
      const score = known.length < improvements.length ? null : improvementScore(known)
      const costOf = (cost: 'seconds' | 'tokens') => meanOf(taken.map((one) => one[cost])) as number
      const sped = (cost: 'seconds' | 'tokens') =>
        score === null ? null : speedUp(points(cost), { score, cost: costOf(cost) })
      const own = (key: 'seconds' | 'generation') =>
        relativeCompute(
          taken.map((one) => one[key]),
          all.map((one) => one[key])
        )
      return {
        policy: name,
        improvementScore: score,
        relativeCompute: own('seconds'),
        relativeGeneration: own('generation'),
        equivalentN: score === null ? null : equivalentN(points('seconds'), score),
        speedUp: sped('seconds'),
        tokenSpeedUp: sped('tokens'),
        winRates: this.#sizes
          .filter((n) => n >= Math.min(4, this.#n))
          .map((n) => {
            const other = this.#pool.get(n) ?? []
            const against = (key: 'score' | 'right') =>
              winRate(
                taken.map((one) => one[key]),
                other.map((one) => one[key]),
                seed
              )
            return { n, reward: against('score'), gold: against('right') }
          })
      }
    })
  }
}

function secondsOf({ wallSeconds, seconds }: ReplayedRow) {
  return { seconds: wallSeconds, generation: wallSeconds - (seconds.score ?? 0) }
}

function asNumber(right: boolean | null): number | null {
  return right === null ? null : Number(right)
}

/** Of those that are known; null of none. */
function meanOf(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null)
  return known.length === 0 ? null : known.reduce((sum, value) => sum + value, 0) / known.length
}

function push<K, V>(lists: Map<K, V[]>, key: K, value: V): void {
  const list = lists.get(key)
  if (list === undefined) lists.set(key, [value])
  else list.push(value)
}
