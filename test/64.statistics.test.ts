import { describe, expect, it } from 'vitest'
import { bootstrap, generator, quantile, resamples } from '../src/statistics.js'

const sample = [0.1, 0.4, 0.35, 0.8, 1.2, 0.05, 0.9, 0.66, 0.31, 0.47, 1.5, 0.02]
const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length
const meanOf = (items: Int32Array) => mean([...items].map((item) => sample[item] as number))

describe('the generator', () => {
  it('gives the same numbers for the same seed and others for another', () => {
    const [a, b, c] = [generator(1), generator(1), generator(2)]
    const draws = Array.from({ length: 5 }, () => [a(), b(), c()])
    for (const [x, y, z] of draws) {
      expect(x).toBe(y)
      expect(x).not.toBe(z)
    }
  })

  it('is uniform: ten bins of 100,000 draws pass a chi-squared test at one in ten thousand', () => {
    const draw = generator(42)
    const bins = new Array<number>(10).fill(0)
    for (let i = 0; i < 100_000; i++) {
      const bin = Math.floor(draw() * 10)
      bins[bin] = (bins[bin] as number) + 1
    }
    const chi = bins.reduce((sum, count) => sum + (count - 10_000) ** 2 / 10_000, 0)
    expect(chi).toBeLessThan(33.7)
  })
})

describe('the bootstrap', () => {
  it('agrees with 400,000 resamples by NumPy on the interval of a mean', () => {
    const { mean: centre, low, high } = bootstrap(sample.length, resamples(sample.length, 3, 20_000), meanOf)
    expect(centre).toBeCloseTo(0.563333, 6)
    expect(Math.abs(low - 0.325)).toBeLessThan(0.006)
    expect(Math.abs(high - 0.826667)).toBeLessThan(0.006)
  })

  it('has the width that normal theory gives for a share of many items', () => {
    const right = Array.from({ length: 400 }, (_, i) => Number(i % 4 === 0))
    const share = (items: Int32Array) => mean([...items].map((item) => right[item] as number))
    const { low, high } = bootstrap(400, resamples(400, 5, 4000), share)
    expect(low).toBeCloseTo(0.25 - 1.96 * Math.sqrt((0.25 * 0.75) / 400), 2)
    expect(high).toBeCloseTo(0.25 + 1.96 * Math.sqrt((0.25 * 0.75) / 400), 2)
  })

  it('is paired: a constant difference has no width', () => {
    const difference = (items: Int32Array) =>
      mean([...items].map((item) => (sample[item] as number) + 1)) - meanOf(items)
    const { low, high } = bootstrap(sample.length, resamples(sample.length, 3), difference)
    expect(low).toBeCloseTo(1, 9)
    expect(high).toBeCloseTo(1, 9)
  })

  it('draws every item, from the given count only', () => {
    const drawn = resamples(7, 1, 200)
    expect(new Set(drawn.flatMap((items) => [...items]))).toEqual(new Set([0, 1, 2, 3, 4, 5, 6]))
  })
})

it('interpolates quantiles as NumPy does', () => {
  const sorted = [...sample].sort((a, b) => a - b)
  expect([0.025, 0.5, 0.975].map((share) => quantile(sorted, share).toFixed(5))).toEqual([
    '0.02825',
    '0.43500',
    '1.41750'
  ])
  expect(quantile([], 0.5)).toBeNaN()
})
