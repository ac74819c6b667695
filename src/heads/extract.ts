import { z } from 'zod'
import { callback, check, isNumber, isText, parse } from '../checks.js'
import { describe, expected, WinnowError } from '../errors.js'
import type { HubOptions } from '../sources/hub.js'
import { openSource, readObject } from '../sources/source.js'
import { openWeights, type Weights } from '../sources/weights.js'
import { RewardConfig } from './config.js'
import { type HeadContent, type HeadLayer, writeHeadFile } from './file.js'
import { findHead, type LayerTensors } from './tensors.js'

export interface ExtractOptions extends HubOptions {
  /** Which output is the reward, by number or by its name in config.json. Needed where the head has several. */
  readonly label?: number | string | undefined
  /**
   * An output to subtract. With two labels under a softmax, `label` 1 minus 0 is the logit of label 1's probability
   * (a process reward model's "this step is good"). Default: none.
   */
  readonly minus?: number | string | undefined
  /**
   * What stands between the two layers of a head that has two; its tensors do not say. Default: `relu` for the
   * architectures known to have it (Qwen2ForRewardModel, Qwen2ForProcessRewardModel), otherwise it must be given.
   */
  readonly activation?: 'relu' | 'silu' | undefined
  /** Name of the head's tensors, such as `score` for `score.weight`. Default: found by the names that are customary. */
  readonly tensor?: string | undefined
}

/** What was taken out of a reward model. */
export interface ExtractedHead {
  /** The head file. */
  readonly path: string
  /** The folder's name, or `hf:ORG/REPO@COMMIT`. */
  readonly source: string
  /** What config.json says; null where it says nothing. */
  readonly architecture: string | null
  /** Name of the head's tensors. */
  readonly tensor: string
  readonly kind: 'linear' | 'mlp'
  /** Width of the state that the head reads. */
  readonly width: number
  /** 0 for a linear head. */
  readonly hidden: number
  readonly activation: 'relu' | 'silu' | null
  /** Outputs of the reward model's head. */
  readonly labels: number
  readonly label: number
  readonly minus: number | null
  /** Bytes of the model's files that were read. */
  readonly bytesRead: number
}

/** Numbers in a tensor of a head; 1 GiB as floats, four times the largest known (8192 x 8192). */
const maxElements = 2 ** 28

const matching = (test: RegExp, what: string) =>
  check<string>((value) => typeof value === 'string' && test.test(value), what).optional()
const label = check<number | string>(
  (value) => isText(value) || (Number.isSafeInteger(value) && (value as number) >= 0),
  'the number or the name of a label'
).optional()
const schema = z.strictObject({
  label,
  minus: label,
  activation: check<'relu' | 'silu'>((value) => value === 'relu' || value === 'silu', '"relu" or "silu"').optional(),
  tensor: matching(/^[\w.-]+$/, 'the name of tensors'),
  hubUrl: matching(/./, 'an http or https URL'),
  token: matching(/./, 'an access token'),
  fetch: callback<typeof fetch>().optional(),
  stallMs: check<number>(
    (value) => isNumber(value) && value > 0 && value < 2 ** 31,
    'a number of milliseconds above 0'
  ).optional(),
  signal: check<AbortSignal>((value) => value instanceof AbortSignal, 'an AbortSignal').optional()
})

/**
 * Takes the reward head out of a Hugging Face reward model and writes it as a head file. `source` is a folder,
 * `hf:ORG/REPO` or `hf:ORG/REPO@REVISION`; of the safetensors only headers and the head itself are read. The backbone
 * is converted to GGUF by llama.cpp's own tools; `trainedOn` of the head says where it came from, `modelSha256` stays
 * empty, because which GGUF it will be used with is not known here.
 *
 * Throws OPTION_INVALID, OPTION_UNKNOWN, SOURCE_NOT_FOUND, SOURCE_INVALID, SAFETENSORS_CORRUPT, HEAD_UNSUPPORTED,
 * HEAD_WIDTH, HEAD_CORRUPT, HUB_FAILED, WRITE_FAILED, and the signal's reason. After any of them `out` is what it was.
 */
