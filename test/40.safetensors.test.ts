import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { WinnowError } from '../src/errors.js'
import { readSafetensors, readTensor } from '../src/sources/safetensors.js'
import type { SourceFile } from '../src/sources/source.js'
import { parseStrictJson } from '../src/sources/strict-json.js'
import { badSafetensors } from './fakes/bad-safetensors.js'
import { type FakeTensor, f32, rawSafetensors, safetensors } from './fakes/safetensors.js'

/** A file in memory that notes what was read of it. */
function fileOf(bytes: Uint8Array): SourceFile & { reads: [number, number][] } {
  const reads: [number, number][] = []
  return {
    path: 'model.safetensors',
    size: bytes.length,
    reads,
    async read(begin, end) {
      reads.push([begin, end])
      if (begin < 0 || end < begin || end > bytes.length) throw new RangeError(`${begin} to ${end} of ${bytes.length}`)
      return bytes.subarray(begin, end)
    }
  }
}

const codes = (dtype: string, bytes: number, values: readonly number[]): FakeTensor => {
  const data = Buffer.alloc(values.length * bytes)
  values.forEach((value, i) => void data.writeUIntLE(value, i * bytes, bytes))
  return { dtype, shape: [values.length], data }
}

async function valuesOf(tensor: FakeTensor): Promise<number[]> {
  const file = fileOf(safetensors({ before: f32([3], [7, 7, 7]), it: tensor, after: f32([1], [9]) }))
  const tensors = await readSafetensors(file)
  return [...(await readTensor(file, 'it', tensors.get('it') as never))]
}

describe('a safetensors file', () => {
  it('gives the numbers of an F32 tensor as they are', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.float(), { maxLength: 20 }), async (values) => {
        expect(await valuesOf(f32([values.length], values))).toEqual(values)
      })
    )
  })

  it('gives F16 exactly: normal, subnormal, largest, infinite, signed zero', async () => {
    const halves = [0x3c00, 0xc000, 0x7bff, 0x0001, 0x83ff, 0x0400, 0x3555, 0x7c00, 0xfc00, 0x8000, 0x7e00]
    const expected = [1, -2, 65504, 2 ** -24, -1023 * 2 ** -24, 2 ** -14, 0.333251953125, 1 / 0, -1 / 0, -0, Number.NaN]
    expect(await valuesOf(codes('F16', 2, halves))).toEqual(expected)
  })

  it('gives BF16 exactly: the upper half of the same number in 32 bits', async () => {
    const uppers = [0x3f80, 0xc000, 0x3eab, 0x7f80, 0x0001, 0x7f7f, 0xffc0]
    const expected = [1, -2, 0.333984375, 1 / 0, 2 ** -133, 255 * 2 ** 120, Number.NaN]
    expect(await valuesOf(codes('BF16', 2, uppers))).toEqual(expected)
  })

  it('rounds F64 to 32 bits', async () => {
    const data = Buffer.alloc(24)
    data.writeDoubleLE(0.1, 0)
    data.writeDoubleLE(-2, 8)
    data.writeDoubleLE(1e300, 16)
    expect(await valuesOf({ dtype: 'F64', shape: [3], data })).toEqual([Math.fround(0.1), -2, 1 / 0])
  })

  it('refuses to read a type it cannot convert, and says which it can', async () => {
    await expect(valuesOf({ dtype: 'F8_E4M3', shape: [2], data: Buffer.alloc(2) })).rejects.toMatchObject({
      code: 'HEAD_UNSUPPORTED',
      message: 'Expected F32, F16, BF16 or F64 for tensor "it" in model.safetensors but received F8_E4M3'
    })
  })

  it('is not read beyond its header until a tensor is asked for, and then only that one', async () => {
    const bytes = safetensors({ big: f32([1000], Array(1000).fill(1)), small: f32([1, 2], [3, 4]) })
    const file = fileOf(bytes)
    const tensors = await readSafetensors(file)
    const header = bytes.length - 4008
    expect(file.reads).toEqual([
      [0, 8],
      [8, header]
    ])
    expect(tensors.get('small')).toEqual({ dtype: 'F32', shape: [1, 2], begin: header + 4000, end: header + 4008 })
    await readTensor(file, 'small', tensors.get('small') as never)
    expect(file.reads.at(-1)).toEqual([header + 4000, header + 4008])
  })

  it.each([
    ['trailing spaces', '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}     ', 1],
    ['metadata', '{"__metadata__":{"format":"pt"},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', 1],
    ['a scalar', '{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}', 4],
    [
      'an empty tensor',
      '{"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"F32","shape":[0,9],"data_offsets":[0,0]}}',
      1
    ],
    ['types of half a byte', '{"a":{"dtype":"F4","shape":[2],"data_offsets":[0,1]}}', 1],
    ['names that mean something to JavaScript', '{"__proto__":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', 1],
    ['no tensors', '{}', 0]
  ])('may have %s', async (_, header, data) => {
    const tensors = await readSafetensors(fileOf(rawSafetensors(header, Buffer.alloc(data))))
    expect(tensors.size).toBe((header.match(/dtype/g) ?? []).length)
  })
})

