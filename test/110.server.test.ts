/** OpenAI's own client against a listening service on the embedded model. */
import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { type Engine, open } from '../src/engine.js'
import { type Serving, serving } from './fakes/serving.js'

const problem = 'Tom has 12 coins. In May, he finds 7. How many coins does Tom have now?'
const prompt = `<|problem|>${problem}<|solution|>`
const messages = [{ role: 'user' as const, content: problem }]
const model = 'default'
// What OpenAI's types do not know.
const eight: object = { best_of: 8 }
const own = (winnow: object): object => ({ winnow })
/** Nobody ends it, and nobody is killed. */
const hold = { max_tokens: 900, logit_bias: { '1': -100 }, ...own({ policy: 'best-of-n' }) }
const endless = { model, prompt, best_of: 32, ...hold }

let engine: Engine
let serves: Serving
let client: OpenAI
beforeAll(async () => {
  engine = await open(undefined, { threads: 1 })
  serves = await serving({ engine, name: 'arith', shadow: 0 })
  client = serves.client
})
afterAll(async () => {
  await serves[Symbol.asyncDispose]()
  await engine.close()
})

const failure = async (promise: Promise<unknown>): Promise<InstanceType<typeof OpenAI.APIError>> => {
  const error = await promise.then(
    () => null,
    (reason: unknown) => reason
  )
  if (error instanceof OpenAI.APIError) return error
  throw new Error(`it was not refused: ${String(error)}`)
}

describe('the completions endpoint, to the openai client', () => {
  it('races best_of candidates and returns the n best, best first', async () => {
    const answer = await client.completions.create({ model: 'arith', prompt, seed: 1, n: 3, best_of: 8 })
    expect(answer).toMatchObject({ object: 'text_completion', model: 'arith' })
    expect(answer.system_fingerprint).toMatch(/^fp_[0-9a-f]{12}$/)
    expect(answer.choices.map(({ index, finish_reason }) => [index, finish_reason])).toEqual([
      [0, 'stop'],
      [1, 'stop'],
      [2, 'stop']
    ])
    expect(answer.choices[0]?.text).toContain('The answer is')
    const same = await engine.bestOf(8, prompt, { raw: true, seed: 1, deterministic: true })
    expect(answer.choices[0]?.text).toBe(same.text)
    expect(answer).toMatchObject({ winnow: { policy: 'spec-reject', scorer: 'head', candidates: 8, seed: '1' } })
  })

  it('gives the same text for the same seed, whatever else is being written', async () => {
    const ask = () => client.completions.create({ model, prompt, seed: 5, best_of: 4 })
    const alone = await ask()
    const [again] = await Promise.all([ask(), client.completions.create({ model, prompt: `${prompt} ` })])
    expect(again.choices[0]?.text).toBe(alone.choices[0]?.text)
  })

  it('counts the tokens of all candidates, as OpenAI does for best_of', async () => {
    const { usage } = await client.completions.create({ model, prompt, seed: 1, best_of: 4, max_tokens: 5 })
    expect(usage).toMatchObject({ completion_tokens: 20, total_tokens: 20 + (usage?.prompt_tokens ?? 0) })
  })

  it('ends with "length" where max_tokens ended it', async () => {
    const { choices } = await client.completions.create({ model, prompt, max_tokens: 3 })
    expect(choices[0]?.finish_reason).toBe('length')
  })

  it('ends at a stop text, which is not shown', async () => {
    const { choices } = await client.completions.create({ model, prompt, seed: 1, stop: [' answer'] })
    expect(choices[0]).toMatchObject({ finish_reason: 'stop' })
    expect(choices[0]?.text).toMatch(/The$/)
  })

  it('says of each token what its log-probability was, and the tokens are the text', async () => {
    const { choices } = await client.completions.create({ model, prompt, seed: 1, logprobs: 1, stop: '.' })
    const { text, logprobs } = choices[0] as NonNullable<(typeof choices)[0]>
    expect(logprobs?.tokens?.join('')).toBe(text)
    expect(logprobs?.token_logprobs?.every((value) => value <= 0)).toBe(true)
    const placed = logprobs?.tokens?.map((token, i) => text.startsWith(token, logprobs.text_offset?.[i]))
    expect(placed).not.toContain(false)
  })

  it('streams the same text that it gives in one piece', async () => {
    const asked = { model, prompt, seed: 1, best_of: 8 }
    const whole = await client.completions.create(asked)
    const stream = await client.completions.create({ ...asked, stream: true, stream_options: { include_usage: true } })
    let text = ''
    const last = []
    for await (const chunk of stream) {
      text += chunk.choices[0]?.text ?? ''
      last.push(chunk)
    }
    expect(text).toBe(whole.choices[0]?.text)
    expect(last.at(-1)).toMatchObject({ choices: [], usage: whole.usage })
    expect(last.at(-2)?.choices[0]?.finish_reason).toBe('stop')
    expect(last.slice(0, -1).every(({ usage }) => usage === null)).toBe(true)
  })
})

