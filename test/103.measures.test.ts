import { describe, expect, it } from 'vitest'
import { parseArms } from '../src/arm.js'
import { at } from '../src/checkpoint.js'
import { kendall, PlaceCorrelations, pearson } from '../src/measures/correlation.js'
import { equivalentN, speedUp } from '../src/measures/equivalent.js'
import { bestChances, expectedOfBest } from '../src/measures/expected-best.js'
import { improvement, improvementScore, relativeCompute } from '../src/measures/improvement.js'
import { PaperMeasures } from '../src/measures/paper-measures.js'
import { winRate } from '../src/measures/win-rate.js'
import { CostFit, wallOf } from '../src/traces/cost.js'
import { LeastSquares } from '../src/traces/least-squares.js'
import { replay } from '../src/traces/replay.js'
import { replayArms } from '../src/traces/replayed-row.js'
import { roundSurvival } from '../src/traces/round-survival.js'
import { madeTraces } from './fakes/traces.js'

// Values of scipy 1.17.1 (Python 3.11), with x, y, a, b, A and t as below:
//   stats.pearsonr(x, y)[0], stats.kendalltau(x, y)[0], scipy.optimize.nnls(A, t)[0],
//   stats.bootstrap((w,), np.mean, n_resamples=20000, method='percentile', rng=np.random.default_rng(1))
const x = [2.5, 1.0, 3.5, 3.5, -1.0, 0.0, 7.25, 2.5]
const y = [1.0, 1.0, 4.0, 2.0, -3.0, 2.0, 5.5, 0.5]
const a = Array.from({ length: 60 }, (_, i) => ((i * 37) % 101) / 7)
const b = Array.from({ length: 60 }, (_, i) => ((i * 53 + 5) % 29) + 0.25 * ((i * 37) % 101))

describe('improvement', () => {
  it('is what the reference computes: 0 at the pool’s best, -1 at its worst, in spreads of the pool', () => {
    expect(improvement(7, [1, 3, 5])).toBe(0.5)
    expect(improvement(5, [1, 3, 5])).toBe(0)
    expect(improvement(1, [1, 3, 5])).toBe(-1)
    expect(improvement(9, [2, 2])).toBe(0)
    expect(improvement(Number.NEGATIVE_INFINITY, [Number.NEGATIVE_INFINITY, 0, 4])).toBe(-1)
  })

  it('has 100 for as good as the pool’s best', () => {
    expect(improvementScore([0, 0.5, -0.25])).toBeCloseTo(100 * (1 + 0.25 / 3), 12)
  })

  it('is paid in compute, summed before it is divided', () => {
    expect(relativeCompute([1, 3], [2, 6])).toBe(0.5)
    expect(relativeCompute([1, 3], [2, 6], 4)).toBe(2)
  })
})

describe('the expected pick of best-of-n', () => {
  it('has the chances of drawing without replacement', () => {
    expect([...bestChances(4, 1)]).toEqual([0.25, 0.25, 0.25, 0.25])
    expect([...bestChances(4, 4)]).toEqual([1, 0, 0, 0])
    const [first, second, third, last] = bestChances(4, 2)
    expect([first, second, third].map((chance) => (chance as number) * 6)).toEqual(
      [3, 2, 1].map((count) => expect.closeTo(count, 12))
    )
    expect(last).toBe(0)
  })

  it('is the mean over all subsets, enumerated in Python with itertools.combinations', () => {
    const [scores, values] = [
      [3, 1, 2, 2, 5, -1],
      [1, 0, 1, 0, 0, 1]
    ]
    for (const [n, value, score] of [
      [1, 0.5, 2.0],
      [2, 0.4666666666666667, 3.2],
      [4, 0.3333333333333333, 4.266666666666667],
      [6, 0.0, 5.0]
    ] as const) {
      expect(expectedOfBest(scores, values, n)).toBeCloseTo(value, 12)
      expect(expectedOfBest(scores, scores, n)).toBeCloseTo(score, 12)
    }
    expect(expectedOfBest([1, Number.NEGATIVE_INFINITY], [1, Number.NEGATIVE_INFINITY], 2)).toBe(1)
  })
})

