export interface NativeDevice {
  readonly name: string
  readonly description: string
  readonly type: 'cpu' | 'gpu' | 'igpu' | 'accel'
  readonly memoryFree: number
  readonly memoryTotal: number
}

export interface NativeModelParams {
  readonly path: string
  readonly gpuLayers: number
  readonly devices: readonly string[]
  readonly split: 'none' | 'layer' | 'row'
  readonly mainGpu: number
  readonly tensorSplit: readonly number[]
  readonly mmap: boolean
  readonly mlock: boolean
  readonly checkTensors: boolean
  /** To be read by its rank head; the only way to open an encoder. Default false. */
  readonly ranker?: boolean
  /** False: nothing is allocated; such a model has facts, a vocabulary and sizes, and no pool takes it. Default true. */
  readonly weights?: boolean
}

/** Bytes on one device; what lies in the host's memory belongs to the CPU. */
export interface NativeDeviceSizes {
  readonly device: string
  /** All of the model's. */
  readonly weights: number
  readonly cells: number
  readonly compute: number
  /** Logits and states of one decode. */
  readonly outputs: number
}

/** What a context takes, as llama.cpp counts it. */
export interface NativeSizes {
  /** Those for ghosts included; 1 for a unified cache. */
  readonly streams: number
  readonly cellsPerStream: number
  readonly devices: readonly NativeDeviceSizes[]
}

export interface ModelFacts {
  readonly path: string
  readonly architecture: string
  readonly description: string
  readonly parameters: number
  /** Size of the weights, bytes. */
  readonly bytes: number
  readonly contextTrain: number
  /** Width of the hidden state after the final norm. */
  readonly width: number
  readonly layers: number
  readonly heads: number
  readonly headsKv: number
  readonly vocabulary: number
  readonly bos: number
  readonly eos: number
  readonly eot: number
  readonly addBos: boolean
  readonly hasTokenizer: boolean
  readonly chatTemplate: string | null
  /** Of a model opened as a ranker. */
  readonly rank?: RankFacts
}

/** The rank head of a reranker. */
export interface RankFacts {
  /** Reads query and document at once, both ways (`createRanker`). Otherwise a decoder, for a mirror (`rankHead`). */
  readonly encoder: boolean
  /** As the file names them: none, which is one label without a name, or one, or yes and no. */
  readonly labels: readonly string[]
  /** The text around {query} and {document}; empty where the file has none. */
  readonly template: string
}

export interface NativeModel {
  readonly facts: ModelFacts
  tokenize(text: string, addSpecial: boolean, parseSpecial: boolean): Promise<Int32Array>
  /**
   * Many sequences in one crossing: sequence i is tokens[offsets[i]..offsets[i+1]], less the last cuts[i] bytes of its
   * text. Invalid UTF-8 becomes U+FFFD.
   */
  detokenize(tokens: Int32Array, offsets: Int32Array, renderSpecial: boolean, cuts?: Int32Array): Promise<string[]>
  tokenText(token: number): string
  /** Idempotent. Weights are freed once the last pool that uses them is gone. */
  close(): void
}
