/** A metadata value: its type number in GGUF and its bytes. */
export interface FakeValue {
  readonly type: number
  readonly bytes: Uint8Array
}

export interface FakeGgufTensor {
  readonly name: string
  /** Length of a row first. */
  readonly shape: readonly (number | bigint)[]
  readonly data: Uint8Array
  /** Default 0, F32. */
  readonly type?: number
  /** Default: after the one before. */
  readonly offset?: bigint
}

export interface FakeGguf {
  readonly magic: string
  readonly version: number
  readonly values: readonly (readonly [string, FakeValue])[]
  readonly tensors: readonly FakeGgufTensor[]
  /** What the header claims; default: the truth. */
  readonly tensorCount?: bigint
  readonly valueCount?: bigint
}

export const u32 = (value: number): FakeValue => ({ type: 4, bytes: word(value) })
export const float = (value: number): FakeValue => ({ type: 6, bytes: floats([value]) })
export const text = (value: string): FakeValue => ({ type: 8, bytes: string(value) })
export const texts = (values: readonly string[]): FakeValue =>
  array(8, values.length, Buffer.concat(values.map(string)))
export const numbers = (values: readonly number[]): FakeValue => array(6, values.length, floats(values))
/** An array of whatever it claims to be. */
export const array = (type: number, count: number | bigint, bytes: Uint8Array): FakeValue => ({
  type: 9,
  bytes: Buffer.concat([word(type), long(BigInt(count)), bytes])
})

export function floats(values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4)
  values.forEach((value, i) => void bytes.writeFloatLE(value, i * 4))
  return bytes
}

export function long(value: bigint): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(value)
  return bytes
}

/** The bytes of a GGUF, right or wrong; written apart from src/heads/file.ts, which is tested against it. */
export function gguf({ magic, version, values, tensors, tensorCount, valueCount }: FakeGguf): Buffer {
  const counts = [long(tensorCount ?? BigInt(tensors.length)), long(valueCount ?? BigInt(values.length))]
  const metadata = values.flatMap(([key, { type, bytes }]) => [string(key), word(type), bytes])
  let next = 0n
  const infos = tensors.flatMap(({ name, shape, data, type = 0, offset = next }) => {
    next += BigInt(aligned(data).length)
    return [string(name), word(shape.length), ...shape.map((length) => long(BigInt(length))), word(type), long(offset)]
  })
  const header = Buffer.concat([Buffer.from(magic), word(version), ...counts, ...metadata, ...infos])
  return Buffer.concat([aligned(header), ...tensors.map(({ data }) => aligned(data))])
}

function aligned(bytes: Uint8Array): Buffer {
  return Buffer.concat([bytes, Buffer.alloc((32 - (bytes.length % 32)) % 32)])
}

function word(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}

function string(value: string): Buffer {
  return Buffer.concat([long(BigInt(Buffer.byteLength(value))), Buffer.from(value)])
}
