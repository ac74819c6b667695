import { groupsOf } from './groups.js'
import { solve } from './linear-system.js'
import { type Placed, type PositionLine, stored, weightsAt } from './position.js'

/** What a look at the end of an answer weighs where the length is taken out of scores, those on the way weighing 1. */
const endWeight = 20

/**
 * The line that takes from a score what the length of the answer alone tells of it: the part of the logit that a
 * function of log(1 + tokens), linear between the knots, explains by least squares within groups of looks that compete
 * (one prompt, one place in the answers), is subtracted. Looks at the ends of answers weigh more: candidates of unequal
 * length meet when they have ended, for on the way a checkpoint finds all at one length. The mean score stays as it is.
 */
export function withoutLength(
  looks: readonly (Placed & { readonly group: number; readonly ended: boolean })[],
  knots: readonly number[]
): PositionLine {
  const k = knots.length
  const matrix = Array.from({ length: k }, () => new Float64Array(k))
  const right = new Float64Array(k)
  const means = new Float64Array(k)
  for (const group of groupsOf(looks, ({ group }) => group)) {
    const rows = group.map((look) => {
      const row = new Float64Array(k + 1)
      for (const [knot, part] of weightsAt(knots, look.logTokens)) row[knot] = part
      row[k] = look.logit
      return row
    })
    const mean = Float64Array.from({ length: k + 1 }, (_, i) => sumOf(rows, (row) => row[i] as number) / rows.length)
    const weight = group[0]?.ended ? endWeight : 1
    for (const row of rows) {
      const off = row.map((value, i) => value - (mean[i] as number))
      for (let i = 0; i < k; i++) {
        means[i] = (means[i] as number) + (row[i] as number) / looks.length
        right[i] = (right[i] as number) + weight * (off[i] as number) * (off[k] as number)
        for (let j = 0; j < k; j++) {
          const entries = matrix[i] as Float64Array
          entries[j] = (entries[j] as number) + weight * (off[i] as number) * (off[j] as number)
        }
      }
    }
  }
  // The weights of the knots add up to 1, so within a group their sum tells nothing: a grain of ridge settles it.
  const trace = sumOf(matrix, (row, i) => row[i] as number)
  for (const [i, row] of matrix.entries()) row[i] = (row[i] as number) + 1e-6 * trace + 1e-12
  const slope = solve(matrix, right)
  const level = sumOf(slope, (value, i) => value * (means[i] as number))
  return stored({ logTokens: knots, scale: knots.map(() => 1), bias: Array.from(slope, (value) => level - value) })
}

function sumOf<T>(values: ArrayLike<T>, value: (item: T, index: number) => number): number {
  let sum = 0
  for (let i = 0; i < values.length; i++) sum += value(values[i] as T, i)
  return sum
}
