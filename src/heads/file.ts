import { randomBytes } from 'node:crypto'
import { type FileHandle, open, rename, rm } from 'node:fs/promises'
import { cannotWrite, expected } from '../errors.js'
import { count, ggufParts, numbers, text, texts } from './gguf-file.js'
import type { PositionLine } from './position.js'

/** One linear layer: out = weight * in + bias. */
export interface HeadLayer {
  /** Outputs x inputs, row by row. */
  readonly weight: Float32Array
  /** One an output. */
  readonly bias: Float32Array
}

/** A confidence feature beside the state; it enters as (x - mean) / std. */
export interface HeadFeature {
  /** One of the addon's `featureNames`. */
  readonly name: string
  readonly mean: number
  /** Finite and positive. */
  readonly std: number
}

/** What a head file holds. A row is the state after the final norm, raw, and then the features. */
export interface HeadContent {
  /** Width of the state, 1 to 2^20. */
  readonly width: number
  readonly features: readonly HeadFeature[]
  /** Units x (width + features); null for a linear head. */
  readonly inner: HeadLayer | null
  /** Between the layers; not used by a linear head. */
  readonly activation: 'silu' | 'relu'
  /** 1 x units, or 1 x (width + features) for a linear head. */
  readonly outer: HeadLayer
  /** The score as a line of the logit by position, which needs the feature log_tokens; without one the logit is it. */
  readonly position?: PositionLine | null
  /** Where the head comes from, in words. */
  readonly trainedOn: string
  /** SHA-256 of the GGUF the head was trained on, hexadecimal; empty where it is not known. */
  readonly modelSha256: string
}

/** Largest width and largest hidden layer of a head; no model is near it. The addon has the same limit. */
const maxWidth = 2 ** 20
/** Tokens a `recent_` feature looks back; the addon knows no other. */
const window = 16

/**
 * Writes a head file, the GGUF that native/engine/head.h describes. The file appears whole or not at all: it is written
 * beside its place and renamed.
 *
 * Throws HEAD_CORRUPT (sizes that do not fit, a number that is not finite), WRITE_FAILED, and the signal's reason.
 */
export async function writeHeadFile(path: string, content: HeadContent, signal?: AbortSignal): Promise<void> {
  const parts = headFileParts(content)
  const unfinished = `${path}.${process.pid}-${randomBytes(4).toString('hex')}.part`
  let file: FileHandle | undefined
  try {
    signal?.throwIfAborted()
    file = await open(unfinished, 'wx')
    for (const part of parts) await file.writeFile(part)
    await file.sync()
    await file.close()
    signal?.throwIfAborted()
    await rename(unfinished, path)
  } catch (error) {
    // Closing twice rejects, and so does closing what a full disk has broken; neither is news.
    await file?.close().catch(() => {})
    if (file !== undefined) await rm(unfinished, { force: true }).catch(() => {})
    signal?.throwIfAborted()
    throw cannotWrite(path, error)
  }
}

/** The bytes of a head file, in parts: a head of a large model is not copied to be written. Throws HEAD_CORRUPT. */
export function headFileParts(content: HeadContent): readonly Uint8Array[] {
  check(content)
  const { width, features, inner, activation, outer, position, trainedOn, modelSha256 } = content
  const values = [
    text('general.architecture', 'winnow-head'),
    text('general.name', trainedOn),
    // What knows nothing of positions is to refuse such a file, not to leave them out.
    count('winnow.head.version', position ? 2 : 1),
    count('winnow.head.width', width),
    text('winnow.head.layer', 'final-norm'),
    text('winnow.head.kind', inner === null ? 'linear' : 'mlp'),
    count('winnow.head.hidden', inner === null ? 0 : inner.bias.length),
    text('winnow.head.activation', activation),
    text('winnow.head.output', 'logit'),
    count('winnow.head.window', window),
    texts(
      'winnow.head.features',
      features.map(({ name }) => name)
    ),
    numbers(
      'winnow.head.feature_mean',
      features.map(({ mean }) => mean)
    ),
    numbers(
      'winnow.head.feature_std',
      features.map(({ std }) => std)
    ),
    text('winnow.head.trained_on', trainedOn),
    text('winnow.head.model_sha256', modelSha256),
    ...(position
      ? [
          numbers('winnow.head.position_log_tokens', position.logTokens),
          numbers('winnow.head.position_scale', position.scale),
          numbers('winnow.head.position_bias', position.bias)
        ]
      : [])
  ]
  const layers = inner === null ? [{ name: 'head', ...outer }] : [inner, outer].map(numbered)
  const tensors = layers.flatMap(({ name, weight, bias }) => [
    { name: `${name}.weight`, shape: [weight.length / bias.length, bias.length], values: weight },
    { name: `${name}.bias`, shape: [bias.length], values: bias }
  ])
  return ggufParts(values, tensors)
}

