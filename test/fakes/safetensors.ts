import { floats, long } from './gguf.js'

/** A tensor to put into a file. */
export interface FakeTensor {
  readonly dtype: string
  readonly shape: readonly number[]
  readonly data: Uint8Array
}

/** F32, little endian. */
export function f32(shape: readonly number[], values: readonly number[]): FakeTensor {
  return { dtype: 'F32', shape, data: floats(values) }
}

/** A correct file of these tensors, in this order. */
export function safetensors(tensors: Readonly<Record<string, FakeTensor>>): Buffer {
  let offset = 0
  const header = Object.entries(tensors).map(([name, { dtype, shape, data }]) => {
    const begin = offset
    offset += data.length
    return [name, { dtype, shape, data_offsets: [begin, offset] }]
  })
  const data = Buffer.concat(Object.values(tensors).map((tensor) => tensor.data))
  return rawSafetensors(JSON.stringify(Object.fromEntries(header)), data)
}

/** Whatever header and data, right or wrong. */
export function rawSafetensors(header: string | Uint8Array, data: Uint8Array, length?: bigint): Buffer {
  const bytes = Buffer.from(header)
  return Buffer.concat([long(length ?? BigInt(bytes.length)), bytes, data])
}
