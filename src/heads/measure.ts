import { auroc, kendall, within } from '../ranking.js'
import { bootstrap, type Interval, resamples } from '../statistics.js'
import { pooledOf } from './pooled.js'

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

const rounds = 500

/** Where there is nothing to rank, the interval is of NaN. */
export function rankingOf(rows: readonly Judged[], binary: boolean, seed: number): Ranking {
  const values = withinPrompts(rows, binary)
  const drawn = resamples(values.length, seed, rounds)
  return {
    within: bootstrap(values.length, drawn, (items) => meanAt(values, items)),
    pooled: pooledOf(rows, binary, seed)
  }
}

/** By how much one score ranks better than another within prompts, paired. */
export function differenceOf(a: readonly Judged[], b: readonly Judged[], binary: boolean, seed: number): Interval {
  const [first, second] = [withinPrompts(a, binary), withinPrompts(b, binary)]
  const drawn = resamples(first.length, seed, rounds)
  return bootstrap(first.length, drawn, (items) => meanAt(first, items) - meanAt(second, items))
}

/** The measure of each prompt in which the labels differ: the same prompts whatever the scores are. */
function withinPrompts(rows: readonly Judged[], binary: boolean): number[] {
  const prompts = new Map<number, Judged[]>()
  for (const row of rows) {
    const own = prompts.get(row.prompt)
    if (own === undefined) prompts.set(row.prompt, [row])
    else own.push(row)
  }
  return [...prompts.values()].flatMap((group) => {
    if (group.every(({ label }) => label === group[0]?.label)) return []
    const [scores, labels] = [group.map(({ score }) => score), group.map(({ label }) => label)]
    // Scores that do not vary order nothing: half of the pairs, or no correlation.
    return [
      binary
        ? (auroc(
            scores,
            labels.map((label) => label > 0.5)
          ) ?? 0.5)
        : (kendall(scores, labels) ?? 0)
    ]
  })
}

/** The mean of a number a prompt, with its interval over prompts. */
export function meanOf(values: readonly number[], seed: number): Interval {
  return bootstrap(values.length, resamples(values.length, seed, rounds), (items) => meanAt(values, items))
}

function meanAt(values: readonly number[], items: Int32Array): number {
  const chosen = Array.from(items, (item) => [values[item] as number])
  return within(chosen, ([value]) => value ?? null) ?? Number.NaN
}