describe('best-of-N of equal score', () => {
  const points = [
    { n: 1, score: 10, cost: 1 },
    { n: 4, score: 20, cost: 3 },
    { n: 16, score: 40, cost: 12 }
  ]

  it('lies on straight lines over log N', () => {
    expect(equivalentN(points, 20)).toBe(4)
    expect(equivalentN(points, 15)).toBeCloseTo(2, 12)
    expect(equivalentN(points, 30)).toBeCloseTo(8, 12)
    expect(equivalentN([...points].reverse(), 30)).toBeCloseTo(8, 12)
    expect(equivalentN(points, 10)).toBe(1)
  })

  it('is not guessed beyond what was measured', () => {
    expect(equivalentN(points, 41)).toBeNull()
    expect(equivalentN(points, 9)).toBeNull()
    expect(speedUp(points, { score: 41, cost: 1 })).toBeNull()
  })

  it('costs so many times as much', () => {
    expect(speedUp(points, { score: 30, cost: 2 })).toBeCloseTo(Math.sqrt(3 * 12) / 2, 12)
  })
})

describe('correlation', () => {
  it('is scipy’s, with ties', () => {
    expect(pearson(x, y)).toBeCloseTo(0.8334450014886667, 12)
    expect(kendall(x, y)).toBeCloseTo(0.6153846153846154, 12)
    expect(pearson(a, b)).toBeCloseTo(0.697749533075969, 12)
    expect(kendall(a, b)).toBeCloseTo(0.5480225988700566, 12)
  })

  it('is unknown where a side does not vary or there is but one', () => {
    for (const measure of [pearson, kendall]) {
      expect(measure([1, 1, 1], [1, 2, 3])).toBeNull()
      expect(measure([1, 2, 3], [0.1, 0.1, 0.1])).toBeNull()
      expect(measure([1], [1])).toBeNull()
      expect(measure([], [])).toBeNull()
    }
  })

  it('grows with the share of the reward that is known: sqrt of it, as rewards add up', () => {
    const { header, traces } = madeTraces({
      prompts: 40,
      n: 64,
      grid: 16,
      rho: (tokens) => Math.sqrt(tokens / 128),
      length: 128
    })
    const places = new PlaceCorrelations(header, 0)
    for (const trace of traces) places.add(trace)
    const all = places.all()
    expect(all.map(({ tokens }) => tokens)).toEqual([16, 32, 48, 64, 80, 96, 112, 128])
    for (const { tokens, pearson: r, kendall: tau, prompts } of all) {
      expect(prompts).toBe(40)
      expect(Math.abs(r.mean - Math.sqrt(tokens / 128))).toBeLessThan(0.05)
      // Of two normal variables tau is (2 / pi) arcsin(rho).
      expect(Math.abs(tau.mean - (2 / Math.PI) * Math.asin(Math.min(1, r.mean)))).toBeLessThan(0.05)
      expect(r.low).toBeLessThanOrEqual(r.median)
      expect(r.median).toBeLessThanOrEqual(r.high)
    }
  })
})

describe('a win rate', () => {
  it('counts ties a half, and its interval is scipy’s', () => {
    const wins = [1, 0, 0.5, 1, 1, 0, 1, 0.5, 0, 1, 1, 1]
    const rate = winRate(
      wins.map((win) => win * 2),
      wins.map(() => 1),
      1
    )
    expect(rate?.mean).toBeCloseTo(0.6666666666666666, 12)
    expect(Math.abs((rate?.low as number) - 0.4166666666666667)).toBeLessThan(0.045)
    expect(Math.abs((rate?.high as number) - 0.875)).toBeLessThan(0.045)
  })

  it('leaves out what is not known', () => {
    expect(winRate([1, null, 3], [0, 0, null], 1)).toEqual({ mean: 1, low: 1, high: 1 })
    expect(winRate([null], [1], 1)).toBeNull()
  })
})

describe('least squares', () => {
  it('is scipy’s nnls', () => {
    const rows = [
      [1, 2, 3],
      [1, 5, 1],
      [1, 0, 4],
      [1, 7, 2],
      [1, 3, 9]
    ]
    const fit = new LeastSquares(3)
    for (const [i, row] of rows.entries()) fit.add(row, [3, 1, 9, 0.5, 8][i] as number)
    const [first, second, third] = fit.solve()
    expect(first).toBeCloseTo(0.6469072164948455, 9)
    expect(second).toBe(0)
    expect(third).toBeCloseTo(0.9613402061855673, 9)
    expect([...new LeastSquares(2).solve()]).toEqual([0, 0])
  })
})

