import { bootstrap, type Interval, resamples } from '../statistics.js'

/**
 * The share of prompts on which `own` is the higher of two numbers, ties counting a half (as AlpacaEval counts them), with
 * its 95% bootstrap interval over prompts. Prompts on which either is not known are left out; null where all are.
 */
export function winRate(
  own: readonly (number | null)[],
  other: readonly (number | null)[],
  seed: number
): Interval | null {
  const wins = own.flatMap((value, i) => {
    const against = other[i] ?? null
    if (value === null || against === null) return []
    return [value === against ? 0.5 : Number(value > against)]
  })
  if (wins.length === 0) return null
  return bootstrap(wins.length, resamples(wins.length, seed), (items) => {
    let sum = 0
    for (const item of items) sum += wins[item] as number
    return sum / items.length
  })
}
