import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { NativeModel, NativePool } from '../src/binding.js'
import { binding, forkParams, load, modelFile, poolParams, Solo, startedPool, tiny } from './native/models.js'

const path = await modelFile(tiny)
let model: NativeModel
let pool: Solo

beforeAll(async () => {
  model = await load(path)
  pool = await startedPool(model)
})

afterAll(async () => {
  await pool.close()
  model.close()
})

/** What a call with wrong arguments came to: thrown at once, or rejected. */
async function failure(call: () => unknown): Promise<{ name: string; code?: string; message: string }> {
  try {
    await call()
  } catch (error) {
    return error as { name: string; message: string }
  }
  throw new Error('the call succeeded')
}

/** Every method with its number of arguments, called with whatever. */
const methods: Record<string, (...args: never[]) => unknown> = {
  loadModel: (...args) => binding.loadModel(...(args as unknown as Parameters<typeof binding.loadModel>)),
  loadHead: (...args) => binding.loadHead(...(args as unknown as Parameters<typeof binding.loadHead>)),
  createPool: (...args) => binding.createPool(...(args as unknown as Parameters<typeof binding.createPool>)),
  writeRandomModel: (...args) =>
    binding.writeRandomModel(...(args as unknown as Parameters<typeof binding.writeRandomModel>)),
  loadBackends: (...args) => binding.loadBackends(...(args as unknown as Parameters<typeof binding.loadBackends>)),
  tokenize: (...args) => model.tokenize(...(args as unknown as Parameters<typeof model.tokenize>)),
  detokenize: (...args) => model.detokenize(...(args as unknown as Parameters<typeof model.detokenize>)),
  tokenText: (...args) => model.tokenText(...(args as unknown as Parameters<typeof model.tokenText>)),
  prefill: (...args) => pool.pool.prefill(...(args as unknown as Parameters<NativePool['prefill']>)),
  fork: (...args) => pool.pool.fork(...(args as unknown as Parameters<NativePool['fork']>)),
  advance: (...args) => pool.pool.advance(...(args as unknown as Parameters<NativePool['advance']>)),
  kill: (...args) => pool.pool.kill(...(args as unknown as Parameters<NativePool['kill']>)),
  score: (...args) => pool.pool.score(...(args as unknown as Parameters<NativePool['score']>)),
  states: (...args) => pool.pool.states(...(args as unknown as Parameters<NativePool['states']>)),
  park: (...args) => pool.pool.park(...(args as unknown as Parameters<NativePool['park']>)),
  resume: (...args) => pool.pool.resume(...(args as unknown as Parameters<NativePool['resume']>)),
  reshape: (...args) => pool.pool.reshape(...(args as unknown as Parameters<NativePool['reshape']>)),
  end: (...args) => pool.pool.end(...(args as unknown as Parameters<NativePool['end']>)),
  confidence: (...args) => pool.pool.confidence(...(args as unknown as Parameters<NativePool['confidence']>))
}

const wrong = fc.oneof(
  fc.constantFrom(undefined, null, true, Number.NaN, -1, 1.5, 1e300, '', 'x', 1n, Symbol('s'), {}, [], () => {}),
  fc.constantFrom(new Uint8Array(3), new Float64Array(2), new BigInt64Array(1), new ArrayBuffer(8), new Date(0)),
  fc.object({ maxDepth: 1 })
)

describe('a wrong argument', () => {
  test.each(Object.entries(methods))('of %s is an error and not the end of the process', async (_name, method) => {
    await fc.assert(
      fc.asyncProperty(fc.array(wrong, { maxLength: 3 }), async (args) => {
        const { message } = await failure(() => method(...(args as never[])))
        expect(message.length).toBeGreaterThan(0)
      }),
      { numRuns: 60 }
    )
  })

  test('is named in the sentence', async () => {
    const { name, message } = await failure(() => binding.createPool(model, { ...poolParams, streams: 2.5 }))
    expect(name).toBe('TypeError')
    expect(message).toBe('Expected an integer from 0 to 2147483647 for streams but received 2.5')
  })

  test('that is a seed out of 64 bits is refused', async () => {
    const fork = (seed: unknown) => failure(() => pool.fork({ ...forkParams, seed: seed as bigint }))
    expect((await fork(7)).message).toContain('BigInt')
    expect((await fork(-1n)).message).toContain('BigInt')
    expect((await fork(2n ** 64n)).message).toContain('BigInt')
  })

  test('that is an array of another element type is refused', async () => {
    const { message } = await failure(() => pool.kill(new Float32Array(2) as unknown as Int32Array))
    expect(message).toContain('Expected an Int32Array for ids')
  })
})