describe('the cost of a replay', () => {
  const step = (width: number, context: number) => 1e-3 + 2e-5 * width + 3e-8 * width * context

  it('is found again where the machine’s seconds follow the model', () => {
    const { header, traces } = madeTraces({ prompts: 20, n: 32, grid: 8, rho: () => 0.5, step })
    const fit = new CostFit(header)
    for (const trace of traces) fit.add(trace)
    const model = fit.model()
    for (const [width, context] of [
      [1, 50],
      [8, 200],
      [32, 100]
    ] as const) {
      expect(model.step(width, context) / step(width, context)).toBeCloseTo(1, 6)
    }
    const [arm] = parseArms(['spec-reject'], { alpha: 0.4, checkpoints: at([8, 24]) })
    for (const trace of traces) {
      const { policy } = arm as NonNullable<typeof arm>
      const done = replay(header, trace, policy)
      // Step by step, over who lives then.
      let seconds = 0
      for (let token = 1; token <= Math.max(...done.tokens); token++) {
        const width = done.tokens.filter((tokens) => tokens >= token).length
        seconds += step(width, trace.promptTokens + token)
      }
      expect(model.seconds(done).decode / seconds).toBeCloseTo(1, 6)
      expect(wallOf(model.seconds(done))).toBeGreaterThan(seconds)
    }
  })
})

describe('survival by round', () => {
  it('counts a race that was over with how it ended', () => {
    const round = (tokens: number, live: number, killed: number, bestAlive: boolean) => ({
      tokens,
      live,
      killed,
      bestAlive
    })
    const survival = roundSurvival([
      [round(8, 4, 2, true), round(16, 2, 1, false), round(20, 0, 0, false)],
      [round(5, 0, 0, true)],
      [round(8, 4, 4, false)]
    ])
    expect(survival).toEqual([
      { tokens: 8, prompts: 2, live: 4, killed: 3, bestAlive: 2 / 3 },
      { tokens: 16, prompts: 1, live: 2, killed: 1, bestAlive: 1 / 3 }
    ])
  })
})

describe('the paper’s measures', () => {
  const { header, traces } = madeTraces({ prompts: 30, n: 32, grid: 8, rho: () => 0.9 })
  const names = ['best-of-n', 'spec-reject', 'random-kill', 'best-of-n:n=4:name=four']
  const arms = parseArms(names, { alpha: 0.5, checkpoints: at([16, 32]) })
  const fit = new CostFit(header)
  for (const trace of traces) fit.add(trace)
  const cost = fit.model()
  const paper = new PaperMeasures(header, arms, cost)
  const rows = traces.map((trace) => replayArms({ header, arms, n: 32, cost }, trace))
  for (const [i, trace] of traces.entries()) paper.add(trace, rows[i] ?? [])
  const [best, rejecting, lots, four] = paper.policies(1)

  it('give best-of-N with all candidates 100, itself as its equal, and no speed-up', () => {
    expect(best).toMatchObject({
      improvementScore: 100,
      relativeCompute: 1,
      relativeGeneration: 1,
      equivalentN: 32,
      speedUp: 1
    })
    expect(best?.tokenSpeedUp).toBeCloseTo(1, 9)
    expect(best?.winRates.map(({ n }) => n)).toEqual([4, 8, 16, 32])
    expect(best?.winRates.at(-1)).toMatchObject({ reward: { mean: 0.5 }, gold: { mean: 0.5 } })
  })

  it('rise with N along the curve, and place policies on it', () => {
    const curve = paper.bestOfN()
    expect(curve.map(({ n }) => n)).toEqual([1, 2, 4, 8, 16, 32])
    for (const [i, point] of curve.entries()) {
      if (i === 0) continue
      expect(point.improvementScore).toBeGreaterThan(curve[i - 1]?.improvementScore as number)
      expect(point.seconds).toBeGreaterThan(curve[i - 1]?.seconds as number)
    }
    expect(rejecting?.improvementScore).toBeGreaterThan(lots?.improvementScore as number)
    expect(rejecting?.relativeCompute).toBeLessThan(1)
    expect(rejecting?.speedUp).toBeGreaterThan(lots?.speedUp as number)
    // The first four are some four: about where the curve has four.
    expect(Math.abs((four?.improvementScore as number) - (curve[2]?.improvementScore as number))).toBeLessThan(12)
    expect(lots?.winRates.at(-1)?.reward?.mean).toBeLessThanOrEqual(0.5)
  })
})
