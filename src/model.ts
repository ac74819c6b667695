import { open, stat } from 'node:fs/promises'
import { gguf } from '@huggingface/gguf'
import type { NativeAdapter, NativeBinding, NativeHead, NativeModel, NativeModelParams } from './binding.js'
import { localModel } from './download.js'
import { expected, fromAddon, WinnowError } from './errors.js'
import type { ResolvedOpenOptions } from './options.js'

export { sha256 } from './checksum.js'

/**
 * Loads weights and vocabulary, of an address once its file is here (download.ts). The file's header is read in
 * JavaScript first: llama.cpp asserts, and so ends the process, on some malformed files that this gate refuses. Without
 * `weights` the model serves for plans only.
 *
 * Throws MODEL_NOT_FOUND, MODEL_CORRUPT, MODEL_UNSUPPORTED, DEVICE_UNKNOWN, OUT_OF_MEMORY, and what `download` does.
 */
export async function openModel(
  binding: NativeBinding,
  pathOrAddress: string,
  options: ResolvedOpenOptions,
  weights = true
): Promise<NativeModel> {
  return openFile(binding, pathOrAddress, options, { weights })
}

/**
 * The same for a model with a rank head, encoder or decoder; `facts.rank` says which. Throws MODEL_UNSUPPORTED for one
 * without.
 */
export async function openRanker(
  binding: NativeBinding,
  pathOrAddress: string,
  options: ResolvedOpenOptions
): Promise<NativeModel> {
  return openFile(binding, pathOrAddress, options, { ranker: true })
}

async function openFile(
  binding: NativeBinding,
  pathOrAddress: string,
  options: ResolvedOpenOptions,
  use: Pick<NativeModelParams, 'weights' | 'ranker'>
): Promise<NativeModel> {
  options.signal?.throwIfAborted()
  const path = await localModel(pathOrAddress, options)
  await checkFile(path, 'the model', 'MODEL_NOT_FOUND')
  await checkHeader(path, 'the model', 'MODEL')
  const { gpuLayers, devices, split, mainGpu, tensorSplit, mmap, mlock, checkTensors, gpu } = options
  const params = {
    path,
    gpuLayers: gpu === 'cpu' ? 0 : gpuLayers,
    devices: gpu === 'cpu' && devices.length === 0 ? ['CPU'] : devices,
    split,
    mainGpu,
    tensorSplit,
    mmap,
    mlock,
    checkTensors,
    ...use
  }
  return fromAddon(() => binding.loadModel(params, options.onLoad))
}

/** Throws HEAD_NOT_FOUND, HEAD_CORRUPT, and HEAD_WIDTH when it was made for states of another width. */
export async function openHead(
  binding: NativeBinding,
  path: string,
  model: Pick<NativeModel, 'facts'>
): Promise<NativeHead> {
  await checkFile(path, 'the reward head', 'HEAD_NOT_FOUND')
  const head = await fromAddon(() => binding.loadHead(path))
  if (head.facts.width !== model.facts.width) {
    const { width } = head.facts
    head.close()
    throw new WinnowError(
      'HEAD_WIDTH',
      `Expected a head for states of width ${model.facts.width} for ${model.facts.path} but received one of width ${width} (${path})`
    )
  }
  return head
}

/**
 * A LoRA adapter of this model, which passes the gates that models do and is held against the model's own tensors.
 *
 * Throws ADAPTER_NOT_FOUND, ADAPTER_CORRUPT, ADAPTER_MISMATCH (made for another model), ADAPTER_UNSUPPORTED (an activated
 * one among others), OUT_OF_MEMORY.
 */
export async function openAdapter(binding: NativeBinding, model: NativeModel, path: string): Promise<NativeAdapter> {
  await checkFile(path, 'the LoRA adapter', 'ADAPTER_NOT_FOUND')
  await checkHeader(path, 'the LoRA adapter', 'ADAPTER')
  try {
    return await binding.loadAdapter(model, path)
  } catch (error) {
    throw WinnowError.from(error)
  }
}

async function checkFile(path: string, what: string, code: string): Promise<void> {
  const found = await stat(path).catch(() => null)
  if (found === null)
    throw new WinnowError(code, `Expected a GGUF file for ${what} but received ${path}, which does not exist`)
  if (!found.isFile())
    throw new WinnowError(code, `Expected a GGUF file for ${what} but received ${path}, which is not a file`)
}

async function checkHeader(path: string, what: string, kind: 'MODEL' | 'ADAPTER'): Promise<void> {
  const corrupt = (received: string, cause?: unknown) =>
    new WinnowError(`${kind}_CORRUPT`, `Expected a GGUF file for ${what} but received ${path}: ${received}`, { cause })
  const magic = Buffer.alloc(4)
  const file = await open(path).catch((error: unknown) => {
    throw expected(`${kind}_NOT_FOUND`, 'a readable file', what, error instanceof Error ? error.message : path)
  })
  try {
    await file.read(magic, 0, 4, 0)
  } finally {
    await file.close()
  }
  if (magic.toString('latin1') !== 'GGUF') throw corrupt('it does not begin with the bytes GGUF')
  const { metadata } = await gguf(path, { allowLocalFile: true }).catch((error: unknown) => {
    throw corrupt(error instanceof Error ? error.message : String(error), error)
  })
  const tokens = (metadata as Record<string, unknown>)['tokenizer.ggml.tokens']
  if (Array.isArray(tokens) && new Set(tokens).size !== tokens.length) {
    throw corrupt('two tokens of its vocabulary have the same text')
  }
}
