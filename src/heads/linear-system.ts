/** The solution of a small system of linear equations, by Gaussian elimination. A column without a pivot gets 0. */
export function solve(matrix: readonly Float64Array[], right: Float64Array): Float64Array {
  const n = right.length
  const rows = matrix.map((row, i): Float64Array => Float64Array.of(...row, right[i] as number))
  const at = (i: number, j: number) => rows[i]?.[j] ?? 0
  for (let column = 0; column < n; column++) {
    let pivot = column
    for (let i = column + 1; i < n; i++) if (Math.abs(at(i, column)) > Math.abs(at(pivot, column))) pivot = i
    ;[rows[column], rows[pivot]] = [rows[pivot] as Float64Array, rows[column] as Float64Array]
    if (at(column, column) === 0) continue
    for (let i = column + 1; i < n; i++) {
      const factor = at(i, column) / at(column, column)
      const row = rows[i] as Float64Array
      for (let j = column; j <= n; j++) row[j] = at(i, j) - factor * at(column, j)
    }
  }
  const solution = new Float64Array(n)
  for (let i = n - 1; i >= 0; i--) {
    let sum = at(i, n)
    for (let j = i + 1; j < n; j++) sum -= at(i, j) * (solution[j] as number)
    solution[i] = at(i, i) === 0 ? 0 : sum / at(i, i)
  }
  return solution
}
