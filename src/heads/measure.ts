import { auroc, kendall } from '../ranking.js'
import { type Interval, mean } from '../statistics.js'
import { byPrompt } from './groups.js'
import { overPrompts, pooledOf } from './pooled.js'

/** One candidate at the end of a quarter of its answer, as scores see it. */
export interface Judged {
  readonly prompt: number
  readonly score: number
  readonly label: number
}

/** How well scores order candidates, with 95% bootstrap intervals over prompts. */
export interface Ranking {
  /** AUROC for labels of 0 and 1, otherwise Kendall's tau-b; the mean over prompts with something to rank. */
  readonly within: Interval
  /** AUROC for labels of 0 and 1, otherwise Pearson's correlation; over all prompts together, prompts resampled. */
  readonly pooled: Interval
}

/** Where there is nothing to rank, the interval is of NaN. */
export function rankingOf(rows: readonly Judged[], binary: boolean, seed: number): Ranking {
  return { within: meanOf(withinPrompts(rows, binary), seed), pooled: pooledOf(rows, binary, seed) }
}

/** The mean alone of `within`. */
export function meanWithin(rows: readonly Judged[], binary: boolean): number {
  return mean(withinPrompts(rows, binary))
}

/** By how much one score ranks better than another within prompts, paired. */
export function differenceOf(a: readonly Judged[], b: readonly Judged[], binary: boolean, seed: number): Interval {
  const [first, second] = [withinPrompts(a, binary), withinPrompts(b, binary)]
  return overPrompts(first.length, (items) => meanAt(first, items) - meanAt(second, items), seed)
}

/** The measure of each prompt in which the labels differ: the same prompts whatever the scores are. */
function withinPrompts(rows: readonly Judged[], binary: boolean): number[] {
  return byPrompt(rows).flatMap((group) => {
    if (group.every(({ label }) => label === group[0]?.label)) return []
    const [scores, labels] = [group.map(({ score }) => score), group.map(({ label }) => label)]
    // Scores that do not vary order nothing: half of the pairs, or no correlation.
    if (!binary) return [kendall(scores, labels) ?? 0]
    const right = labels.map((label) => label > 0.5)
    return [auroc(scores, right) ?? 0.5]
  })
}

/** The mean of a number a prompt, with its interval over prompts. */
export function meanOf(values: readonly number[], seed: number): Interval {
  return overPrompts(values.length, (items) => meanAt(values, items), seed)
}

function meanAt(values: readonly number[], items: Int32Array): number {
  return mean(Array.from(items, (item) => values[item] as number))
}