const numbered = (layer: HeadLayer, index: number) => ({ name: `head.${index}`, ...layer })

function check({ width, features, inner, outer, position }: HeadContent): void {
  const corrupt = (what: string, forWhat: string, received: unknown) =>
    expected('HEAD_CORRUPT', what, `${forWhat} of a head`, received)
  const limited = (what: string, value: number) => {
    if (!Number.isInteger(value) || value < 1 || value > maxWidth)
      throw corrupt(`a whole number from 1 to ${maxWidth}`, what, value)
  }
  limited('the width', width)
  let inputs = width + features.length
  for (const { name, mean, std } of features) {
    // What the addon will hold: a deviation below the smallest normal float has no finite inverse there.
    const holds = Number.isFinite(Math.fround(mean)) && Number.isFinite(Math.fround(std)) && std >= 2 ** -126
    if (!holds) throw corrupt('a finite mean and a positive deviation', `feature ${name}`, `${mean}, ${std}`)
  }
  if (position) checkPosition(position, features)
  for (const [what, layer] of Object.entries({ inner, outer })) {
    if (layer === null) continue
    limited(`the outputs of the ${what} layer`, layer.bias.length)
    if (layer === outer && layer.bias.length !== 1) throw corrupt('one output', 'the last layer', layer.bias.length)
    const size = layer.bias.length * inputs
    if (layer.weight.length !== size) throw corrupt(`${size} weights`, `the ${what} layer`, layer.weight.length)
    for (const numbers of [layer.weight, layer.bias]) {
      const at = numbers.findIndex((value) => !Number.isFinite(value))
      if (at >= 0) throw corrupt('finite weights', `the ${what} layer`, `${numbers[at]} at position ${at}`)
    }
    inputs = layer.bias.length
  }
}

/** As the addon will: numbers are compared as the 32-bit floats that are written. */
function checkPosition({ logTokens, scale, bias }: PositionLine, features: readonly HeadFeature[]): void {
  const corrupt = (what: string, received: unknown) =>
    expected('HEAD_CORRUPT', what, 'the positions of a head', received)
  const [knots, scales, biases] = [logTokens.map(Math.fround), scale.map(Math.fround), bias.map(Math.fround)]
  if (knots.length === 0 || scales.length !== knots.length || biases.length !== knots.length)
    throw corrupt('a scale and a bias each', `${knots.length}, ${scales.length} and ${biases.length}`)
  if (!knots.every((at, i) => Number.isFinite(at) && (i === 0 || at > (knots[i - 1] as number))))
    throw corrupt('finite and ascending numbers', logTokens.join(', '))
  if (!scales.every((value) => Number.isFinite(value) && value >= 2 ** -126))
    throw corrupt('finite and positive scales', scale.join(', '))
  if (!biases.every(Number.isFinite)) throw corrupt('finite biases', bias.join(', '))
  if (!features.some(({ name }) => name === 'log_tokens'))
    throw corrupt('the feature log_tokens', features.map(({ name }) => name).join(', '))
}
