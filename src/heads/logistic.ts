import { solve } from './linear-system.js'
import { type Placed, type PositionLine, scoreAt, weightsAt } from './position.js'

/** Least scale: one of 0 or below would lose or turn the order of candidates. */
const leastScale = 0.1
/** Newton steps; a logistic regression of so few parameters settles in far fewer. */
const steps = 50

export type LabelledLook = Placed & { readonly label: number }

/** Looks as the fit passes over them many times: flat, so that a pass allocates nothing. One entry a look in each. */
interface Rows {
  /** The score to be calibrated. */
  readonly score: Float64Array
  readonly label: Float64Array
  /** The knots beside its position, the same one twice beyond the outer ones, and how much the upper one says. */
  readonly lower: Int32Array
  readonly upper: Int32Array
  readonly part: Float64Array
  readonly fold: Uint8Array
}

/** Whether the rows of a fold count. */
type Has = (fold: number) => boolean

/** The looks by the score that `line` gives them. */
export function rowsOf(
  looks: readonly LabelledLook[],
  knots: readonly number[],
  line: PositionLine | null,
  fold = new Uint8Array(looks.length)
): Rows {
  const beside = looks.map(({ logTokens }) => weightsAt(knots, logTokens))
  return {
    score: Float64Array.from(looks, (look) => scoreAt(line, look)),
    label: Float64Array.from(looks, ({ label }) => label),
    lower: Int32Array.from(beside, ([low]) => low?.[0] ?? 0),
    upper: Int32Array.from(beside, ([low, high]) => (high ?? low)?.[0] ?? 0),
    part: Float64Array.from(beside, ([, high]) => high?.[1] ?? 0),
    fold
  }
}

/** The scales, then the biases, one of each a knot, that the rows make likeliest. No scale is below the least one. */
export function fitted(rows: Rows, knots: number, worth: number, has: Has = () => true): Float64Array {
  let at: Float64Array = Float64Array.from({ length: 2 * knots }, (_, i) => (i < knots ? 1 : 0))
  const held = new Set<number>()
  for (;;) {
    at = newton(rows, worth, at, held, has)
    const low = [...at.subarray(0, knots).keys()].filter((i) => !held.has(i) && (at[i] as number) < leastScale)
    if (low.length === 0) return at
    for (const i of low) {
      held.add(i)
      at[i] = leastScale
    }
  }
}

/** In nats, of a label of 0..1 where sigmoid(score) was foretold. */
export function crossEntropy(score: number, label: number): number {
  return Math.max(score, 0) - label * score + Math.log1p(Math.exp(-Math.abs(score)))
}

/** The sum over rows. */
export function entropyOf(rows: Rows, at: Float64Array, has: Has): number {
  let loss = 0
  for (let row = 0; row < rows.score.length; row++) {
    if (has(rows.fold[row] as number)) loss += crossEntropy(scoreOf(rows, row, at), rows.label[row] as number)
  }
  return loss
}

/** What the parameters make of a row's score. */
function scoreOf({ score, lower, upper, part }: Rows, row: number, at: Float64Array): number {
  const [low, high, share] = [lower[row] as number, upper[row] as number, part[row] as number]
  const knots = at.length / 2
  const scale = (1 - share) * (at[low] as number) + share * (at[high] as number)
  const bias = (1 - share) * (at[knots + low] as number) + share * (at[knots + high] as number)
  return scale * (score[row] as number) + bias
}

/** From the parameters that change nothing, of which the prior has deviation 1. */
function distances(at: Float64Array): Float64Array {
  return Float64Array.from(at, (value, i) => value - (i < at.length / 2 ? 1 : 0))
}

/** Newton's method on the penalised logistic loss; `held` parameters stay where they are. */
function newton(rows: Rows, worth: number, from: Float64Array, held: ReadonlySet<number>, has: Has): Float64Array {
  const costOf = (at: Float64Array) =>
    distances(at).reduce((sum, value) => sum + value ** 2 / 2, worth * entropyOf(rows, at, has))
  let at = from
  let cost = costOf(at)
  for (let step = 0; step < steps; step++) {
    const { slope, matrix } = curvatureOf(rows, worth, at, has)
    for (const i of held) {
      for (const row of matrix) row[i] = 0
      ;(matrix[i] as Float64Array).fill(0)[i] = 1
      slope[i] = 0
    }
    const change = solve(matrix, slope)
    const fall = change.reduce((sum, value, i) => sum + value * (slope[i] as number), 0)
    // Far from the best a whole step may overshoot: it is halved until the loss falls by a share of what its slope
    // promises (Nocedal & Wright, "Numerical Optimization", algorithm 3.1), give or take the rounding of the sum.
    let part = 2
    let next: Float64Array
    let nextCost: number
    do {
      part /= 2
      if (part < 1e-9) return at
      next = at.map((value, i) => value - part * (change[i] as number))
      nextCost = costOf(next)
    } while (!(nextCost <= cost - 1e-4 * part * fall + 1e-12 * cost))
    at = next
    cost = nextCost
    if (change.every((value) => Math.abs(value) < 1e-9)) break
  }
  return at
}

/** Gradient and Hessian of the penalised loss; the prior's Hessian is the identity. */
function curvatureOf(rows: Rows, worth: number, at: Float64Array, has: Has) {
  const knots = at.length / 2
  const slope = distances(at)
  const matrix = Array.from({ length: at.length }, (_, i) => new Float64Array(at.length).fill(1, i, i + 1))
  // The four parameters that a row has a say in, and how much of each.
  const index = new Int32Array(4)
  const factor = new Float64Array(4)
  for (let row = 0; row < rows.score.length; row++) {
    if (!has(rows.fold[row] as number)) continue
    const [score, share] = [rows.score[row] as number, rows.part[row] as number]
    const [low, high] = [rows.lower[row] as number, rows.upper[row] as number]
    index[0] = low
    index[1] = high
    index[2] = knots + low
    index[3] = knots + high
    factor[0] = (1 - share) * score
    factor[1] = share * score
    factor[2] = 1 - share
    factor[3] = share
    const chance = 1 / (1 + Math.exp(-scoreOf(rows, row, at)))
    const miss = worth * (chance - (rows.label[row] as number))
    const bend = worth * chance * (1 - chance)
    for (let a = 0; a < 4; a++) {
      const [i, x] = [index[a] as number, factor[a] as number]
      slope[i] = (slope[i] as number) + miss * x
      const entries = matrix[i] as Float64Array
      for (let b = 0; b < 4; b++) {
        const j = index[b] as number
        entries[j] = (entries[j] as number) + bend * x * (factor[b] as number)
      }
    }
  }
  return { slope, matrix }
}