describe('the chat endpoint, to the openai client', () => {
  it('puts the messages into the model’s template', async () => {
    const answer = await client.chat.completions.create({ model, messages, seed: 1, ...eight })
    const raced = await engine.bestOf(8, messages, { seed: 1, deterministic: true })
    expect(answer.object).toBe('chat.completion')
    expect(answer.choices[0]?.message).toMatchObject({ role: 'assistant', content: raced.text })
  })

  it('returns n choices, also where a policy would have kept fewer', async () => {
    const harsh = own({ policy: 'spec-reject', alpha: 0.9, checkpoints: 'every:4', returnBranches: true })
    const answer = await client.chat.completions.create({ model, messages, seed: 1, n: 5, ...eight, ...harsh })
    expect(answer.choices.map(({ index }) => index)).toEqual([0, 1, 2, 3, 4])
    const { branches } = (answer as unknown as { winnow: { branches: { state: string }[] } }).winnow
    expect(branches).toHaveLength(8)
    expect(branches.filter(({ state }) => state === 'killed')).toHaveLength(3)
  })

  it('keeps answers to a JSON schema', async () => {
    const schema = {
      type: 'object',
      properties: { answer: { type: 'string', enum: ['yes', 'no'] } },
      required: ['answer'],
      additionalProperties: false
    }
    const answer = await client.chat.completions.create({
      model,
      messages,
      ...eight,
      response_format: { type: 'json_schema', json_schema: { name: 'answer', schema, strict: true } }
    })
    expect(['yes', 'no']).toContain(JSON.parse(answer.choices[0]?.message.content ?? '').answer)
  })

  it('streams the role first, then text, then why it ended', async () => {
    const stream = await client.chat.completions.create({ model, messages, seed: 1, n: 2, ...eight, stream: true })
    const texts = ['', '']
    const ends: (string | null)[] = []
    let first = true
    for await (const { choices } of stream) {
      if (first) expect(choices[0]?.delta).toMatchObject({ role: 'assistant', content: '' })
      first = false
      for (const { index, delta, finish_reason } of choices) {
        texts[index] += delta.content ?? ''
        if (finish_reason !== null) ends.push(finish_reason)
      }
    }
    const whole = await client.chat.completions.create({ model, messages, seed: 1, n: 2, ...eight })
    expect(texts).toEqual(whole.choices.map(({ message }) => message.content))
    expect(ends).toEqual(['stop', 'stop'])
  })

  it('streams through the helper that puts a message together', async () => {
    const runner = client.chat.completions.stream({ model, messages, seed: 1, logprobs: true, ...eight })
    const { choices } = await runner.finalChatCompletion()
    const tokens = choices[0]?.logprobs?.content ?? []
    expect(tokens.map(({ token }) => token).join('')).toBe(choices[0]?.message.content)
    expect(tokens[0]?.bytes).toEqual([...Buffer.from(tokens[0]?.token ?? '')])
  })

  it('shows the race by named events where it is asked to', async () => {
    const body = {
      model,
      messages,
      seed: 1,
      best_of: 8,
      stream: true,
      winnow: { events: true, checkpoints: 'every:8' }
    }
    const response = await fetch(`${serves.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body)
    })
    const names = [...(await response.text()).matchAll(/^event: (.*)$/gm)].map(([, name]) => name)
    expect(names[0]).toBe('winnow.start')
    expect(new Set(names)).toEqual(new Set(['winnow.start', 'winnow.scores', 'winnow.kills', 'winnow.leader']))
  })

  it('ends at a deadline with the best so far and says so', async () => {
    const late = own({ deadlineMs: 1500, policy: 'best-of-n' })
    const asked = { model, messages, ...hold, best_of: 64, ...late }
    const { choices } = await client.chat.completions.create(asked)
    expect(choices[0]?.finish_reason).toBe('deadline')
    expect(choices[0]?.message.content).not.toBe('')
  })

  it('ends at a token budget with the best so far and says so', async () => {
    const asked = { model, messages, ...eight, ...hold, ...own({ tokenBudget: 40, policy: 'best-of-n' }) }
    const { choices, usage } = await client.chat.completions.create(asked)
    expect(choices[0]?.finish_reason).toBe('budget')
    expect(usage?.completion_tokens).toBeLessThan(8 * 900)
  })
})

describe('the openai client', () => {
  it('lists the model and retrieves it', async () => {
    const { data } = await client.models.list()
    expect(data).toMatchObject([{ id: 'arith', object: 'model', owned_by: 'winnow' }])
    expect(await client.models.retrieve('arith')).toMatchObject({ id: 'arith' })
    expect(await failure(client.models.retrieve('other'))).toMatchObject({ status: 404, code: 'MODEL_UNKNOWN' })
  })

  it('makes its own errors of refusals', async () => {
    const unknown = await failure(client.chat.completions.create({ model, messages, ...{ best_off: 4 } }))
    expect(unknown).toBeInstanceOf(OpenAI.BadRequestError)
    expect(unknown).toMatchObject({ code: 'OPTION_UNKNOWN', param: 'best_off', type: 'invalid_request_error' })
    expect(unknown.message).toContain('did you mean "best_of"?')
    const wide = await failure(client.chat.completions.create({ model, messages, temperature: 3 }))
    expect(wide).toMatchObject({ status: 400, code: 'OPTION_INVALID', param: 'temperature' })
    const long = await failure(client.completions.create({ model, prompt: 'many words '.repeat(2000) }))
    expect(long).toMatchObject({ status: 400, code: 'PROMPT_TOO_LONG' })
    const other = await failure(client.completions.create({ model: 'gpt-4', prompt }))
    expect(other).toBeInstanceOf(OpenAI.NotFoundError)
  })

  it('is refused by a grammar before a stream begins', async () => {
    const schema = { type: 'string', pattern: '^a+$' }
    const format = { type: 'json_schema' as const, json_schema: { name: 'x', schema } }
    const refused = await failure(
      client.chat.completions.create({ model, messages, stream: true, response_format: format })
    )
    expect(refused).toMatchObject({ status: 400, code: 'OPTION_INVALID' })
  })

  it('aborts a stream, and its cells are free', async () => {
    const stream = await client.completions.create({ ...endless, stream: true })
    await vi.waitFor(() => expect(engine.occupancy?.live).toBe(32), { timeout: 10_000, interval: 5 })
    stream.controller.abort()
    await vi.waitFor(() => expect(engine.occupancy?.live).toBe(0), { timeout: 1000, interval: 5 })
  })

  it('aborts a request for one piece, and its cells are free', async () => {
    const abort = new AbortController()
    const answer = client.completions.create(endless, { signal: abort.signal })
    const gone = expect(answer).rejects.toThrow(OpenAI.APIUserAbortError)
    await vi.waitFor(() => expect(engine.occupancy?.live).toBe(32), { timeout: 10_000, interval: 5 })
    abort.abort()
    await gone
    await vi.waitFor(() => expect(engine.occupancy?.live).toBe(0), { timeout: 1000, interval: 5 })
  })
})

describe('the score endpoint', () => {
  it('gives the reward of texts that are there', async () => {
    const answers = ['Tom has 12. In May, 12 + 7 = 19. The answer is 19.', 'Tom has 12. The answer is 5.']
    const response = await fetch(`${serves.url}/v1/score`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model, messages, answers })
    })
    const { data, scorer } = (await response.json()) as { scorer: string; data: { index: number; score: number }[] }
    const { branches } = await engine.score(messages, answers, { deterministic: true })
    expect(scorer).toBe('head')
    expect(data.map(({ score }) => score)).toEqual(branches.map(({ score }) => score))
    expect(data[0]?.score).toBeGreaterThan(data[1]?.score ?? 0)
  })
})
