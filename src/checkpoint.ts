import { expected } from './errors.js'

/** When to look at the branches, counted in generated tokens. Pure: the same question, the same answer. */
export interface Checkpoints {
  readonly name: string
  /** The first checkpoint later than `after` tokens, or null when there is none. */
  next(after: number): number | null
}

/** At these token counts and no others; order and repetition do not matter. */
export function at(counts: readonly number[]): Checkpoints {
  for (const count of counts) natural(count, 'a checkpoint')
  const sorted = [...new Set(counts)].sort((a, b) => a - b)
  return {
    name: sorted.length === 0 ? 'none' : `at:${sorted.join('+')}`,
    next: (after) => sorted.find((count) => count > after) ?? null
  }
}

/** Every `interval` tokens: interval, 2 interval, 3 interval, ... */
export function every(interval: number): Checkpoints {
  natural(interval, 'the interval of checkpoints')
  return { name: `every:${interval}`, next: (after) => (Math.floor(after / interval) + 1) * interval }
}

/** At `from`, 2 from, 4 from, ... */
export function doubling(from: number): Checkpoints {
  natural(from, 'the first checkpoint')
  return {
    name: `doubling:${from}`,
    next: (after) => {
      let count = from
      while (count <= after) count *= 2
      return count
    }
  }
}

/** Never: the branches run until each has ended. */
export const never: Checkpoints = at([])

function natural(value: number, what: string): void {
  if (!Number.isSafeInteger(value) || value < 1) {
    throw expected('OPTION_INVALID', 'a whole number of tokens, at least 1,', what, value)
  }
}
