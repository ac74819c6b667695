import type { ShapedContender } from './contender.js'

/** What was chosen, and a few words why. Null only when there was nothing to choose from. */
export interface Choice {
  readonly id: number | null
  readonly why: string
}

/** Contenders -> the winner. Pure: `seed`, 32 bits of the race's seed and prompt, is the only chance there is. */
export interface Selection {
  readonly name: string
  select(contenders: readonly ShapedContender[], seed: number): Choice
}

/** The contender with the highest value, ties to the lower id; null of none. */
export function highestBy<T extends { readonly id: number }>(
  items: readonly T[],
  value: (item: T) => number
): T | null {
  let best: T | null = null
  for (const item of items) {
    const ahead = best === null ? 1 : compare(value(item), value(best))
    if (ahead > 0 || (ahead === 0 && item.id < (best as T).id)) best = item
  }
  return best
}

/** Infinities are equal to themselves, which a difference would not say. */
function compare(a: number, b: number): number {
  return a === b ? 0 : a > b ? 1 : -1
}
