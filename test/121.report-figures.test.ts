import { describe, expect, it } from 'vitest'
import { linear, logarithmic } from '../src/report/axis.js'
import { calibrationOf } from '../src/report/calibration.js'
import { curveOf, powersBelow } from '../src/report/curve.js'
import { FlowSum } from '../src/report/flow.js'
import { decimal, part, percent, signed, within } from '../src/report/wording.js'
import { generator, wilson } from '../src/statistics.js'
import type { Row } from '../src/trial.js'

describe("Wilson's interval", () => {
  it('is that of SciPy', () => {
    for (const [hits, count, low, high] of [
      [0, 10, 0, 0.2775327999],
      [3, 10, 0.1077912674, 0.6032218525],
      [57, 64, 0.7910135867, 0.9459988666],
      [64, 64, 0.9433759402, 1],
      [1, 1, 0.2065493143, 1],
      [240, 600, 0.361556598, 0.4397157422]
    ] as const) {
      const interval = wilson(hits, count)
      expect(interval.mean).toBe(hits / count)
      expect(interval.low).toBeCloseTo(low, 9)
      expect(interval.high).toBeCloseTo(high, 9)
    }
  })
})

describe('calibration', () => {
  it('has ten bins of as many candidates, in the order of their scores', () => {
    const draw = generator(1)
    const scores = Array.from({ length: 1000 }, () => draw())
    const { bins } = calibrationOf(
      'now',
      scores,
      scores.map((score) => draw() < score)
    )
    expect(bins.map(({ count }) => count)).toEqual(new Array(10).fill(100))
    for (const [i, { from, to, mean, share, right }] of bins.entries()) {
      expect(from).toBeLessThan(mean)
      expect(mean).toBeLessThan(to)
      expect(from).toBeGreaterThan(bins[i - 1]?.to ?? -1)
      expect(share.mean).toBe(right / 100)
      expect(share.low < mean + 0.1 && mean - 0.1 < share.high).toBe(true)
    }
  })

  it('never parts equal scores and leaves out what is no number', () => {
    const scores = [...new Array(50).fill(1), ...new Array(50).fill(2), Number.NEGATIVE_INFINITY, Number.NaN]
    const { bins } = calibrationOf(
      'now',
      scores,
      scores.map((score) => score === 2)
    )
    expect(bins.map(({ from, to, count, right }) => [from, to, count, right])).toEqual([
      [1, 1, 50, 0],
      [2, 2, 50, 50]
    ])
    expect(calibrationOf('now', [], []).bins).toEqual([])
  })
})

describe('a flow', () => {
  it('adds up to the tokens generated, and knows who writes at each step', () => {
    const sum = new FlowSum('spec-reject')
    sum.add({ tokens: Int32Array.of(2, 4, 1), killedAt: Int32Array.of(2, -1, -1) }, 10)
    sum.add({ tokens: Int32Array.of(3, 3, 3), killedAt: Int32Array.of(-1, -1, 3) }, 20)
    const { steps, live, finished, killed, cells } = sum.flow()
    expect(steps).toEqual([1, 2, 3, 4, 5])
    expect(live).toEqual([3, 2.5, 2, 0.5, 0])
    expect(finished).toEqual([0, 0.5, 0.5, 1.5, 2])
    expect(killed).toEqual([0, 0, 0.5, 1, 1])
    expect(live.reduce((all, count) => all + count, 0)).toBe((7 + 9) / 2)
    expect(cells).toEqual([(3 * 11 + 3 * 21) / 2, (2 * 12 + 3 * 22) / 2, (13 + 3 * 23) / 2, 14 / 2, 0])
  })

  it('tells of the first step and the last of long races, and of no more between them than a chart holds', () => {
    const sum = new FlowSum('best-of-n')
    sum.add({ tokens: Int32Array.of(5000, 1), killedAt: Int32Array.of(-1, -1) }, 1)
    const { steps, live } = sum.flow()
    expect(steps.length).toBeLessThanOrEqual(100)
    expect([steps[0], steps.at(-1)]).toEqual([1, 5001])
    expect([live[0], live[1], live.at(-1)]).toEqual([2, 1, 0])
  })
})

