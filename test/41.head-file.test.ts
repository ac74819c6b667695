import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gguf as readGguf } from '@huggingface/gguf'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadBinding, type NativeHead } from '../src/binding.js'
import { type HeadContent, headFileParts, writeHeadFile } from '../src/heads/file.js'
import { badHeads, goodLinear, goodMlp } from './fakes/bad-heads.js'
import { gguf } from './fakes/gguf.js'

const { binding } = loadBinding()
let folder = ''
const at = (name: string) => join(folder, name)
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'winnow-head-file-'))
})
afterAll(() => rm(folder, { recursive: true }))

const linear: HeadContent = {
  width: 3,
  features: [],
  inner: null,
  activation: 'silu',
  outer: { weight: Float32Array.of(1, 2, -3), bias: Float32Array.of(0.5) },
  trainedOn: 'hf:org/judge@0123, "größer"',
  modelSha256: ''
}

async function loaded(content: HeadContent): Promise<NativeHead> {
  await writeHeadFile(at('head.gguf'), content)
  return binding.loadHead(at('head.gguf'))
}

const noFeatures = (rows: number) => new Float32Array(rows * binding.featureNames.length)

describe('a written head', () => {
  it('is loaded by the addon with what was written', async () => {
    const head = await loaded(linear)
    expect(head.facts).toMatchObject({ kind: 'linear', width: 3, hidden: 0, features: [], modelSha256: '' })
    expect(head.facts.trainedOn).toBe(linear.trainedOn)
    expect([...head.apply(Float32Array.of(1, 1, 1, 2, 0, 1), noFeatures(2))]).toEqual([0.5, -0.5])
  })

  it('gives what its layers and features say, with either activation', async () => {
    const numbers = (length: number) =>
      fc.array(fc.float({ min: -2, max: 2, noNaN: true }), { minLength: length, maxLength: length })
    const content = fc
      .record({
        width: fc.integer({ min: 1, max: 12 }),
        hidden: fc.nat(5),
        named: fc.subarray([...binding.featureNames])
      })
      .chain(({ width, hidden, named }) => {
        const inputs = width + named.length
        return fc.record({
          width: fc.constant(width),
          hidden: fc.constant(hidden),
          activation: fc.constantFrom('silu' as const, 'relu' as const),
          features: fc.tuple(
            ...named.map((name) =>
              fc.tuple(
                fc.constant(name),
                fc.float({ min: -1, max: 1, noNaN: true }),
                fc.float({ min: 0.5, max: 2, noNaN: true })
              )
            )
          ),
          first: numbers(inputs * Math.max(hidden, 1)),
          firstBias: numbers(Math.max(hidden, 1)),
          second: numbers(hidden),
          secondBias: numbers(1),
          row: numbers(inputs)
        })
      })
    await fc.assert(
      fc.asyncProperty(
        content,
        async ({ width, hidden, activation, features, first, firstBias, second, secondBias, row }) => {
          const layers = [
            { weight: Float32Array.from(first), bias: Float32Array.from(firstBias) },
            { weight: Float32Array.from(second), bias: Float32Array.from(secondBias) }
          ] as const
          const head = await loaded({
            width,
            features: features.map(([name, mean, std]) => ({ name, mean, std })),
            inner: hidden === 0 ? null : layers[0],
            activation,
            outer: hidden === 0 ? layers[0] : layers[1],
            trainedOn: 'a test',
            modelSha256: 'ab'
          })
          expect(head.facts).toMatchObject({ hidden, features: features.map(([name]) => name), modelSha256: 'ab' })
          const given = new Float32Array(binding.featureNames.length)
          const inputs = row.slice(0, width)
          features.forEach(([name, mean, std], i) => {
            given[binding.featureNames.indexOf(name)] = row[width + i] as number
            inputs.push(((row[width + i] as number) - mean) / std)
          })
          const act = (x: number) => (activation === 'relu' ? Math.max(0, x) : x / (1 + Math.exp(-x)))
          const units = firstBias.map((bias, unit) =>
            inputs.reduce((sum, x, i) => sum + x * (first[unit * inputs.length + i] as number), bias)
          )
          const output =
            hidden === 0
              ? (units[0] as number)
              : units.reduce((sum, x, i) => sum + act(x) * (second[i] as number), secondBias[0] as number)
          expect(head.apply(Float32Array.from(row.slice(0, width)), given)[0]).toBeCloseTo(output, 3)
        }
      ),
      { numRuns: 40 }
    )
  })

  it('with a line by position gives that line of its logits', async () => {
    const logTokens = (tokens: number) => {
      const features = noFeatures(1)
      features[binding.featureNames.indexOf('log_tokens')] = Math.log(1 + tokens)
      return features
    }
    const head = await loaded({
      ...linear,
      features: [{ name: 'log_tokens', mean: 0, std: 1 }],
      outer: { weight: Float32Array.of(1, 2, -3, 0), bias: Float32Array.of(0.5) },
      position: { logTokens: [Math.log(11), Math.log(111)], scale: [2, 4], bias: [-1, 3] }
    })
    const score = (tokens: number) => head.apply(Float32Array.of(1, 1, 1), logTokens(tokens))[0]
    // The logit is 0.5.
    expect(score(1)).toBeCloseTo(0, 5)
    expect(score(10)).toBeCloseTo(0, 5)
    expect(score(Math.sqrt(11 * 111) - 1)).toBeCloseTo(2.5, 5)
    expect(score(110)).toBeCloseTo(5, 5)
    expect(score(5000)).toBeCloseTo(5, 5)
    const { metadata } = await readGguf(at('head.gguf'), { allowLocalFile: true })
    expect(metadata).toMatchObject({ 'winnow.head.version': 2, 'winnow.head.position_scale': [2, 4] })
  })

  it('without one is a file of version 1, which earlier releases read', async () => {
    await writeHeadFile(at('one.gguf'), { ...linear, position: null })
    const { metadata } = await readGguf(at('one.gguf'), { allowLocalFile: true })
    expect(metadata).toMatchObject({ 'winnow.head.version': 1 })
    expect(Object.keys(metadata).filter((key) => key.includes('position'))).toEqual([])
  })

  it('is a GGUF to another reader too, every tensor aligned', async () => {
    await writeHeadFile(at('mlp.gguf'), {
      ...linear,
      inner: { weight: Float32Array.of(1, 2, 3, 4, 5, 6), bias: Float32Array.of(7, 8) },
      outer: { weight: Float32Array.of(9, 10), bias: Float32Array.of(11) }
    })
    const { metadata, tensorInfos, tensorDataOffset } = await readGguf(at('mlp.gguf'), { allowLocalFile: true })
    expect(metadata).toMatchObject({
      'general.architecture': 'winnow-head',
      'winnow.head.hidden': 2,
      'winnow.head.kind': 'mlp'
    })
    expect(tensorInfos.map(({ name, shape, offset }) => [name, shape.map(Number), Number(offset)])).toEqual([
      ['head.0.weight', [3, 2], 0],
      ['head.0.bias', [2], 32],
      ['head.1.weight', [2, 1], 64],
      ['head.1.bias', [1], 96]
    ])
    const bytes = await readFile(at('mlp.gguf'))
    expect(bytes.readFloatLE(Number(tensorDataOffset) + 20)).toBe(6)
    expect(bytes.readFloatLE(Number(tensorDataOffset) + 96)).toBe(11)
  })

  it('is the same bytes each time', () => {
    expect(Buffer.concat(headFileParts(linear))).toEqual(Buffer.concat(headFileParts({ ...linear })))
  })
})

