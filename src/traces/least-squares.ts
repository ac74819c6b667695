import { solve } from '../heads/linear-system.js'

/**
 * Least squares with no coefficient below 0, of observations that come one by one: what is kept of them has the size of the
 * number of features, squared. For a few features: every set of features that may be above 0 is tried, and the best of
 * those whose solution is, is the solution (the conditions of Karush, Kuhn and Tucker allow no other).
 */
export class LeastSquares {
  readonly #size: number
  readonly #gram: readonly Float64Array[]
  readonly #right: Float64Array

  constructor(size: number) {
    this.#size = size
    this.#gram = Array.from({ length: size }, () => new Float64Array(size))
    this.#right = new Float64Array(size)
  }

  add(features: readonly number[], response: number): void {
    for (let i = 0; i < this.#size; i++) {
      const value = features[i] as number
      const row = this.#gram[i] as Float64Array
      for (let j = 0; j < this.#size; j++) row[j] = (row[j] as number) + value * (features[j] as number)
      this.#right[i] = (this.#right[i] as number) + value * response
    }
  }

  /** The coefficients; all 0 of no observations. */
  solve(): Float64Array {
    let best: Float64Array = new Float64Array(this.#size)
    let least = 0
    for (let set = 1; set < 1 << this.#size; set++) {
      const chosen = Array.from({ length: this.#size }, (_, i) => i).filter((i) => (set >> i) & 1)
      const solution = this.#solveOf(chosen)
      if (!solution.every((value) => value >= 0 && Number.isFinite(value))) continue
      const loss = this.#lossOf(solution)
      if (loss >= least) continue
      best = solution
      least = loss
    }
    return best
  }

  /** Features of unlike sizes are brought to one before they are eliminated. */
  #solveOf(chosen: readonly number[]): Float64Array {
    const size = (i: number) => Math.sqrt(this.#gram[i]?.[i] as number) || 1
    const rows = chosen.map((i) =>
      Float64Array.from(chosen, (j) => (this.#gram[i]?.[j] as number) / (size(i) * size(j)))
    )
    const right = Float64Array.from(chosen, (i) => (this.#right[i] as number) / size(i))
    const solved = solve(rows, right)
    const solution = new Float64Array(this.#size)
    for (const [at, i] of chosen.entries()) solution[i] = (solved[at] as number) / size(i)
    return solution
  }

  /** The sum of squared errors, less what no coefficient changes. */
  #lossOf(solution: Float64Array): number {
    let loss = 0
    for (const [i, value] of solution.entries()) {
      loss -= 2 * value * (this.#right[i] as number)
      for (const [j, other] of solution.entries()) loss += value * other * (this.#gram[i]?.[j] as number)
    }
    return loss
  }
}
