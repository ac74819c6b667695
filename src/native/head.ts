export interface HeadFacts {
  readonly path: string
  readonly kind: 'linear' | 'mlp'
  readonly activation: string
  readonly width: number
  /** 0 for a linear head. */
  readonly hidden: number
  readonly features: readonly string[]
  readonly trainedOn: string
  readonly modelSha256: string
}

export interface NativeHead {
  readonly facts: HeadFacts
  /** states: rows x width; features: rows x 9 (`featureNames`). Returns one logit a row, calibrated by position where the head file says so. */
  apply(states: Float32Array, features: Float32Array): Float32Array
  close(): void
}