describe('the curve of best-of-N', () => {
  const row = (candidates: Row['candidates']) => ({ ...(candidates !== undefined && { candidates }) }) as Row

  it('takes the first candidates of the reference, the best of them by its scores', () => {
    const rows = [
      row({ scores: [1, 3, 2, 0], tokens: [10, 20, 30, 40], right: [false, true, true, false] }),
      row({ scores: [5, null, 5, 9], tokens: [1, 2, 3, 4], right: [true, true, false, false] })
    ]
    const points = curveOf(rows, 1)
    expect(points.map(({ n }) => n)).toEqual([1, 2])
    expect(points.map(({ accuracy }) => accuracy?.mean)).toEqual([0.5, 1])
    expect(points.map(({ meanScore }) => meanScore?.mean)).toEqual([3, 4])
    expect(points.map(({ generatedTokens }) => generatedTokens.mean)).toEqual([5.5, 16.5])
    expect(points.map(({ wallSeconds }) => wallSeconds)).toEqual([null, null])
  })

  it('is none where a prompt has no candidates told', () => {
    expect(curveOf([row({ scores: [1, 2], tokens: [1, 1], right: [true, true] }), row(undefined)], 1)).toEqual([])
    expect(powersBelow(64)).toEqual([1, 2, 4, 8, 16, 32])
    expect(powersBelow(1)).toEqual([])
  })
})

describe('an axis', () => {
  it('begins and ends at ticks that hold all values', () => {
    const axis = linear([0.07, 0.93], { from: 0, to: 100 })
    expect(axis.ticks.map(({ text }) => text)).toEqual(['0.0', '0.2', '0.4', '0.6', '0.8', '1.0'])
    expect([axis.at(0), axis.at(0.5), axis.at(1)]).toEqual([0, 50, 100])
    expect(linear([-3, -1], { from: 0, to: 1 }).ticks[0]?.text).toBe('−3.0')
  })

  it('holds a single value, and none', () => {
    for (const values of [[5], [0], [], [Number.NaN]]) {
      const axis = linear(values, { from: 0, to: 10 })
      for (const value of values.filter(Number.isFinite)) expect(axis.at(value)).toBeCloseTo(5, 5)
      expect(axis.ticks.length).toBeGreaterThan(1)
      expect(logarithmic(values, { from: 0, to: 10 }).ticks.length).toBeGreaterThan(0)
    }
  })

  it('gives equal ratios equal lengths where it is logarithmic', () => {
    const axis = logarithmic([10, 1000], { from: 0, to: 100 })
    expect(axis.at(100) - axis.at(10)).toBeCloseTo(axis.at(1000) - axis.at(100), 9)
    expect(axis.ticks.map(({ value }) => value)).toEqual([10, 20, 50, 100, 200, 500, 1000])
  })
})

describe('figures as text', () => {
  it('have thousands apart, a real minus and no minus before nothing', () => {
    expect([decimal(1234567.891, 1), decimal(999, 0), decimal(-0.04, 1), decimal(-1234, 0)]).toEqual([
      '1,234,567.9',
      '999',
      '0.0',
      '−1,234'
    ])
    expect([signed(1.23), signed(-1.26), signed(-0.01)]).toEqual(['+1.2', '−1.3', '0.0'])
    expect([percent(0.8833), part(0.386), part(0.042), part(1.2)]).toEqual(['88.3%', '39%', '4.2%', '120%'])
    expect(within({ mean: 0.5, low: 0.4, high: 0.6 }, percent)).toBe('50.0% [40.0, 60.0]')
    expect([within(null, percent), within({ mean: Number.NaN, low: 0, high: 0 }, percent)]).toEqual(['-', '-'])
  })
})
