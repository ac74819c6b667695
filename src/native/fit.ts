/**
 * Some labelled rows of a table (the state's columns first; rows of one group lie side by side), and of them as many
 * columns as are fitted. The addon copies just these.
 */
export interface NativeFitRows {
  /** The table's values row by row, `partRows` rows a part; the last part may have room to spare. */
  readonly parts: readonly Float32Array[]
  readonly partRows: number
  readonly tableColumns: number
  readonly firstColumn: number
  /** Numbers of rows in the table. */
  readonly rows: Int32Array
  /** One a row of `rows`, as groups are. */
  readonly labels: Float32Array
  readonly groups: Int32Array
}

export interface NativeFitParams {
  readonly columns: number
  readonly stateColumns: number
  /** Labels are 0..1. */
  readonly binary: boolean
  /** 0 for a linear head. */
  readonly hidden: number
  readonly epochs: number
  readonly patience: number
  readonly batch: number
  readonly rate: number
  readonly decay: number
  readonly dropout: number
  readonly ranking: number
  readonly threads: number
  readonly seed: bigint
}

export interface NativeEpoch {
  readonly index: number
  readonly trainLoss: number
  readonly validationLoss: number
}

export interface NativeFit {
  readonly stopped: boolean
  /** Flat, as the head file has them. */
  readonly parameters: Float32Array
  /** Of the features. */
  readonly mean: Float32Array
  readonly deviation: Float32Array
  readonly epochs: readonly NativeEpoch[]
  readonly best: number
}
