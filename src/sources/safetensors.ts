import { WinnowError } from '../errors.js'
import type { SourceFile } from './source.js'
import { isObject, parseStrictJson } from './strict-json.js'

/** A tensor as the header describes it. */
export interface Tensor {
  readonly dtype: string
  /** Outermost dimension first. */
  readonly shape: readonly number[]
  /** Bytes from the start of the file. */
  readonly begin: number
  readonly end: number
}

/** The reference implementation's limit on the header, bytes (safetensors 0.4, SafeTensorError::HeaderTooLarge). */
const maxHeader = 100_000_000
/** Object, tensor, array: no header is deeper. */
const maxDepth = 4

const bits: ReadonlyMap<string, number> = new Map([
  ...['F4'].map((dtype) => [dtype, 4] as const),
  ...['F6_E2M3', 'F6_E3M2'].map((dtype) => [dtype, 6] as const),
  ...['BOOL', 'U8', 'I8', 'F8_E5M2', 'F8_E4M3', 'F8_E8M0'].map((dtype) => [dtype, 8] as const),
  ...['U16', 'I16', 'F16', 'BF16'].map((dtype) => [dtype, 16] as const),
  ...['U32', 'I32', 'F32'].map((dtype) => [dtype, 32] as const),
  ...['U64', 'I64', 'F64', 'C64'].map((dtype) => [dtype, 64] as const)
])

/**
 * Reads the header of a safetensors file and checks all of it: every byte of the data belongs to exactly one tensor,
 * whose length is what its type and shape say. Nothing of the data is read.
 *
 * The format is that of github.com/huggingface/safetensors: 8 bytes of header length (little endian), the header as a
 * JSON object, the data; offsets count from the data's start, no holes, no overlap, no key twice.
 *
 * Throws SAFETENSORS_CORRUPT, and what the source throws.
 */
export async function readSafetensors(file: SourceFile): Promise<ReadonlyMap<string, Tensor>> {
  if (file.size < 8) throw corrupt(file.path, `${file.size} bytes, too few for the length of a header`)
  const length = headerLength(await file.read(0, 8), file)
  return tensorsOf(await file.read(8, 8 + length), file)
}

/** The values of a tensor as numbers of 32 bits. Throws SAFETENSORS_CORRUPT, HEAD_UNSUPPORTED for other types. */
export async function readTensor(file: SourceFile, name: string, tensor: Tensor): Promise<Float32Array> {
  const reader = readers[tensor.dtype]
  if (reader === undefined) {
    throw new WinnowError(
      'HEAD_UNSUPPORTED',
      `Expected F32, F16, BF16 or F64 for tensor "${name}" in ${file.path} but received ${tensor.dtype}`
    )
  }
  const bytes = await file.read(tensor.begin, tensor.end)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const values = new Float32Array(bytes.byteLength / reader.bytes)
  for (let i = 0; i < values.length; i++) values[i] = reader.at(view, i * reader.bytes)
  return values
}

function headerLength(bytes: Uint8Array, { path, size }: SourceFile): number {
  const length = new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true)
  if (length > BigInt(maxHeader)) throw corrupt(path, `a header of ${length} bytes, more than ${maxHeader}`)
  if (length > BigInt(size - 8)) throw corrupt(path, `a header of ${length} bytes in a file of ${size}`)
  if (length < 2n) throw corrupt(path, `a header of ${length} bytes`)
  return Number(length)
}

function tensorsOf(header: Uint8Array, { path, size }: SourceFile): ReadonlyMap<string, Tensor> {
  const start = 8 + header.length
  const tensors = new Map<string, Tensor>()
  for (const [name, value] of Object.entries(parsed(header, path))) {
    if (name === '__metadata__') checkMetadata(value, path)
    else tensors.set(name, tensorOf(name, value, start, path))
  }
  let end = start
  // A tensor without elements stands before one that begins where it does.
  const inOrder = [...tensors].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end)
  for (const [name, tensor] of inOrder) {
    if (tensor.end > size) throw corrupt(path, `tensor ${quoted(name)} beyond the end of the file`)
    if (tensor.begin < end) throw corrupt(path, `tensor ${quoted(name)} in the bytes of another`)
    if (tensor.begin > end) throw corrupt(path, `a hole of ${tensor.begin - end} bytes before tensor ${quoted(name)}`)
    end = tensor.end
  }
  if (end !== size) throw corrupt(path, `${size - end} bytes that belong to no tensor`)
  return tensors
}

