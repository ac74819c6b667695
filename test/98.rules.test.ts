import { afterAll, describe, expect, it } from 'vitest'
import { example } from '../src/embedded.js'
import { open } from '../src/engine.js'
import type { WinnowError } from '../src/errors.js'

const engine = await open(undefined, { threads: 1, gpu: 'cpu' })
afterAll(() => engine.close())
const options = { seed: 3, maxTokens: 200, deterministic: true }
const plain = await engine.bestOf(8, example.prompt, options)

describe('a stop text', () => {
  it('ends an answer wherever its tokens part, and is no part of it', async () => {
    const stop = ['. In ', ' = 1']
    const { branches } = await engine.bestOf(8, example.prompt, { ...options, sampling: { stop } })
    let stopped = 0
    for (const { id, text, status } of branches) {
      const whole = plain.branches[id]?.text as string
      const found = stop.map((each) => whole.indexOf(each)).filter((at) => at >= 0)
      const first = found.length === 0 ? whole.length : Math.min(...found)
      expect(text).toBe(whole.slice(0, first))
      if (found.length === 0) continue
      expect(status).toEqual({ state: 'finished', reason: 'stop' })
      stopped++
    }
    expect(stopped).toBeGreaterThan(4)
  })

  it('that never comes changes nothing', async () => {
    const { branches } = await engine.bestOf(8, example.prompt, { ...options, sampling: { stop: 'zebra' } })
    expect(branches.map(({ text, score }) => [text, score])).toEqual(
      plain.branches.map(({ text, score }) => [text, score])
    )
  })
})

describe('a grammar', () => {
  it('is kept by every answer', async () => {
    const grammar = 'root ::= "The answer is " [0-9] [0-9]? "."'
    const { branches } = await engine.bestOf(8, example.prompt, { ...options, sampling: { grammar } })
    for (const { text, status } of branches) {
      expect(text).toMatch(/^The answer is \d\d?\.$/)
      expect(status).toEqual({ state: 'finished', reason: 'end' })
    }
  })

  it('may be a JSON schema', async () => {
    const jsonSchema = {
      type: 'object',
      properties: { right: { type: 'boolean' }, steps: { enum: ['one', 'two'] } }
    } as const
    const { branches } = await engine.bestOf(4, example.prompt, { ...options, sampling: { jsonSchema } })
    for (const { text } of branches) {
      const value = JSON.parse(text) as { right: unknown; steps: unknown }
      expect(typeof value.right).toBe('boolean')
      expect(['one', 'two']).toContain(value.steps)
    }
  })

  it('that cannot be read is refused with its place', async () => {
    const failure = await engine
      .bestOf(2, example.prompt, { sampling: { grammar: 'root ::= "a' } })
      .catch((error: WinnowError) => error)
    expect(failure).toMatchObject({ code: 'GRAMMAR_INVALID' })
    // And the engine goes on.
    expect((await engine.bestOf(2, example.prompt, options)).branches[1]?.text).toBe(plain.branches[1]?.text)
  })

  it('excludes a schema', async () => {
    const sampling = { grammar: 'root ::= "a"', jsonSchema: { type: 'string' } } as const
    await expect(engine.bestOf(2, example.prompt, { sampling })).rejects.toThrow('not both')
  })
})

describe('biases and penalties', () => {
  it('forbid a token altogether', async () => {
    const token = plain.branches[0]?.tokens[3] as number
    const { branches } = await engine.bestOf(8, example.prompt, {
      ...options,
      sampling: { logitBias: { [token]: false } }
    })
    for (const { tokens } of branches) expect(tokens).not.toContain(token)
    expect(branches.some(({ tokens }) => tokens.length > 5)).toBe(true)
  })

  it('change what is written, the same way each time', async () => {
    const sampling = { repeatPenalty: 1.3, dryMultiplier: 0.8 }
    const runs = []
    for (let i = 0; i < 2; i++) runs.push(await engine.bestOf(4, example.prompt, { ...options, sampling }))
    const texts = runs.map(({ branches }) => branches.map(({ text }) => text))
    expect(texts[0]).toEqual(texts[1])
    expect(texts[0]).not.toEqual(plain.branches.slice(0, 4).map(({ text }) => text))
  })
})

it('races with rules and races without share a batch', async () => {
  const grammar = 'root ::= [a-z ]+ "."'
  const [ruled, free] = await Promise.all([
    engine.bestOf(4, example.prompt, { ...options, sampling: { grammar } }),
    engine.bestOf(8, example.prompt, options)
  ])
  for (const { text } of ruled.branches) expect(text).toMatch(/^[a-z ]+\.?$/)
  expect(free.branches.map(({ text }) => text)).toEqual(plain.branches.map(({ text }) => text))
})
