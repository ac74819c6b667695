export interface NativeRankerParams {
  /** Most tokens of a sequence. */
  readonly context: number
  /** Rows of a batch, raised to `context`. */
  readonly batch: number
  /** 0: as many as the machine has. */
  readonly threads: number
  readonly flashAttention: 'auto' | 'on' | 'off'
}

export interface NativeRankScores {
  readonly reason: 'reached' | 'deadline' | 'aborted'
  /**
   * One for each sequence; empty unless reached. The raw logit of the head's one label, or that of yes less that of no;
   * of Jina BERT v2 its hyperbolic tangent, which llama.cpp puts on it.
   */
  readonly scores: Float32Array
  /** Rows decoded. */
  readonly decoded: number
  readonly batches: number
  readonly seconds: number
}

/** An encoder with a rank head. Nothing is kept between calls: a text that grew is read again. */
export interface NativeRanker {
  /** The tokens around a query and a document: before, query, between, document, after. */
  readonly frame: { readonly before: Int32Array; readonly between: Int32Array; readonly after: Int32Array }
  /** Most tokens of a sequence. */
  readonly context: number
  /** Sequence i is tokens[offsets[i]..offsets[i+1]], of 1 to `context` tokens. Seconds; 0 means no deadline. */
  score(tokens: Int32Array, offsets: Int32Array, deadlineSeconds: number): Promise<NativeRankScores>
  /** Ends the job in flight soon, which then resolves with reason `aborted`. No job: no effect. */
  abort(): void
  /** Idempotent. Aborts a job in flight, waits for it, then frees the context. */
  close(): Promise<void>
}
