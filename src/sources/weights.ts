import { describe, WinnowError } from '../errors.js'
import { readSafetensors, readTensor, type Tensor } from './safetensors.js'
import { type HeadSource, readObject, type SourceFile } from './source.js'
import { isObject } from './strict-json.js'

/** The tensors of a model, whichever file each is in. Reads headers, and of the data only what is asked for. */
export interface Weights {
  readonly names: readonly string[]
  /** Outermost dimension first. Throws SAFETENSORS_CORRUPT, SOURCE_INVALID (the index names a file without it). */
  shape(name: string): Promise<readonly number[]>
  /** In the order of memory. Throws also HEAD_UNSUPPORTED (another type), HEAD_CORRUPT (not finite). */
  values(name: string): Promise<Float32Array>
}

const single = 'model.safetensors'
const index = 'model.safetensors.index.json'
/** Where LLaMA-Factory puts a value head, beside the model. */
const valueHead = 'value_head.safetensors'

interface OpenFile {
  readonly file: SourceFile
  readonly tensors: ReadonlyMap<string, Tensor>
}

/** Throws SOURCE_NOT_FOUND (no safetensors), SOURCE_INVALID, SAFETENSORS_CORRUPT, and what the source throws. */
export async function openWeights(source: HeadSource): Promise<Weights> {
  const opened = new Map<string, OpenFile>()
  const open = async (name: string): Promise<OpenFile | null> => {
    const known = opened.get(name)
    if (known !== undefined) return known
    const file = await source.file(name)
    if (file === null) return null
    const entry = { file, tensors: await readSafetensors(file) }
    opened.set(name, entry)
    return entry
  }

  /** Tensor to file. */
  const places = new Map<string, string>()
  for (const name of [single, valueHead]) {
    for (const tensor of (await open(name))?.tensors.keys() ?? []) places.set(tensor, name)
  }
  if (!opened.has(single)) {
    for (const [tensor, name] of await readIndex(source)) places.set(tensor, name)
  }
  if (places.size === 0) {
    throw new WinnowError(
      'SOURCE_NOT_FOUND',
      `Expected ${single} or ${index} in ${source.name} but received neither; what torch.load reads from a pytorch_model.bin, safetensors.torch.save_file writes as one`
    )
  }

  const find = async (name: string): Promise<{ file: SourceFile; tensor: Tensor }> => {
    const place = places.get(name) as string
    const entry = await open(place)
    const tensor = entry?.tensors.get(name)
    if (entry === null || tensor === undefined)
      throw invalidIndex(
        source,
        `${describe(name)} in ${place}, ${entry ? 'which has no such tensor' : 'which is missing'}`
      )
    return { file: entry.file, tensor }
  }
  return {
    names: [...places.keys()],
    shape: async (name) => (await find(name)).tensor.shape,
    async values(name) {
      const { file, tensor } = await find(name)
      const values = await readTensor(file, name, tensor)
      const at = values.findIndex((value) => !Number.isFinite(value))
      if (at < 0) return values
      throw new WinnowError(
        'HEAD_CORRUPT',
        `Expected finite weights in tensor "${name}" of ${file.path} but received ${values[at]} at position ${at}`
      )
    }
  }
}

async function readIndex(source: HeadSource): Promise<readonly (readonly [string, string])[]> {
  const content = await readObject(source, index)
  if (content === null) return []
  const map = content.weight_map
  if (!isObject(map)) throw invalidIndex(source, `a weight_map that is ${describe(map)}`)
  return Object.entries(map).map(([tensor, file]) => {
    // A name and no path: an index must not lead out of the model.
    if (typeof file === 'string' && /^[\w-][\w.-]*\.safetensors$/.test(file)) return [tensor, file] as const
    throw invalidIndex(source, `${describe(tensor)} in ${describe(file)}`)
  })
}

function invalidIndex(source: HeadSource, received: string): WinnowError {
  return new WinnowError(
    'SOURCE_INVALID',
    `Expected tensors in safetensors files beside ${index} of ${source.name} but received ${received}`
  )
}