describe('writing a head', () => {
  it.each([
    ['no width', { width: 0 }, 'Expected a whole number from 1 to 1048576 for the width of a head but received 0'],
    ['too few weights', { width: 4 }, 'Expected 4 weights for the outer layer of a head but received 3'],
    [
      'two outputs',
      { outer: { weight: new Float32Array(6), bias: new Float32Array(2) } },
      'Expected one output for the last layer'
    ],
    [
      'a weight that is not a number',
      { outer: { weight: Float32Array.of(1, Number.NaN, 1), bias: new Float32Array(1) } },
      'received "NaN at position 1"'
    ],
    [
      'an infinite bias',
      { outer: { weight: new Float32Array(3), bias: Float32Array.of(1 / 0) } },
      'received "Infinity at position 0"'
    ],
    [
      'no units',
      { inner: { weight: new Float32Array(0), bias: new Float32Array(0) } },
      'the outputs of the inner layer of a head but received 0'
    ],
    [
      'a deviation of 0',
      { features: [{ name: 'log_tokens', mean: 0, std: 0 }] },
      'feature log_tokens of a head but received "0, 0"'
    ],
    [
      'no knots',
      { position: { logTokens: [], scale: [], bias: [] } },
      'Expected a scale and a bias each for the positions'
    ],
    ['knots out of order', { position: { logTokens: [2, 1], scale: [1, 1], bias: [0, 0] } }, 'received "2, 1"'],
    [
      'a scale below 0',
      { position: { logTokens: [1], scale: [-1], bias: [0] } },
      'Expected finite and positive scales'
    ],
    [
      'an infinite bias by position',
      { position: { logTokens: [1], scale: [1], bias: [1e39] } },
      'Expected finite biases'
    ],
    [
      'positions without their feature',
      { position: { logTokens: [1], scale: [1], bias: [0] } },
      'Expected the feature log_tokens for the positions of a head'
    ],
    ['a mean beyond 32 bits', { features: [{ name: 'log_tokens', mean: 1e39, std: 1 }] }, 'feature log_tokens']
  ])('is refused for %s, and nothing is left', async (_, change, sentence) => {
    const error = await writeHeadFile(at('bad.gguf'), { ...linear, ...change }).then(
      () => null,
      (reason: Error) => reason
    )
    expect(error).toMatchObject({ code: 'HEAD_CORRUPT' })
    expect(error?.message).toContain(sentence)
    expect((await readdir(folder)).filter((name) => name.startsWith('bad'))).toEqual([])
  })

  it('into a folder that is not there says so', async () => {
    await expect(writeHeadFile(at('nowhere/head.gguf'), linear)).rejects.toMatchObject({ code: 'WRITE_FAILED' })
  })

  it('over a folder says so and leaves nothing beside it', async () => {
    await mkdir(at('taken.gguf'))
    await expect(writeHeadFile(at('taken.gguf'), linear)).rejects.toMatchObject({ code: 'WRITE_FAILED' })
    expect((await readdir(folder)).filter((name) => name.startsWith('taken'))).toEqual(['taken.gguf'])
  })

  it('that is aborted leaves the file that was there', async () => {
    await writeFile(at('old.gguf'), 'old')
    const reason = new Error('enough')
    await expect(writeHeadFile(at('old.gguf'), linear, AbortSignal.abort(reason))).rejects.toBe(reason)
    expect(await readFile(at('old.gguf'), 'utf8')).toBe('old')
    expect((await readdir(folder)).filter((name) => name.startsWith('old'))).toEqual(['old.gguf'])
  })
})

