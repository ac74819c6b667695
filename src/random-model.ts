import { loadBinding, type NativeRandomModelParams } from './binding.js'
import { fromAddon } from './errors.js'

export type RandomModelOptions = {
  -readonly [Key in keyof Omit<NativeRandomModelParams, 'path'>]?: NativeRandomModelParams[Key]
}

/** A small llama: loads in milliseconds, and has every part a real one has. */
export const randomModelDefaults: Omit<NativeRandomModelParams, 'path'> = {
  architecture: 'llama',
  weights: 'f16',
  tokenizer: 'bytes',
  vocabulary: 512,
  width: 128,
  layers: 2,
  heads: 2,
  headsKv: 1,
  feedForward: 256,
  context: 2048,
  spread: 0.15,
  seed: 1n,
  chatTemplate: ''
}

/**
 * Writes a GGUF of random weights, the same for the same options: for tests, and for throughput at a realistic shape.
 *
 * Throws OPTION_INVALID, WRITE_FAILED.
 */
export async function writeRandomModel(path: string, options: RandomModelOptions = {}): Promise<void> {
  const { binding } = loadBinding()
  await fromAddon(() => binding.writeRandomModel({ ...randomModelDefaults, ...options, path }))
}