function parsed(header: Uint8Array, path: string): Readonly<Record<string, unknown>> {
  if (header[0] !== 0x7b) throw corrupt(path, 'a header that does not begin with "{"')
  let value: unknown
  try {
    value = parseStrictJson(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(header), maxDepth)
  } catch (error) {
    throw corrupt(path, error instanceof SyntaxError ? error.message : 'a header that is not UTF-8', error)
  }
  if (isObject(value)) return value
  throw corrupt(path, 'a header that is not an object')
}

function tensorOf(name: string, value: unknown, start: number, path: string): Tensor {
  const wrong = (received: string) => corrupt(path, `tensor ${quoted(name)} ${received}`)
  if (!isObject(value)) throw wrong('that is not described by an object')
  const { dtype, shape, data_offsets: offsets, ...others } = value
  const [other] = Object.keys(others)
  if (other !== undefined) throw wrong(`with an unknown key ${quoted(other)}`)
  const width = typeof dtype === 'string' ? bits.get(dtype) : undefined
  if (width === undefined) throw wrong(`of unknown type ${quoted(dtype)}`)
  if (!isSizes(shape)) throw wrong('whose shape is not an array of whole numbers of at least 0')
  if (!isSizes(offsets) || offsets.length !== 2) throw wrong('whose offsets are not two whole numbers of at least 0')
  const [begin, end] = offsets as readonly [number, number]
  let elements = 1
  for (const length of shape) {
    elements *= length
    if (!Number.isSafeInteger(elements * width)) throw wrong('of impossible size')
  }
  if (end < begin) throw wrong('that ends before it begins')
  if ((end - begin) * 8 !== elements * width) {
    throw wrong(`of ${end - begin} bytes where its type and shape need ${(elements * width) / 8}`)
  }
  if (!Number.isSafeInteger(start + end)) throw wrong('beyond the end of the file')
  return { dtype: dtype as string, shape, begin: start + begin, end: start + end }
}

function checkMetadata(value: unknown, path: string): void {
  const holds = isObject(value) && Object.values(value).every((entry) => typeof entry === 'string')
  if (!holds) throw corrupt(path, 'a "__metadata__" that is not an object of texts')
}

function isSizes(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.every((entry) => Number.isSafeInteger(entry) && (entry as number) >= 0)
}

/** How wide a number is in the file, bytes, and how to read it. */
const readers: Readonly<Record<string, { bytes: number; at: (view: DataView, offset: number) => number }>> = {
  F64: { bytes: 8, at: (view, offset) => view.getFloat64(offset, true) },
  F32: { bytes: 4, at: (view, offset) => view.getFloat32(offset, true) },
  F16: { bytes: 2, at: (view, offset) => half(view.getUint16(offset, true)) },
  BF16: { bytes: 2, at: (view, offset) => upperHalf(view.getUint16(offset, true)) }
}

const word = new DataView(new ArrayBuffer(4))

/** bfloat16 is the upper half of a number of 32 bits. */
function upperHalf(code: number): number {
  word.setUint16(0, code)
  return word.getFloat32(0)
}

/** IEEE 754 binary16: 1 bit of sign, 5 of exponent (bias 15), 10 of fraction. Exact in 32 bits. */
function half(code: number): number {
  const sign = code & 0x8000 ? -1 : 1
  const exponent = (code >> 10) & 0x1f
  const fraction = code & 0x3ff
  if (exponent === 0) return sign * fraction * 2 ** -24
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15)
}

function quoted(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing'
  return text.length > 80 ? `${text.slice(0, 77)}...` : text
}

function corrupt(path: string, received: string, cause?: unknown): WinnowError {
  return new WinnowError('SAFETENSORS_CORRUPT', `Expected a safetensors file in ${path} but received ${received}`, {
    cause
  })
}