describe('the addon refuses a bad head file with a sentence', () => {
  const refusal = async (path: string) =>
    binding.loadHead(path).then(
      () => null,
      (reason: Error & { code: string }) => reason
    )

  it.each([
    ['linear', goodLinear],
    ['mlp', goodMlp]
  ])('and takes the good %s one that the bad ones are made of', async (kind, good) => {
    await writeFile(at('good.gguf'), gguf(good))
    expect((await binding.loadHead(at('good.gguf'))).facts).toMatchObject({ kind, trainedOn: 'a test' })
  })

  it.each(badHeads)('%s', async (_, bytes, received) => {
    await writeFile(at('bad-head.gguf'), bytes)
    const error = await refusal(at('bad-head.gguf'))
    expect(error).toMatchObject({ code: 'HEAD_CORRUPT' })
    expect(error?.message).toContain(`Expected a Winnow head in '${at('bad-head.gguf')}' but received `)
    expect(error?.message).toContain(received)
  })

  it.each([
    ['a folder', '.'],
    ['no file', 'none.gguf'],
    ['a name with a zero in it', 'head\0.gguf']
  ])('%s', async (_, name) => {
    expect(await refusal(at(name))).toMatchObject({ code: 'HEAD_NOT_FOUND' })
  })

  it('cut off anywhere', async () => {
    const good = gguf(goodLinear)
    // Behind the bias there is only padding.
    for (let length = 0; length < good.length - 28; length++) {
      await writeFile(at('cut.gguf'), good.subarray(0, length))
      expect(await refusal(at('cut.gguf')), `${length} bytes`).toMatchObject({ code: 'HEAD_CORRUPT' })
    }
  })

  it('whatever is changed in a good one', async () => {
    const good = gguf(goodMlp)
    const change = fc.tuple(fc.nat(good.length - 1), fc.nat(255))
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 3 }), async (changes) => {
        const bad = Buffer.from(good)
        for (const [position, byte] of changes) bad[position] = byte
        await writeFile(at('changed.gguf'), bad)
        const error = await refusal(at('changed.gguf'))
        if (error !== null) expect(error).toMatchObject({ code: 'HEAD_CORRUPT' })
      }),
      { numRuns: 400 }
    )
  })

  it('whatever the bytes', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), fc.boolean(), async (bytes, named) => {
        await writeFile(at('random.gguf'), named ? Buffer.concat([Buffer.from('GGUF\x03\0\0\0'), bytes]) : bytes)
        expect(await refusal(at('random.gguf'))).toMatchObject({ code: 'HEAD_CORRUPT' })
      }),
      { numRuns: 300 }
    )
  })
})
