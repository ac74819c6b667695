import { type Weighted, weightedAuroc } from '../ranking.js'
import { bootstrap, type Interval, mean, resamples } from '../statistics.js'
import { byPrompt } from './groups.js'
import type { Judged } from './measure.js'

/** Resamples of prompts behind an interval. */
const rounds = 500

/** AUROC of labels of 0 and 1, otherwise Pearson's correlation, over all prompts together; prompts are resampled. */
export function pooledOf(rows: readonly Judged[], binary: boolean, seed: number): Interval {
  const prompts = indicesOf(rows)
  const measure = binary
    ? weightedAuroc(
        rows.map(({ score }) => score),
        rows.map(({ label }) => label > 0.5)
      )
    : weightedPearson(rows)
  const count = new Set(prompts).size
  const statistic = (items: Int32Array) => {
    const times = new Float64Array(count)
    for (const item of items) times[item] = (times[item] as number) + 1
    return measure((row) => times[prompts[row] as number] as number)
  }
  return overPrompts(count, statistic, seed)
}

/**
 * The correlation within prompts of a value with the length of what has been written, log(1 + tokens): both less their
 * means over the prompt, all prompts together, which are resampled. NaN where one does not vary.
 */
export function lengthCorrelation(
  rows: readonly { readonly prompt: number; readonly value: number; readonly logTokens: number }[],
  seed: number
): Interval {
  const products = byPrompt(rows).map((group) => {
    const [a, b] = [mean(group.map(({ value }) => value)), mean(group.map(({ logTokens }) => logTokens))]
    const product: Products = { both: 0, squareA: 0, squareB: 0 }
    for (const { value, logTokens } of group) addProducts(product, value - a, logTokens - b)
    return product
  })
  const statistic = (items: Int32Array) => {
    const total: Products = { both: 0, squareA: 0, squareB: 0 }
    for (const item of items) {
      const { both, squareA, squareB } = products[item] as Products
      total.both += both
      total.squareA += squareA
      total.squareB += squareB
    }
    return correlationOf(total)
  }
  return overPrompts(products.length, statistic, seed)
}

/** The number of each row's prompt among the prompts there are. */
function indicesOf(rows: readonly { readonly prompt: number }[]): number[] {
  const known = new Map<number, number>()
  return rows.map(({ prompt }) => {
    const index = known.get(prompt) ?? known.size
    known.set(prompt, index)
    return index
  })
}

/** The correlation (Pearson 1895) of rows that count several times. NaN where one side does not vary. */
function weightedPearson(rows: readonly Judged[]): Weighted {
  return (weight) => {
    let [total, meanScore, meanLabel] = [0, 0, 0]
    for (const [row, { score, label }] of rows.entries()) {
      total += weight(row)
      meanScore += weight(row) * score
      meanLabel += weight(row) * label
    }
    meanScore /= total
    meanLabel /= total
    const sums: Products = { both: 0, squareA: 0, squareB: 0 }
    for (const [row, { score, label }] of rows.entries())
      addProducts(sums, score - meanScore, label - meanLabel, weight(row))
    return correlationOf(sums)
  }
}

interface Products {
  both: number
  squareA: number
  squareB: number
}

function addProducts(to: Products, a: number, b: number, times = 1): void {
  to.both += times * a * b
  to.squareA += times * a * a
  to.squareB += times * b * b
}

function correlationOf({ both, squareA, squareB }: Products): number {
  return squareA === 0 || squareB === 0 ? Number.NaN : both / Math.sqrt(squareA * squareB)
}

/** The interval over prompts, of the resamples in which the statistic exists. */
export function overPrompts(count: number, statistic: (prompts: Int32Array) => number, seed: number): Interval {
  return bootstrap(count, resamples(count, seed, rounds), statistic, Number.isFinite)
}
