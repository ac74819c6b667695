import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { NativeHead, NativeMirror, NativeMirrorRequest, NativeModel } from '../src/binding.js'
import { writeHeadFile } from '../src/heads/file.js'
import { binding, forkParams, load, modelFile, poolParams, Solo, slow, tiny } from './native/models.js'

const path = await modelFile({ ...tiny, weights: 'f32' })
const slowPath = await modelFile(slow)
const prefix = Int32Array.of(1, 70, 80, 90)
const mirrorParams = {
  streams: 8,
  cellsPerStream: 256,
  threads: 1,
  batch: 64,
  kvType: 'f32',
  flashAttention: 'off'
} as const
let model: NativeModel
let slowModel: NativeModel
let head: NativeHead
let slowHead: NativeHead

beforeAll(async () => {
  model = await load(path)
  slowModel = await load(slowPath)
  head = await headOf(model.facts.width)
  slowHead = await headOf(slowModel.facts.width)
})

afterAll(() => {
  for (const opened of [head, slowHead, model, slowModel]) opened.close()
})

/** A linear head without features. */
async function headOf(width: number, features: string[] = []): Promise<NativeHead> {
  const file = join(path, `../head-${width}-${features.length}.gguf`)
  const weight = Float32Array.from({ length: width + features.length }, (_, i) => Math.sin(i))
  await writeHeadFile(file, {
    width,
    features: features.map((name) => ({ name, mean: 0, std: 1 })),
    inner: null,
    activation: 'silu',
    outer: { weight, bias: Float32Array.of(0.5) },
    trainedOn: 'a sine',
    modelSha256: ''
  })
  return binding.loadHead(file)
}

async function startedMirror(count = 8, on = model, streams = 8, cellsPerStream = 256): Promise<NativeMirror> {
  const mirror = await binding.createMirror(on, { ...mirrorParams, streams, cellsPerStream })
  await mirror.prefill(prefix, 0)
  await mirror.fork(count)
  return mirror
}

/** New tokens of branches that keep all they have. */
function request(ids: number[], lengths: number[], texts: number[][], suffix: number[] = []): NativeMirrorRequest {
  const offsets = [0]
  for (const text of texts) offsets.push((offsets.at(-1) as number) + text.length)
  return {
    ids: Int32Array.from(ids),
    keep: Int32Array.from(lengths),
    tokens: Int32Array.from(texts.flat()),
    offsets: Int32Array.from(offsets),
    marks: new Uint8Array(),
    suffix: Int32Array.from(suffix)
  }
}

/** A request that takes the slow model a good while. */
function long(count: number, tokens: number): NativeMirrorRequest {
  const ids = Array.from({ length: count }, (_, id) => id)
  return request(
    ids,
    ids.map(() => prefix.length),
    ids.map(() => new Array(tokens).fill(77))
  )
}

test('scores what a pool wrote as the pool itself does', async () => {
  const pool = new Solo(await binding.createPool(model, { ...poolParams, kvType: 'f32', flashAttention: 'off' }))
  await pool.prefill(prefix, 0)
  await pool.fork({ ...forkParams, stopTokens: new Int32Array() })
  const mirror = await startedMirror()
  const ids = [0, 1, 2, 3, 4, 5, 6, 7]
  let lengths = ids.map(() => prefix.length)
  for (const steps of [5, 1, 9]) {
    const { branches, counts, tokens } = await pool.advance(steps, 0)
    const texts: number[][] = ids.map(() => [])
    let at = 0
    branches.forEach((id, i) => {
      const count = counts[i] as number
      texts[id] = [...tokens.subarray(at, at + count)]
      at += count
    })
    const { reason, scores, marked, decoded, suffixDecoded } = await mirror.score(head, request(ids, lengths, texts), 0)
    lengths = lengths.map((length, id) => length + (texts[id] as number[]).length)
    const own = await pool.score(head, Int32Array.from(ids))
    expect(reason).toBe('reached')
    expect(decoded).toBe(tokens.length)
    expect(suffixDecoded).toBe(0)
    expect(marked).toEqual(new Float32Array())
    scores.forEach((score, id) => {
      expect(score).toBeCloseTo(own[id] as number, 4)
    })
  }
  expect(mirror.occupancy().cellsUsed).toBe(lengths.reduce((sum, length) => sum + length, 0))
  await Promise.all([pool.close(), mirror.close()])
})

test('scores at marks and behind a suffix, and drops branches', async () => {
  const mirror = await startedMirror(3)
  const marked = { ...request([2, 0], [4, 4], [[5, 6, 7], [8]], [9, 10]), marks: Uint8Array.of(0, 1, 1, 0) }
  const first = await mirror.score(head, marked, 0)
  expect([first.scores.length, first.marked.length, first.decoded, first.suffixDecoded]).toEqual([2, 2, 8, 4])
  await mirror.drop(Int32Array.of(0, 1))
  expect(mirror.occupancy()).toMatchObject({ live: 1, streamsUsed: 1, cellsUsed: 7 })
  const second = await mirror.score(head, request([2], [7], [[]]), 0)
  expect(second.decoded).toBe(0)
  expect(second.scores[0]).toBe(first.marked[1])
  await mirror.close()
})