export async function extractHead(source: string, out: string, options: ExtractOptions = {}): Promise<ExtractedHead> {
  const resolved = parse(schema, options, 'extractHead')
  resolved.signal?.throwIfAborted()
  const model = await openSource(source, resolved)
  try {
    const content = await readObject(model, 'config.json')
    if (content === null) throw expected('SOURCE_NOT_FOUND', 'a config.json', model.name, undefined)
    const config = new RewardConfig(content, model.name)
    const weights = await openWeights(model)
    const head = findHead(weights.names, resolved.tensor)
    const inner = head.inner === null ? null : await readLayer(weights, head.inner, config.width, model.name)
    const all = await readLayer(weights, head.outer, inner === null ? config.width : inner.bias.length, model.name)
    const labels = all.bias.length
    const chosen = config.labelOf(resolved.label, labels, 'label')
    const minus = resolved.minus === undefined ? null : config.labelOf(resolved.minus, labels, 'minus')
    if (minus === chosen) throw expected('OPTION_INVALID', 'another label than label', 'minus', resolved.minus)
    const activation = inner === null ? null : (resolved.activation ?? config.activationOf(head.name))
    const which = labels === 1 ? '' : ` (label ${chosen}${minus === null ? '' : ` minus ${minus}`})`
    const written: HeadContent = {
      width: config.width,
      features: [],
      inner,
      activation: activation ?? 'relu',
      outer: outputOf(all, chosen, minus),
      trainedOn: `${model.name}${which}`,
      modelSha256: ''
    }
    await writeHeadFile(out, written, resolved.signal)
    return {
      path: out,
      source: model.name,
      architecture: config.architecture,
      tensor: head.name,
      kind: inner === null ? 'linear' : 'mlp',
      width: config.width,
      hidden: inner === null ? 0 : inner.bias.length,
      activation,
      labels,
      label: chosen,
      minus,
      bytesRead: model.bytesRead
    }
  } finally {
    await model.close()
  }
}

/** A layer of all its outputs; without a bias in the model, zeros. */
async function readLayer(weights: Weights, names: LayerTensors, inputs: number, source: string): Promise<HeadLayer> {
  const shape = await weights.shape(names.weight)
  const [outputs = 0, columns = 0] = shape
  const sentence = (what: string, name: string, received: readonly number[]) =>
    `Expected ${what} for tensor "${name}" of ${source} but received ${describe(received.join(' x '))}`
  if (shape.length !== 2 || outputs < 1) {
    throw new WinnowError('HEAD_UNSUPPORTED', sentence('outputs x inputs', names.weight, shape))
  }
  if (columns !== inputs) throw new WinnowError('HEAD_WIDTH', sentence(`${inputs} inputs`, names.weight, shape))
  if (outputs * columns > maxElements) {
    throw new WinnowError('HEAD_UNSUPPORTED', sentence(`at most ${maxElements} numbers`, names.weight, shape))
  }
  if (names.bias === null) return { weight: await weights.values(names.weight), bias: new Float32Array(outputs) }
  const length = await weights.shape(names.bias)
  if (length.length !== 1 || length[0] !== outputs) {
    throw new WinnowError('HEAD_UNSUPPORTED', sentence(`${outputs} numbers`, names.bias, length))
  }
  return { weight: await weights.values(names.weight), bias: await weights.values(names.bias) }
}

/** One output, or the difference of two, rounded once. */
function outputOf({ weight, bias }: HeadLayer, label: number, minus: number | null): HeadLayer {
  const inputs = weight.length / bias.length
  const row = (of: number) => weight.subarray(of * inputs, (of + 1) * inputs)
  if (minus === null) return { weight: row(label), bias: bias.subarray(label, label + 1) }
  const subtracted = row(minus)
  return {
    weight: row(label).map((value, i) => value - (subtracted[i] as number)),
    bias: Float32Array.of((bias[label] as number) - (bias[minus] as number))
  }
}
