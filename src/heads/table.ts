import type { NativeFitRows } from '../binding.js'

/** One look at one candidate: what a head sees there, and what it should have said. */
export interface Look {
  /** The state, then the confidence features. */
  readonly inputs: Float32Array
  readonly label: number
  /** Whether the finished answer is right, whatever the label is about; null where nobody can say. */
  readonly right: boolean | null
  /** Looks of one prompt at one place in the answers may be ranked against each other. */
  readonly group: number
  readonly prompt: number
  /** 1 to 4 at the end of a quarter of the answer; 0 elsewhere. */
  readonly quarter: number
}

/** Floats of a part of the table: 4 MB, or one row of a very wide model. */
const partFloats = 2 ** 20

/**
 * Looks at the candidates of many prompts, flat. Rows of one group lie side by side.
 *
 * Memory: 4 bytes a column and row, in parts that never move, so that growing copies nothing; 10^5 rows of 4,096
 * state columns are 1.6 GB. A fit holds one copy of the rows and columns it learns from (about four fifths of the
 * rows) while it runs, so a training peaks at 1.8 times the table.
 */
export class HeadTable {
  readonly columns: number
  readonly #partRows: number
  readonly #parts: Float32Array[] = []
  readonly labels: number[] = []
  readonly rights: (boolean | null)[] = []
  readonly groups: number[] = []
  readonly prompts: number[] = []
  readonly quarters: number[] = []

  constructor(columns: number) {
    this.columns = columns
    this.#partRows = Math.max(1, Math.floor(partFloats / columns))
  }

  get rows(): number {
    return this.labels.length
  }

  /** A view, not a copy. */
  input(row: number): Float32Array {
    const at = (row % this.#partRows) * this.columns
    return (this.#parts[Math.floor(row / this.#partRows)] as Float32Array).subarray(at, at + this.columns)
  }

  add({ inputs, label, right, group, prompt, quarter }: Look): void {
    if (this.rows % this.#partRows === 0) this.#parts.push(new Float32Array(this.#partRows * this.columns))
    this.labels.push(label)
    this.rights.push(right)
    this.groups.push(group)
    this.prompts.push(prompt)
    this.quarters.push(quarter)
    this.input(this.rows - 1).set(inputs)
  }

  /** Numbers of the rows of these prompts; of one quarter (0 to 4), or of all. */
  rowsOf(prompts: ReadonlySet<number>, quarter?: number): number[] {
    return this.prompts.flatMap((prompt, row) =>
      prompts.has(prompt) && (quarter === undefined || this.quarters[row] === quarter) ? [row] : []
    )
  }

  /** Of the rows of these prompts what a fit needs, from one column on. Copies no inputs. */
  part(prompts: ReadonlySet<number>, firstColumn: number): NativeFitRows {
    const rows = this.rowsOf(prompts)
    const pick = (list: readonly number[]) => rows.map((row) => list[row] as number)
    return {
      parts: this.#parts,
      partRows: this.#partRows,
      tableColumns: this.columns,
      firstColumn,
      rows: Int32Array.from(rows),
      labels: Float32Array.from(pick(this.labels)),
      groups: Int32Array.from(pick(this.groups))
    }
  }
}
