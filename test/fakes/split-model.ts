import { gguf } from '@huggingface/gguf'
import { long } from './gguf.js'

/** What llama.cpp's gguf-split makes of a model of one file: two parts, each with about half of the tensors. */
export async function splitModel(path: string, bytes: Buffer): Promise<[Buffer, Buffer]> {
  const { tensorInfos, tensorDataOffset } = await gguf(path, { allowLocalFile: true })
  const count = tensorInfos.length
  const [{ name = '' } = {}] = tensorInfos
  const values = bytes.subarray(24, bytes.indexOf(Buffer.concat([long(BigInt(name.length)), Buffer.from(name)])))
  const content = bytes.subarray(Number(tensorDataOffset))
  const data = tensorInfos.map(({ offset }, i) =>
    content.subarray(Number(offset), Number(tensorInfos[i + 1]?.offset ?? content.length))
  )
  const part = (index: number, from: number, to: number): Buffer => {
    let next = 0
    const infos = tensorInfos.slice(from, to).map(({ name, shape, dtype }, i) => {
      const own = [text(name), word(shape.length), ...shape.map(long), word(dtype), long(BigInt(next))]
      next += (data[from + i] as Buffer).length
      return Buffer.concat(own)
    })
    const place = [
      ...[text('split.no'), word(2), short(index)],
      ...[text('split.count'), word(2), short(2)],
      ...[text('split.tensors.count'), word(5), word(count)]
    ]
    const known = index === 0 ? bytes.readBigUInt64LE(16) : 0n
    const counts = [long(BigInt(to - from)), long(known + 3n)]
    const header = Buffer.concat([
      bytes.subarray(0, 8),
      ...counts,
      ...(index === 0 ? [values] : []),
      ...place,
      ...infos
    ])
    const gap = Buffer.alloc((32 - (header.length % 32)) % 32)
    return Buffer.concat([header, gap, ...data.slice(from, to)])
  }
  const middle = count >> 1
  return [part(0, 0, middle), part(1, middle, count)]
}

const text = (value: string) => Buffer.concat([long(BigInt(Buffer.byteLength(value))), Buffer.from(value)])

function word(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}

function short(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16LE(value)
  return bytes
}
