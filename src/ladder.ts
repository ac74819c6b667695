/** Streams of a pool live in cells of whole blocks: llama.cpp pads a stream up to a multiple of this. */
export const cellBlock = 256

/** So many cells as whole blocks. */
export function toBlock(cells: number): number {
  return Math.ceil(cells / cellBlock) * cellBlock
}

/** A stage of a race: `width` candidates, each in a stream of `cells` tokens, the prompt included. */
export interface Rung {
  readonly width: number
  readonly cells: number
  /** Of the one cache that all share, where they have no streams of their own: cells in all, the prompt's once. */
  readonly unifiedCells?: number
}

/** Cells in all. */
export function cellsOf({ width, cells, unifiedCells }: Rung): number {
  return unifiedCells ?? width * cells
}

export interface LadderFacts {
  /** Candidates of the first rung. */
  readonly width: number
  /** How many of so many candidates go on when their streams are full. */
  keeps(width: number): number
  /** The longest streams that memory holds at a width, tokens; `before` is what the survivors come from. */
  cellsAt(width: number, before: Rung | null): number | Promise<number>
  /** Tokens of a candidate that was written to its end, the prompt included. */
  readonly until: number
}

/**
 * Speculative rejection's use of memory (arXiv 2410.20290, algorithm 1): candidates are written until their streams are
 * full, some are rejected, and the others have the memory to themselves: fewer and longer streams. Where rejecting once
 * does not make a longer stream (lengths come in blocks) it is done again at once. Widths fall, cells rise. The last
 * rung holds `until`, unless the rule keeps everybody, or nobody would be left before memory suffices.
 *
 * The engine runs a ladder for policies that decide when the streams are full (`Policy.onFull`).
 */
export async function ladder({ width, keeps, cellsAt, until }: LadderFacts): Promise<Rung[]> {
  let last: Rung = { width, cells: await cellsAt(width, null) }
  const rungs = [last]
  let live = width
  while (last.cells < until) {
    const next = Math.floor(keeps(live))
    if (!(next >= 1 && next < live)) return rungs
    live = next
    const cells = await cellsAt(live, last)
    if (cells <= last.cells) continue
    last = { width: live, cells }
    rungs.push(last)
  }
  return rungs
}

/**
 * The greatest whole number from `low` to `high` that passes, where all below a number that passes do too; null when
 * none does. What it returns has itself been tried.
 */
export async function greatest(
  low: number,
  high: number,
  passes: (value: number) => boolean | Promise<boolean>
): Promise<number | null> {
  let best: number | null = null
  let [from, to] = [low, high]
  // The end first: most races fit as they are.
  for (let value = high; from <= to; value = Math.floor((from + to) / 2)) {
    if (await passes(value)) {
      best = value
      from = value + 1
    } else {
      to = value - 1
    }
  }
  return best
}
