import type { NativeFitRows } from '../binding.js'

/** One look at one candidate: what a head sees there, and what it should have said. */
export interface Look {
  /** The state, then the confidence features. */
  readonly inputs: Float32Array
  readonly label: number
  /** Looks of one prompt at one place in the answers may be ranked against each other. */
  readonly group: number
  readonly prompt: number
  /** 1 to 4 at the end of a quarter of the answer; 0 elsewhere. */
  readonly quarter: number
}

/** Looks at the candidates of many prompts, flat. Rows of one group lie side by side. */
export class HeadTable {
  readonly columns: number
  #inputs: Float32Array
  readonly #labels: number[] = []
  readonly #groups: number[] = []
  readonly prompts: number[] = []
  readonly quarters: number[] = []

  constructor(columns: number) {
    this.columns = columns
    this.#inputs = new Float32Array(columns * 1024)
  }

  get rows(): number {
    return this.#labels.length
  }

  get labels(): readonly number[] {
    return this.#labels
  }

  /** A view, valid until the next `add`. */
  input(row: number): Float32Array {
    return this.#inputs.subarray(row * this.columns, (row + 1) * this.columns)
  }

  add({ inputs, label, group, prompt, quarter }: Look): void {
    const at = this.rows * this.columns
    if (at + this.columns > this.#inputs.length) {
      const grown = new Float32Array(2 * this.#inputs.length)
      grown.set(this.#inputs)
      this.#inputs = grown
    }
    this.#inputs.set(inputs, at)
    this.#labels.push(label)
    this.#groups.push(group)
    this.prompts.push(prompt)
    this.quarters.push(quarter)
  }

  /** Of the rows that `keep` names, columns from..to. */
  part(keep: (prompt: number) => boolean, from = 0, to = this.columns): NativeFitRows & { readonly rows: number[] } {
    const rows = this.prompts.flatMap((prompt, row) => (keep(prompt) ? [row] : []))
    const inputs = new Float32Array(rows.length * (to - from))
    for (const [i, row] of rows.entries()) inputs.set(this.input(row).subarray(from, to), i * (to - from))
    const pick = (list: readonly number[]) => rows.map((row) => list[row] as number)
    return { rows, inputs, labels: Float32Array.from(pick(this.#labels)), groups: Int32Array.from(pick(this.#groups)) }
  }
}