describe('a bad safetensors file is refused with a sentence', () => {
  it.each(badSafetensors)('%s', async (_, bytes, received) => {
    const error = await readSafetensors(fileOf(bytes)).then(
      () => null,
      (reason: WinnowError) => reason
    )
    expect(error).toMatchObject({ code: 'SAFETENSORS_CORRUPT' })
    expect(error?.message).toMatch(/^Expected a safetensors file in model\.safetensors but received /)
    expect(error?.message).toContain(received)
    expect(error?.message.length).toBeLessThan(250)
  })

  const outcome = async (bytes: Uint8Array) => {
    const file = fileOf(bytes)
    try {
      const tensors = await readSafetensors(file)
      for (const [name, tensor] of tensors) await readTensor(file, name, tensor)
      return 'read'
    } catch (error) {
      // A RangeError of the file would mean a read outside it.
      if (!WinnowError.is(error)) throw error
      return error.code
    }
  }

  it('whatever the bytes', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), fc.boolean(), async (bytes, asHeader) => {
        const file = asHeader ? rawSafetensors(bytes, Buffer.alloc(8)) : bytes
        expect(['SAFETENSORS_CORRUPT', 'read']).toContain(await outcome(file))
      }),
      { numRuns: 2000 }
    )
  })

  it('whatever JSON the header is', async () => {
    const size = fc.oneof(fc.nat(40), fc.integer(), fc.double(), fc.constant(null))
    const tensor = fc.record(
      {
        dtype: fc.constantFrom('F32', 'F16', 'BF16', 'F64', 'U8', 'F4', 'X', 7),
        shape: fc.oneof(fc.array(size, { maxLength: 3 }), fc.jsonValue()),
        data_offsets: fc.oneof(fc.array(size, { maxLength: 3 }), fc.jsonValue())
      },
      { requiredKeys: [] }
    )
    const header = fc.dictionary(fc.string(), fc.oneof(tensor, fc.jsonValue()), { maxKeys: 4 })
    await fc.assert(
      fc.asyncProperty(header, fc.nat(40), async (value, length) => {
        const file = rawSafetensors(JSON.stringify(value), Buffer.alloc(length))
        expect(['SAFETENSORS_CORRUPT', 'HEAD_UNSUPPORTED', 'read']).toContain(await outcome(file))
      }),
      { numRuns: 2000 }
    )
  })

  it('whatever is changed in a good one', async () => {
    const good = safetensors({ a: f32([2, 2], [1, 2, 3, 4]), b: f32([3], [5, 6, 7]) })
    const change = fc.tuple(fc.nat(good.length - 1), fc.nat(255))
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), fc.nat(good.length), async (changes, cut) => {
        const bad = Buffer.from(good)
        for (const [at, value] of changes) bad[at] = value
        expect(['SAFETENSORS_CORRUPT', 'HEAD_UNSUPPORTED', 'read']).toContain(await outcome(bad))
        expect(await outcome(good.subarray(0, cut))).toBe(cut === good.length ? 'read' : 'SAFETENSORS_CORRUPT')
      }),
      { numRuns: 2000 }
    )
  })
})

describe('strict JSON', () => {
  it('reads what the language reads, where no key comes twice', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 5 }), fc.constantFrom(0, 2), (value, indent) => {
        const text = JSON.stringify(value, null, indent)
        expect(parseStrictJson(text, 20)).toEqual(JSON.parse(text))
      })
    )
  })

  it('refuses any object in which a key comes twice', () => {
    fc.assert(
      fc.property(fc.string(), fc.jsonValue(), fc.jsonValue(), (key, one, another) => {
        const quoted = JSON.stringify(key)
        const escaped = `"${[...key].map((c) => ([...c].length === 1 && c.length === 1 ? `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}` : c)).join('')}"`
        const text = `[{${quoted}:${JSON.stringify(one)},"other key":0, ${escaped} :${JSON.stringify(another)}}]`
        expect(() => parseStrictJson(text, 20)).toThrow(/ twice$/)
      })
    )
  })

  it('takes the same key in different objects, and texts that look like keys', () => {
    expect(parseStrictJson('{"a":{"a":1},"b":[{"a":1},{"a":2}],"c":["d:","d:"],"e":"\\"a\\":"}', 20)).toBeTypeOf(
      'object'
    )
  })

  it('takes a million keys, and not one more', () => {
    const text = (keys: number) => `{${Array.from({ length: keys }, (_, i) => `"${i}":0`).join(',')}}`
    expect(parseStrictJson(text(1_000_000), 1)).toHaveProperty('999999')
    expect(() => parseStrictJson(text(1_000_001), 1)).toThrow('JSON of more than 1000000 keys')
  })

  it('takes a hundred thousand nested brackets for what they are, at once', () => {
    expect(() => parseStrictJson('[{"a":'.repeat(1e5), 64)).toThrow('JSON nested more than 64 deep')
  })
})
