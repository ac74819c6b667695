export interface AdapterFacts {
  readonly path: string
  /** Of the file's metadata; empty where it has none. */
  readonly name: string
  /** Likewise. */
  readonly task: string
  /** 0 where the file has none: then its products count by their scale alone. */
  readonly alpha: number
  /** Tensors of the model that it changes. */
  readonly tensors: number
  /** Norms in the file, which llama.cpp leaves out. */
  readonly ignored: number
  /** Its bytes, which lie where the tensors lie that it changes. */
  readonly devices: readonly { readonly device: string; readonly bytes: number }[]
}

/** A LoRA adapter of one model. */
export interface NativeAdapter {
  readonly facts: AdapterFacts
  /** Idempotent. Freed once the last pool that computes with it is gone, or has others. */
  close(): void
}

/** What a pool computes with: each adapter once. */
export type NativeAdapters = readonly { readonly adapter: NativeAdapter; readonly scale: number }[]
