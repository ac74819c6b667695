import Fastify from 'fastify'
import OpenAI from 'openai'
import { describe, expect, it, vi } from 'vitest'
import winnow from '../src/server/fastify.js'
import { fakeEngine } from './fakes/engine.js'
import type { Script } from './fakes/pool.js'

const tens: Script = { length: () => 10 }

async function app(script: Script, options: { prefix?: string } = {}) {
  const { engine } = fakeEngine(script)
  // A client that aborts opens another connection at once, which nobody uses and Node does not call idle.
  const own = Fastify({ forceCloseConnections: true })
  own.addHook('onSend', async (_, reply) => void reply.header('x-app', 'mine'))
  own.get('/', async () => 'the app')
  own.post('/echo', async (request) => request.body)
  await own.register(winnow, { engine, name: 'my/fake', shadow: 0, ...options })
  return { own, engine }
}

describe('the fastify plugin', () => {
  it('answers beside the routes of the app, under its hooks', async () => {
    const { own } = await app(tens)
    const payload = { prompt: 'hi', best_of: 4 }
    const answer = await own.inject({ method: 'POST', url: '/v1/completions', payload })
    expect(answer.statusCode).toBe(200)
    expect(answer.headers).toMatchObject({ 'x-app': 'mine', 'content-type': 'application/json; charset=utf-8' })
    expect(answer.json()).toMatchObject({ winnow: { candidates: 4 } })
    expect((await own.inject('/')).body).toBe('the app')
    expect((await own.inject({ method: 'POST', url: '/echo', payload })).json()).toEqual(payload)
    expect((await own.inject('/nowhere')).statusCode).toBe(404)
    await own.close()
  })

  it('refuses in OpenAI’s shape, with its own limits for bodies', async () => {
    const { own } = await app(tens)
    const post = (payload: string | object, headers = {}) =>
      own.inject({ method: 'POST', url: '/v1/completions', payload, headers })
    expect((await post({ prompt: 'hi', nn: 1 })).json()).toMatchObject({
      error: { code: 'OPTION_UNKNOWN', param: 'nn' }
    })
    expect((await post('{', { 'content-type': 'application/json' })).json().error.code).toBe('REQUEST_INVALID')
    expect((await post('hi', { 'content-type': 'text/plain' })).statusCode).toBe(415)
    expect((await post({ prompt: 'x'.repeat(2 ** 21) })).statusCode).toBe(413)
    await own.close()
  })

  it('serves below a prefix', async () => {
    const { own } = await app(tens, { prefix: '/llm' })
    expect((await own.inject('/llm/v1/models')).json()).toMatchObject({ data: [{ id: 'my/fake' }] })
    expect((await own.inject('/llm/v1/models/my%2Ffake')).json()).toMatchObject({ id: 'my/fake' })
    expect((await own.inject('/v1/models')).statusCode).toBe(404)
    await own.close()
  })

  it('streams, and a reader who goes away ends the race', async () => {
    const { own, engine } = await app({ length: () => 5000, stepMs: 1 })
    const baseURL = `${await own.listen()}/v1`
    const client = new OpenAI({ apiKey: 'none', baseURL, maxRetries: 0 })
    const stream = await client.completions.create({ model: 'default', prompt: 'hi', max_tokens: 900, stream: true })
    const chunks: string[] = []
    for await (const { choices } of stream) {
      chunks.push(choices[0]?.text ?? '')
      if (chunks.length > 2) break
    }
    expect(chunks.join('')).toMatch(/^[a-z]+$/)
    await vi.waitFor(() => expect(engine.occupancy?.live).toBe(0), { timeout: 5000 })
    await own.close()
  })

  it('ends what goes on with its best when the app closes, and leaves the engine open', async () => {
    const { engine } = fakeEngine({ length: () => 500, stepMs: 2 })
    const own = Fastify()
    await own.register(winnow, { engine, drainMs: 10 })
    const baseURL = await own.listen()
    const answer = fetch(`${baseURL}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ prompt: 'hi' })
    })
    await vi.waitFor(() => expect(engine.occupancy?.live).toBe(1))
    await own.close()
    expect(await (await answer).json()).toMatchObject({ choices: [{ finish_reason: 'stopped' }] })
    expect((await engine.bestOf(1, 'still', { maxTokens: 2 })).branches).toHaveLength(1)
    await engine.close()
  })
})