describe('a handle', () => {
  test('of another kind is refused', async () => {
    expect((await failure(() => binding.createPool(pool.pool as unknown as NativeModel, poolParams))).name).toBe(
      'TypeError'
    )
    expect((await failure(() => binding.createPool({} as NativeModel, poolParams))).name).toBe('TypeError')
  })

  test('does not lend its methods to another object', async () => {
    expect((await failure(() => model.tokenize.call(pool.pool as never, 'a', true, true))).name).toBe('TypeError')
    expect((await failure(() => pool.pool.advance.call(model as never, Int32Array.of(1, 1), 0))).name).toBe('TypeError')
    expect((await failure(() => pool.pool.close.call({} as never))).name).toBe('TypeError')
  })

  test('is made by the addon only', async () => {
    for (const handle of [model, pool.pool]) {
      const Class = handle.constructor as new (...args: unknown[]) => unknown
      expect((await failure(() => new Class())).name).toBe('TypeError')
      expect((await failure(() => new Class(1, 2))).name).toBe('TypeError')
    }
  })
})

describe('a call out of order or out of range', () => {
  test('is an error with a code', async () => {
    const fresh = new Solo(await binding.createPool(model, poolParams))
    expect((await failure(() => fresh.fork(forkParams))).code).toBe('RACE_UNKNOWN')
    expect((await failure(() => fresh.prefill(new Int32Array(), 0))).code).toBe('PROMPT_EMPTY')
    expect((await failure(() => fresh.prefill(new Int32Array(256).fill(70), 0))).code).toBe('PROMPT_TOO_LONG')
    expect((await failure(() => fresh.prefill(Int32Array.of(1, 100_000), 0))).code).toBe('TOKEN_INVALID')
    expect((await failure(() => fresh.prefill(Int32Array.of(-1), 0))).code).toBe('TOKEN_INVALID')
    await fresh.prefill(Int32Array.of(1, 70), 0)
    expect((await failure(() => fresh.fork({ ...forkParams, count: 9 }))).code).toBe('STREAMS_FULL')
    await fresh.fork(forkParams)
    expect((await failure(() => fresh.kill(Int32Array.of(99)))).code).toBe('BRANCH_UNKNOWN')
    expect((await failure(() => fresh.states(Int32Array.of(-1)))).code).toBe('BRANCH_UNKNOWN')
    await fresh.close()
  })

  test('leaves the pool as it was', async () => {
    await failure(() => pool.kill(Int32Array.of(99)))
    expect((await pool.advance(2, 0)).steps).toBe(2)
  })

  test.each([0, 257, 100_000])('of %d streams is refused', async (streams) => {
    expect((await failure(() => binding.createPool(model, { ...poolParams, streams }))).code).toBe('OPTION_INVALID')
  })

  test('of tokens or offsets the vocabulary or the array does not have is refused', async () => {
    const at = (tokens: number[], offsets: number[]) =>
      failure(() => model.detokenize(Int32Array.from(tokens), Int32Array.from(offsets), false))
    expect((await at([1, 512], [0, 2])).code).toBe('TOKEN_INVALID')
    expect((await at([1], [0, 2])).name).toBe('TypeError')
    expect((await at([1], [1, 0])).name).toBe('TypeError')
    expect((await at([1], [-1, 1])).name).toBe('TypeError')
    expect(await model.detokenize(new Int32Array(), new Int32Array(), false)).toEqual([])
  })

  test('of a file that is missing or not a GGUF is refused', async () => {
    expect((await failure(() => load('/nowhere/model.gguf'))).code).toBe('MODEL_NOT_FOUND')
    expect((await failure(() => load(new URL(import.meta.url).pathname))).code).toBe('MODEL_CORRUPT')
    expect((await failure(() => binding.loadHead('/nowhere/head.gguf'))).code).toBe('HEAD_NOT_FOUND')
    expect((await failure(() => binding.loadHead(path))).code).toBe('HEAD_CORRUPT')
  })
})

test('bytes that are not UTF-8 come out as U+FFFD', async () => {
  // In the byte tokenizer byte b is token 3 + b: here the first two bytes of a three-byte character.
  const tokens = await model.tokenize('\u20ac', false, false)
  const cut = tokens.subarray(0, tokens.length - 1)
  const [whole, part] = await model.detokenize(
    Int32Array.of(...tokens, ...cut),
    Int32Array.of(0, tokens.length, tokens.length + cut.length),
    false
  )
  expect(whole).toContain('\u20ac')
  expect(part).toContain('\ufffd')
})
