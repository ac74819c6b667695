import { endianness } from 'node:os'

/** A tensor of 32-bit floats. */
export interface GgufTensor {
  readonly name: string
  /** Length of a row first, as GGUF has it. */
  readonly shape: readonly number[]
  readonly values: Float32Array
}

/** A metadata value: its key and its bytes. */
export type GgufValue = Buffer

/** Bytes; GGUF's default alignment of tensors. */
const alignment = 32
/** Number of the tensor type F32 (ggml.h). */
const f32 = 0
/** Numbers of GGUF's value types (ggml's docs/gguf.md). */
const type = { u32: 4, f32: 6, string: 8, array: 9 } as const

export function count(key: string, value: number): GgufValue {
  return Buffer.concat([string(key), u32(type.u32), u32(value)])
}

export function text(key: string, value: string): GgufValue {
  return Buffer.concat([string(key), u32(type.string), string(value)])
}

export function texts(key: string, values: readonly string[]): GgufValue {
  return array(key, type.string, values.length, values.map(string))
}

export function numbers(key: string, values: readonly number[]): GgufValue {
  return array(key, type.f32, values.length, [floats(Float32Array.from(values))])
}

/** The bytes of a GGUF, version 3, in parts: the tensors are not copied. */
export function ggufParts(values: readonly GgufValue[], tensors: readonly GgufTensor[]): readonly Uint8Array[] {
  const infos: Buffer[] = []
  const data: Buffer[] = []
  let offset = 0
  for (const tensor of tensors) {
    const bytes = floats(tensor.values)
    const after = padding(bytes.length)
    infos.push(string(tensor.name), u32(tensor.shape.length), ...tensor.shape.map(u64), u32(f32), u64(offset))
    data.push(bytes, after)
    offset += bytes.length + after.length
  }
  const start = [Buffer.from('GGUF'), u32(3), u64(tensors.length), u64(values.length), ...values, ...infos]
  const header = Buffer.concat(start)
  return [header, padding(header.length), ...data]
}

function array(key: string, element: number, length: number, elements: readonly Buffer[]): Buffer {
  return Buffer.concat([string(key), u32(type.array), u32(element), u64(length), ...elements])
}

function string(value: string): Buffer {
  const bytes = Buffer.from(value)
  return Buffer.concat([u64(bytes.length), bytes])
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}

function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt(value))
  return bytes
}

/** Little endian, as everything in a GGUF; where memory is too, the numbers are not copied. */
function floats(values: Float32Array): Buffer {
  const bytes = Buffer.from(values.buffer, values.byteOffset, values.byteLength)
  return endianness() === 'LE' ? bytes : Buffer.from(bytes).swap32()
}

function padding(length: number): Buffer {
  return Buffer.alloc((alignment - (length % alignment)) % alignment)
}
