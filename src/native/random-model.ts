export interface NativeRandomModelParams {
  readonly path: string
  readonly architecture: string
  readonly weights: 'f32' | 'f16' | 'q8_0' | 'q4_0'
  readonly tokenizer: 'bytes' | 'none'
  readonly vocabulary: number
  readonly width: number
  readonly layers: number
  readonly heads: number
  readonly headsKv: number
  readonly feedForward: number
  readonly context: number
  readonly spread: number
  readonly seed: bigint
  readonly chatTemplate: string
}