describe('a mirror', () => {
  test('closes twice, and refuses work afterwards', async () => {
    const mirror = await startedMirror()
    await Promise.all([mirror.close(), mirror.close()])
    await mirror.close()
    mirror.abort()
    await expect(mirror.prefill(prefix, 0)).rejects.toMatchObject({
      code: 'CLOSED',
      message: 'Expected an open mirror but received a closed one'
    })
    expect(mirror.occupancy().streams).toBe(8)
  })

  test('outlives the handles of its model and head', async () => {
    const own = await load(path)
    const mirror = await startedMirror(2, own)
    own.close()
    const once = await headOf(model.facts.width)
    const scoring = mirror.score(once, request([0], [4], [[5]]), 0)
    once.close()
    expect((await scoring).scores).toHaveLength(1)
    await mirror.close()
  })

  test('has one job in flight', async () => {
    const mirror = await startedMirror()
    const first = mirror.score(head, request([0], [4], [[5]]), 0)
    await expect(mirror.drop(Int32Array.of(1))).rejects.toMatchObject({ code: 'POOL_BUSY' })
    expect((await first).reason).toBe('reached')
    await mirror.close()
  })

  test('closed while it scores ends the job, then frees', async () => {
    const mirror = await startedMirror(4, slowModel, 4, 1024)
    const order: string[] = []
    const scoring = mirror.score(slowHead, long(4, 1000), 0).then((scores) => {
      order.push('scored')
      return scores
    })
    await new Promise((resolve) => setTimeout(resolve, 50))
    const closing = [mirror.close(), mirror.close()].map((closed) => closed.then(() => order.push('closed')))
    const { reason, scores } = await scoring
    await Promise.all(closing)
    expect(reason).toBe('aborted')
    expect(scores).toHaveLength(0)
    expect(order).toEqual(['scored', 'closed', 'closed'])
  })

  test('aborted while it scores goes on where it was', async () => {
    const mirror = await startedMirror(2, slowModel, 2, 256)
    const scoring = mirror.score(slowHead, long(2, 200), 0)
    setTimeout(() => mirror.abort(), 50)
    const cut = await scoring
    expect(cut.reason).toBe('aborted')
    expect(cut.decoded).toBeLessThan(400)
    const rest = await mirror.score(slowHead, request([0, 1], [204, 204], [[], []]), 0)
    expect(rest.reason).toBe('reached')
    expect(cut.decoded + rest.decoded).toBe(400)
    expect(rest.scores[0]).toBe(rest.scores[1])
    await mirror.close()
  })

  test('out of time says so', async () => {
    const mirror = await startedMirror(4, slowModel, 4, 1024)
    expect((await mirror.score(slowHead, long(4, 1000), 0.05)).reason).toBe('deadline')
    await mirror.close()
  })
})

describe('a wrong argument', () => {
  const wrong = fc.oneof(
    fc.constantFrom(undefined, null, true, Number.NaN, -1, 1.5, '', 1n, Symbol('s'), {}, [], () => {}),
    fc.constantFrom(new Uint8Array(3), Int32Array.of(-1), new Float64Array(2), new ArrayBuffer(8))
  )

  test('is an error and leaves the mirror as it was', async () => {
    const mirror = await startedMirror()
    const methods = [mirror.prefill, mirror.fork, mirror.score, mirror.drop] as unknown as ((
      ...args: unknown[]
    ) => Promise<unknown>)[]
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...methods), fc.array(wrong, { maxLength: 3 }), async (method, args) => {
        await expect((async () => method.call(mirror, ...args))()).rejects.toThrow(/./)
      }),
      { numRuns: 200 }
    )
    await expect((async () => binding.createMirror({} as NativeModel, mirrorParams))()).rejects.toThrow(TypeError)
    expect((await mirror.score(head, request([0], [4], [[5]]), 0)).reason).toBe('reached')
    await mirror.close()
  })

  test.each([
    ['marks', new Int32Array(1), 'Expected a Uint8Array for marks'],
    ['ids', new Uint8Array(1), 'Expected an Int32Array for ids'],
    ['suffix', undefined, 'Expected an Int32Array for suffix']
  ])('of the request is named: %s', async (key, value, sentence) => {
    const mirror = await startedMirror()
    const bad = { ...request([0], [4], [[5]]), [key]: value } as NativeMirrorRequest
    await expect((async () => mirror.score(head, bad, 0))()).rejects.toThrow(sentence)
    await mirror.close()
  })

  test('that the engine refuses has a code', async () => {
    const mirror = await startedMirror(2)
    const code = (bad: Partial<NativeMirrorRequest>, by = head) =>
      expect(mirror.score(by, { ...request([0], [4], [[5]]), ...bad }, 0)).rejects
    await code({ ids: Int32Array.of(2) }).toMatchObject({ code: 'BRANCH_UNKNOWN' })
    await code({ keep: Int32Array.of(5) }).toMatchObject({ code: 'OPTION_INVALID' })
    await code({ tokens: Int32Array.of(100_000) }).toMatchObject({ code: 'TOKEN_INVALID' })
    await code({ suffix: new Int32Array(252) }).toMatchObject({ code: 'CONTEXT_TOO_LONG' })
    await code({}, slowHead).toMatchObject({ code: 'HEAD_WIDTH' })
    const feature = await headOf(model.facts.width, ['mean_logprob'])
    await code({}, feature).toMatchObject({ code: 'HEAD_FEATURES' })
    await expect(mirror.fork(2)).rejects.toMatchObject({ code: 'NOT_PREFILLED' })
    feature.close()
    await mirror.close()
  })
})
