import { Registry } from 'prom-client'
import { describe, expect, it, vi } from 'vitest'
import type { Logger } from '../src/options.js'
import { Service, type ServiceOptions } from '../src/server/index.js'
import { fakeEngine } from './fakes/engine.js'
import type { Script } from './fakes/pool.js'

const tens: Script = { length: () => 10 }
const url = 'http://localhost'

function serviceOn(script: Script = tens, options: Partial<ServiceOptions> = {}) {
  const fake = fakeEngine(script)
  return { ...fake, service: new Service({ engine: fake.engine, shadow: 0, ...options }) }
}

const post = (path: string, body: unknown, headers: Record<string, string> = {}) =>
  new Request(`${url}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body)
  })
const complete = (fields: object, headers = {}) => post('/v1/completions', { prompt: 'hi', ...fields }, headers)

type Refused = Record<'message' | 'type' | 'param' | 'code', string | null>

async function refused(response: Promise<Response> | Response) {
  const { status, headers } = await response
  const { error } = (await (await response).json()) as { error: Refused }
  return { status, headers, ...error }
}

describe('a service', () => {
  it('answers a web request, without a framework', async () => {
    const { service } = serviceOn()
    const { handle } = service
    const response = await handle(complete({ n: 2, best_of: 4 }))
    expect(response.status).toBe(200)
    expect(await response.json()).toMatchObject({
      model: 'fake',
      choices: [
        { index: 0, finish_reason: 'stop' },
        { index: 1, finish_reason: 'stop' }
      ],
      usage: { prompt_tokens: 3, completion_tokens: 40, total_tokens: 43 },
      winnow: { chosen: [{ id: 3, score: 3 }, { id: 2 }] }
    })
  })

  it('gives as many candidates as it is told where a request does not say', async () => {
    const { service, pools } = serviceOn(tens, { bestOf: 8 })
    await service.handle(complete({}))
    await service.handle(complete({ n: 9 }))
    await service.handle(complete({ best_of: 2 }))
    const forks = pools.flatMap(({ calls }) => calls.filter((call) => call.startsWith('fork')))
    expect(forks).toEqual(['fork 8', 'fork 9', 'fork 2'])
  })

  it('names the fields that it ignores, and refuses those that nobody knows', async () => {
    const { service } = serviceOn()
    const response = await service.handle(complete({ suffix: 'x', echo: true, logprobs: 2, user: 'me' }))
    expect(response.headers.get('winnow-ignored')).toBe('suffix, echo, logprobs.top_logprobs')
    expect(await refused(service.handle(complete({ promt: 'hi' })))).toMatchObject({
      status: 400,
      code: 'OPTION_UNKNOWN',
      param: 'promt',
      message: 'Expected a known option for the options of a request but received "promt"; did you mean "prompt"?'
    })
    const inner = await refused(service.handle(complete({ winnow: { polic: 'best-of-n' } })))
    expect(inner).toMatchObject({ code: 'OPTION_UNKNOWN', param: 'winnow.polic' })
  })

  it('takes null for a field that was not given', async () => {
    const { service } = serviceOn()
    const nothing = { stop: null, max_tokens: null, logprobs: null, stream: null, seed: null, logit_bias: null }
    expect((await service.handle(complete(nothing))).status).toBe(200)
  })

  it.each([
    ['n', { n: 65 }, 'n'],
    ['best_of below n', { n: 3, best_of: 2 }, 'best_of'],
    ['max_tokens', { max_tokens: 5000 }, 'max_tokens'],
    ['temperature', { temperature: -1 }, 'temperature'],
    ['a stop text', { stop: ['x'.repeat(257)] }, 'stop'],
    ['stream_options without a stream', { stream_options: {} }, 'stream_options'],
    ['a seed', { seed: 1.5 }, 'seed'],
    ['a policy that needs the pool for itself', { winnow: { policy: 'memory-pressure' } }, 'winnow.policy'],
    ['a head in a file', { winnow: { scorer: 'head@/etc/passwd' } }, 'winnow.scorer'],
    ['a deadline above its own', { winnow: { deadlineMs: 300_001 } }, 'winnow.deadlineMs'],
    ['several prompts', { prompt: ['a', 'b'] }, 'prompt'],
    [
      'a schema that is none',
      { response_format: { type: 'json_schema', json_schema: { name: 'x' } } },
      'response_format.json_schema.schema'
    ]
  ])('refuses %s by the name of the field', async (_, fields, param) => {
    const { service, pools } = serviceOn()
    const refusal = await refused(service.handle(complete(fields)))
    expect(refusal).toMatchObject({ status: 400, param, type: 'invalid_request_error' })
    expect(refusal.code).toMatch(/^OPTION_/)
    expect(pools).toHaveLength(0)
  })

  it.each([
    ['plain text', 'hi', { 'content-type': 'text/plain' }, 415, 'MEDIA_UNSUPPORTED'],
    ['compressed text', '{}', { 'content-encoding': 'gzip' }, 415, 'MEDIA_UNSUPPORTED'],
    ['something else than JSON', '{"prompt":', {}, 400, 'REQUEST_INVALID'],
    ['an array', '[]', {}, 400, 'REQUEST_INVALID'],
    ['too many levels', `{"prompt":${'['.repeat(64)}${']'.repeat(64)}}`, {}, 400, 'REQUEST_INVALID'],
    ['too many bytes', JSON.stringify({ prompt: 'x'.repeat(2 ** 20) }), {}, 413, 'REQUEST_TOO_LARGE']
  ])('refuses a body of %s', async (_, body, headers, status, code) => {
    const { service } = serviceOn()
    expect(await refused(service.handle(post('/v1/completions', body, headers)))).toMatchObject({ status, code })
  })

  it('does not wait for ever for a body', async () => {
    const { service } = serviceOn(tens, { limits: { bodyMs: 20 } })
    const body = new ReadableStream({ start: (controller) => controller.enqueue(new TextEncoder().encode('{"pro')) })
    const headers = { 'content-type': 'application/json' }
    const slow = new Request(`${url}/v1/completions`, { method: 'POST', headers, body, duplex: 'half' })
    expect(await refused(service.handle(slow))).toMatchObject({ status: 408, code: 'REQUEST_TOO_SLOW' })
  })

  it('knows its routes and their methods', async () => {
    const { service } = serviceOn()
    expect(await refused(service.handle(new Request(`${url}/v2/completions`)))).toMatchObject({ status: 404 })
    const wrong = await refused(service.handle(new Request(`${url}/v1/completions`)))
    expect(wrong).toMatchObject({ status: 405, code: 'METHOD_UNKNOWN' })
    expect(wrong.headers.get('allow')).toBe('POST')
  })

  it('asks for its key wherever that could matter, and never shows what was sent', async () => {
    const { service } = serviceOn(tens, { apiKey: ['one', 'two'] })
    const get = (path: string, key?: string) =>
      service.handle(new Request(url + path, key === undefined ? {} : { headers: { authorization: `Bearer ${key}` } }))
    expect((await get('/health')).status).toBe(200)
    for (const path of ['/metrics', '/v1/models', '/v1/models/fake', '/v1/completions']) {
      const refusal = await refused(get(path, 'secret'))
      expect(refusal).toMatchObject({ status: 401, code: 'KEY_INVALID' })
      expect(JSON.stringify(refusal)).not.toContain('secret')
      expect((await get(path)).status).toBe(401)
    }
    expect((await get('/v1/models', 'two')).status).toBe(200)
    expect((await service.handle(complete({}, { authorization: 'bearer one' }))).status).toBe(200)
  })

  it('says 503 while the model loads, and when it could not be loaded', async () => {
    const { engine } = fakeEngine(tens)
    let loaded = (_: typeof engine) => {}
    const service = new Service({
      engine: new Promise<typeof engine>((resolve) => {
        loaded = resolve
      })
    })
    const health = async () => {
      const response = await service.handle(new Request(`${url}/health`))
      return [response.status, ((await response.json()) as { status: string }).status]
    }
    expect(await health()).toEqual([503, 'loading'])
    const early = await refused(service.handle(complete({})))
    expect(early).toMatchObject({ status: 503, code: 'LOADING' })
    expect(early.headers.get('retry-after')).toBe('1')
    loaded(engine)
    await vi.waitFor(async () => expect(await health()).toEqual([200, 'ok']))
    const broken = new Service({ engine: Promise.reject(new Error('no such file')) })
    await vi.waitFor(async () => {
      const response = await broken.handle(new Request(`${url}/health`))
      expect([response.status, await response.json()]).toEqual([503, { status: 'failed' }])
    })
  })

  it('refuses whoever finds the queue full, and says when to come again', async () => {
    const { service, engine } = serviceOn({ length: () => 400, stepMs: 5 }, { limits: { queue: 2 } })
    const first = service.handle(complete({ best_of: 64, winnow: { policy: 'best-of-n' } }))
    await vi.waitFor(() => expect(engine.occupancy?.live).toBe(64))
    const waiting = [service.handle(complete({})), service.handle(complete({}))]
    await vi.waitFor(async () => {
      const metrics = await (await service.handle(new Request(`${url}/metrics`))).text()
      expect(metrics).toContain('winnow_requests_waiting 2')
    })
    const refusal = await refused(service.handle(complete({})))
    expect(refusal).toMatchObject({ status: 503, code: 'QUEUE_FULL', type: 'unavailable_error' })
    expect(Number(refusal.headers.get('retry-after'))).toBeGreaterThanOrEqual(1)
    const statuses = (await Promise.all([first, ...waiting])).map(({ status }) => status)
    expect(statuses).toEqual([200, 200, 200])
  })

  it('drains: those who are in are answered, nobody else comes in', async () => {
    const { service, engine } = serviceOn({ length: () => 100, stepMs: 1 })
    const answer = service.handle(complete({}))
    await vi.waitFor(() => expect(engine.occupancy?.live).toBe(1))
    const drained = service.drain(60_000)
    expect(await refused(service.handle(complete({})))).toMatchObject({ status: 503, code: 'DRAINING' })
    expect((await service.handle(new Request(`${url}/health`))).status).toBe(503)
    await drained
    expect((await answer).status).toBe(200)
  })

  it('ends races with the best so far when draining takes too long', async () => {
    const { service, engine } = serviceOn({ length: () => 500, stepMs: 2 })
    const answer = service.handle(complete({}))
    await vi.waitFor(() => expect(engine.occupancy?.live).toBe(1))
    await service.drain(20)
    const { choices } = (await (await answer).json()) as { choices: { finish_reason: string; text: string }[] }
    expect(choices[0]?.finish_reason).toBe('stopped')
    expect(choices[0]?.text).not.toBe('')
  })

  it('refuses a request whose time was over before its turn came', async () => {
    const { service, engine } = serviceOn({ length: () => 400, stepMs: 2 })
    const first = service.handle(complete({ best_of: 64, winnow: { policy: 'best-of-n' } }))
    await vi.waitFor(() => expect(engine.occupancy?.live).toBe(64))
    const late = await refused(service.handle(complete({ winnow: { deadlineMs: 10 } })))
    expect(late).toMatchObject({ status: 503, code: 'DEADLINE_PASSED' })
    expect((await first).status).toBe(200)
  })

  it('says little of what is not the caller’s business, and logs it', async () => {
    const lines: object[] = []
    const logger: Logger = { debug() {}, info: (line) => lines.push(line), warn: (line) => lines.push(line) }
    const failing = { name: 'bad', needs: [], score: () => Promise.reject(new Error('at /home/me')) }
    const { service } = serviceOn(tens, { logger, scorers: { failing } })
    const refusal = await refused(service.handle(complete({ winnow: { scorer: 'failing' } })))
    expect(refusal).toMatchObject({ status: 500, code: 'SCORER_FAILED', type: 'server_error' })
    expect(lines).toHaveLength(2)
  })

  it('logs a line for each request, with its id and without anything secret', async () => {
    const lines: Record<string, unknown>[] = []
    const logger = { debug() {}, info: (line: object) => void lines.push({ ...line }), warn() {} }
    const { service } = serviceOn(tens, { logger, apiKey: 'hush' })
    const headers = { authorization: 'Bearer hush', 'x-request-id': 'req-7' }
    const response = await service.handle(complete({ prompt: 'private', user: 'u1' }, headers))
    expect(response.headers.get('x-request-id')).toBe('req-7')
    const bad = await service.handle(
      complete({}, { 'x-request-id': 'two words', authorization: 'Bearer wrong-secret' })
    )
    expect(bad.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/)
    expect(lines).toMatchObject([
      { requestId: 'req-7', method: 'POST', path: '/v1/completions', status: 200, user: 'u1' },
      { status: 401, code: 'KEY_INVALID' }
    ])
    expect(JSON.stringify(lines)).not.toMatch(/hush|private|wrong/)
  })

  it('counts in the registry that it is given', async () => {
    const registry = new Registry()
    const { service } = serviceOn(tens, { registry, policy: undefined })
    await service.handle(complete({ best_of: 4, winnow: { checkpoints: 'every:4' } }))
    await service.handle(complete({ n: 0 }))
    const names = (await registry.getMetricsAsJSON()).map(({ name }) => name)
    expect(names).toEqual([
      'gen_ai_server_request_duration_seconds',
      'gen_ai_server_time_to_first_token_seconds',
      'gen_ai_server_time_per_output_token_seconds',
      'gen_ai_client_token_usage',
      'winnow_requests_total',
      'winnow_branches_total',
      'winnow_tokens_saved_total',
      'winnow_shadows',
      'winnow_false_kill_ratio',
      'winnow_cells',
      'winnow_cells_used',
      'winnow_branches_live',
      'winnow_requests_waiting',
      'winnow_requests_running'
    ])
    const text = await (await service.handle(new Request(`${url}/metrics`))).text()
    expect(text).toContain('winnow_branches_total{fate="killed"} 3')
    expect(text).toContain('winnow_requests_total{route="completions",status="200"} 1')
    expect(text).toContain('winnow_requests_total{route="completions",status="400"} 1')
    expect(text).toContain(
      'gen_ai_client_token_usage_count{gen_ai_operation_name="text_completion",gen_ai_request_model="fake",gen_ai_token_type="output"} 1'
    )
    expect(text).toContain('winnow_cells_used 0')
  })

  it('refuses settings of its own that make no sense, without showing a key', () => {
    const { engine } = fakeEngine(tens)
    expect(() => new Service({ engine, limits: { queue: -1 } })).toThrow('limits.queue')
    expect(() => new Service({ engine, apiKey: 'my secret' })).toThrow(/for apiKey but received something else/)
  })
})
