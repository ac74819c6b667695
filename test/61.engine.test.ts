import { describe, expect, it } from 'vitest'
import type { WinnowError } from '../src/errors.js'
import { fakeEngine } from './fakes/engine.js'

const tens = { length: () => 10 }
const failure = (promise: Promise<unknown>): Promise<WinnowError> =>
  promise.then(
    () => Promise.reject(new Error('it resolved')),
    (error: WinnowError) => error
  )

describe('the engine', () => {
  it('serves calls made at the same time together, in one pool', async () => {
    const { engine, pools } = fakeEngine({ ...tens, stepMs: 1 })
    const alone = await engine.bestOf(8, 'hi')
    const results = await Promise.all([1, 2, 3].map((n) => engine.bestOf(n, 'hi')))
    expect(results.map(({ branches }) => branches.length)).toEqual([1, 2, 3])
    for (const { branches } of results) {
      for (const { id, text, score } of branches) expect([text, score]).toEqual([alone.branches[id]?.text, id])
    }
    expect(pools).toHaveLength(1)
    expect(pools[0]?.calls).toContain('advance 512 512 512')
  })

  it('lets a caller leave the queue without disturbing the others', async () => {
    const { engine } = fakeEngine({ ...tens, stepMs: 2 })
    const reason = new Error('left')
    const controller = new AbortController()
    const first = engine.bestOf(1, 'hi')
    const second = failure(engine.bestOf(2, 'hi', { signal: controller.signal }))
    const third = engine.bestOf(3, 'hi')
    controller.abort(reason)
    expect(await second).toBe(reason)
    expect((await first).branches).toHaveLength(1)
    expect((await third).branches).toHaveLength(3)
  })

  it('counts the wait in the queue against a deadline', async () => {
    const { engine } = fakeEngine({ ...tens, stepMs: 10 })
    const [, second] = await Promise.all([engine.bestOf(1, 'hi'), engine.bestOf(1, 'hi', { deadlineMs: 30 })])
    expect(second).toMatchObject({ reason: 'deadline', winner: null })
  })

  it('keeps one pool while it is large enough, and grows it when it is not', async () => {
    const { engine, pools } = fakeEngine(tens)
    await engine.bestOf(8, 'hi', { maxTokens: 100 })
    await engine.bestOf(4, 'hello', { maxTokens: 50 })
    expect(pools).toHaveLength(1)
    await engine.bestOf(4, 'hi', { maxTokens: 600 })
    expect(pools.map(({ params }) => [params.streams, params.cellsPerStream])).toEqual([
      [8, 256],
      [8, 768]
    ])
    expect(pools[0]?.closed).toBe(true)
  })

  it('scores answers that somebody else wrote, texts or tokens', async () => {
    const { engine, pools } = fakeEngine({ ...tens, score: (id, tokens) => 10 * tokens + id })
    const result = await engine.score('hi', ['abc', Int32Array.of(120, 121), ''])
    expect(result.branches.map(({ text, score }) => [text, score])).toEqual([
      ['abc', 30],
      ['xy', 21],
      ['', 2]
    ])
    expect(result).toMatchObject({ text: 'abc', reason: 'settled', policy: 'best-of-n' })
    expect(pools[0]?.calls).toEqual(['prefill 3', 'fork 3', 'advance 512', 'score 0 1 2'])
    expect((await engine.score('hi', ['abcdef'], { maxTokens: 4 })).winner?.status).toEqual({
      state: 'finished',
      reason: 'length'
    })
    for (const wrong of [7, ['a', 7], 'abc'])
      expect(await failure(engine.score('hi', wrong as never))).toMatchObject({ code: 'ANSWERS_INVALID' })
    expect(await failure(engine.score('hi', []))).toMatchObject({ code: 'OPTION_INVALID' })
  })

  it('closes the pool, then the head, then the model, once, and ends what runs', async () => {
    const { engine, pools, head, model } = fakeEngine({ length: () => 500, stepMs: 5 })
    const running = failure(engine.bestOf(2, 'hi'))
    const waiting = failure(engine.bestOf(2, 'hi'))
    await new Promise((resolve) => setTimeout(resolve, 20))
    const closing = engine.close()
    expect(engine.close()).toBe(closing)
    expect((await running).code).toBe('ENGINE_CLOSED')
    expect((await waiting).code).toBe('ENGINE_CLOSED')
    await closing
    expect([pools[0]?.closed, head?.closed, model.closed]).toEqual([true, true, true])
    expect(await failure(engine.bestOf(1, 'hi'))).toMatchObject({
      code: 'ENGINE_CLOSED',
      message: 'Expected an open engine but received one that was closed'
    })
  })

  it('is disposed of by closing', async () => {
    const { engine, model } = fakeEngine(tens)
    await engine[Symbol.asyncDispose]()
    expect(model.closed).toBe(true)
  })

  it('keeps the code of a native error, leads its stack to the caller, and uses another pool afterwards', async () => {
    const script = { ...tens, fail: { operation: 'advance', code: 'DECODE_FAILED' } as const }
    const { engine, pools } = fakeEngine(script)
    const error = await failure(engine.bestOf(1, 'hi'))
    expect(error).toMatchObject({ code: 'DECODE_FAILED', retryable: true, name: 'WinnowError' })
    expect(error.cause).toBeInstanceOf(Error)
    expect(error.stack).toContain('61.engine.test.ts')
    await failure(engine.bestOf(1, 'hi'))
    expect(pools.map(({ closed }) => closed)).toEqual([true, true])
  })

  it('tells of its model and head, and turns tokens into text', async () => {
    const { engine } = fakeEngine(tens)
    expect(engine.model.contextTrain).toBe(1024)
    expect(engine.head?.width).toBe(8)
    expect(await engine.text(Int32Array.of(104, 105))).toBe('hi')
  })
})

describe('bad input is refused with a sentence, and the engine lives on', () => {
  it.each([
    [0, '0'],
    [4097, '4097'],
    [1e9, '1000000000'],
    [Number.NaN, 'NaN'],
    [1.5, '1.5'],
    [-1, '-1'],
    ['8', '"8"']
  ])('n of %s', async (n, received) => {
    const { engine } = fakeEngine(tens)
    const error = await failure(engine.bestOf(n as number, 'hi'))
    expect(error.message).toBe(`Expected a whole number from 1 to 4096 for n but received ${received}`)
    expect(error.code).toBe('OPTION_INVALID')
    expect((await engine.bestOf(1, 'hi')).reason).toBe('settled')
  })

  it('a prompt longer than the context', async () => {
    const { engine } = fakeEngine(tens, { facts: { contextTrain: 16 } })
    const error = await failure(engine.bestOf(1, 'a text of more than fifteen characters'))
    expect(error.code).toBe('PROMPT_TOO_LONG')
    expect(error.message).toBe(
      "Expected at most 15 tokens for the prompt, the model's context of 16 less one to write, but received 39"
    )
    expect((await engine.bestOf(1, 'short')).reason).toBe('settled')
  })

  it('a model without a tokenizer', async () => {
    const { engine } = fakeEngine(tens, { facts: { hasTokenizer: false } })
    expect((await failure(engine.bestOf(1, 'hi'))).code).toBe('NO_TOKENIZER')
  })
})
