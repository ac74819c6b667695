/** Arrays of numbers as text: little-endian, deflated, in base 64. */
import { deflateRawSync, inflateRawSync } from 'node:zlib'

const kinds = { i32: Int32Array, f32: Float32Array, f64: Float64Array } as const
type Kind = keyof typeof kinds
type Numbers = Int32Array | Float32Array | Float64Array

/** Quick, and within a few percent of the smallest: log-probabilities hardly shrink at all. */
const level = 3

export function packText(text: string): string {
  return deflateRawSync(Buffer.from(text), { level }).toString('base64')
}

/** Throws what zlib does. */
export function unpackText(packed: string): string {
  return inflateRawSync(Buffer.from(packed, 'base64')).toString()
}

export function pack(values: Numbers): string {
  const kind = values instanceof Int32Array ? 'i32' : values instanceof Float32Array ? 'f32' : 'f64'
  const bytes = Buffer.from(values.buffer, values.byteOffset, values.byteLength)
  return `${kind}:${deflateRawSync(bytes, { level }).toString('base64')}`
}

/** Scores in half the space where that loses nothing: what a native head says has single precision. */
export function packScores(values: Float64Array): string {
  const single = Float32Array.from(values)
  return pack(values.every((value, i) => Object.is(value, single[i])) ? single : values)
}

/** Null for anything but `count` numbers of the kinds asked for, packed. */
export function unpack<K extends Kind>(
  packed: unknown,
  count: number,
  ...allowed: readonly K[]
): InstanceType<(typeof kinds)[K]> | null {
  if (typeof packed !== 'string' || packed[3] !== ':') return null
  const kind = packed.slice(0, 3) as K
  if (!allowed.includes(kind)) return null
  const { BYTES_PER_ELEMENT: size } = kinds[kind]
  let bytes: Buffer
  try {
    bytes = inflateRawSync(Buffer.from(packed.slice(4), 'base64'), { maxOutputLength: count * size + 1 })
  } catch {
    return null
  }
  if (bytes.length !== count * size) return null
  // A copy: what zlib returns need not be aligned.
  const aligned = new Uint8Array(bytes)
  return new kinds[kind](aligned.buffer) as InstanceType<(typeof kinds)[K]>
}
