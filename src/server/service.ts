import { createHash, randomUUID } from 'node:crypto'
import { setMaxListeners } from 'node:events'
import { basename } from 'node:path'
import type { Registry } from 'prom-client'
import type { Engine } from '../engine.js'
import { expected, WinnowError } from '../errors.js'
import { version } from '../version.js'
import { Admission } from './admission.js'
import { ApiKeys } from './api-key.js'
import { type Ask, chatAsk, completionAsk, type ScoreAsk, scoreAsk } from './ask.js'
import { readBody } from './body.js'
import { type Call, webCall } from './call.js'
import { Chunks } from './chunks.js'
import { CommonText } from './common-text.js'
import { type Entered, enter, enterScore, type Venue, type Watch } from './entry.js'
import { EventStream } from './event-stream.js'
import { Gate } from './gate.js'
import { Metrics } from './metrics.js'
import { RaceEvents } from './race-events.js'
import { refusalOf } from './refusal.js'
import { choicesOf, type Envelope, finite, replyOf } from './reply.js'
import { type Route, routeOf, routes } from './routes.js'
import { type ResolvedServiceOptions, resolveService, type ServiceOptions } from './service-options.js'

/** What becomes of a request while it is answered: for the log. */
interface Trail {
  readonly requestId: string
  readonly startedAt: number
  route: Route | null
  status: number
  code: string | null
  user: string | null
}

/**
 * OpenAI's API on an engine, without a framework. `handle` never rejects. Nothing is listened to or installed here: see
 * `listener` and the fastify plugin.
 */
export class Service {
  readonly #options: ResolvedServiceOptions
  readonly #keys: ApiKeys
  readonly #gate: Gate
  readonly #admission = new Admission()
  readonly #metrics: Metrics
  readonly #stopping = new AbortController()
  readonly #created = Math.floor(Date.now() / 1000)
  #engine: Engine | null = null
  #failed = false

  /** Throws OPTION_INVALID and OPTION_UNKNOWN. */
  constructor(options: ServiceOptions) {
    this.#options = resolveService(options)
    this.#keys = new ApiKeys(this.#options.apiKeys)
    this.#gate = new Gate(this.#options.limits.queue)
    this.#metrics = new Metrics(this.#options.registry, this.#gate, () => this.#engine)
    // Every request listens; however many there are, that is no leak.
    setMaxListeners(0, this.#stopping.signal)
    if ('then' in options.engine) void this.#load(options.engine)
    else this.#engine = options.engine
  }

  get registry(): Registry {
    return this.#metrics.registry
  }

  /** Answers a request. Bound, so it can be given away. */
  readonly handle = (request: Request): Promise<Response> => this.answer(webCall(request))

  /** `handle` for requests of other kinds. */
  async answer(call: Call): Promise<Response> {
    const trail = {
      requestId: requestIdOf(call),
      startedAt: performance.now(),
      route: null,
      status: 200,
      code: null,
      user: null
    }
    const response = await this.#route(call, trail).catch((error: unknown) =>
      this.#refuse(call.signal.aborted ? gone(error) : error, trail)
    )
    response.headers.set('x-request-id', trail.requestId)
    trail.status = response.status
    // A stream says itself when it is over.
    if (!response.headers.get('content-type')?.startsWith('text/event-stream')) this.#log(call, trail)
    return response
  }

  /**
   * Lets nobody in any more (503) and resolves when all have their answers. After `ms` milliseconds races that go on end
   * with their best so far.
   */
  async drain(ms: number): Promise<void> {
    const timer = setTimeout(() => this.#stopping.abort(), ms)
    try {
      await this.#gate.close()
    } finally {
      clearTimeout(timer)
    }
  }

  async #load(engine: PromiseLike<Engine>): Promise<void> {
    try {
      this.#engine = await engine
    } catch {
      // Whoever opens the engine is told why by the same promise.
      this.#failed = true
    }
  }

  async #route(call: Call, trail: Trail): Promise<Response> {
    const route = routeOf(call.path)
    if (route === null) {
      throw expected('ROUTE_UNKNOWN', `one of ${routes.map(({ path }) => path).join(', ')}`, 'the path', call.path)
    }
    trail.route = route
    if (route.key) this.#keys.check(call)
    if (call.method !== route.method && !(call.method === 'HEAD' && route.method === 'GET')) {
      throw expected('METHOD_UNKNOWN', route.method, 'the method', call.method)
    }
    switch (route.name) {
      case 'health':
        return this.#health()
      case 'metrics':
        return new Response(await this.registry.metrics(), { headers: { 'content-type': this.registry.contentType } })
      case 'models':
        return json({ object: 'list', data: [this.#card(this.#ready())] })
      case 'model': {
        const engine = this.#ready()
        this.#named(engine, decode(call.path.split('/').at(-1) ?? ''))
        return json(this.#card(engine))
      }
      default:
        return this.#write(route.name, call, trail)
    }
  }

  async #write(name: 'completions' | 'chat' | 'score', call: Call, trail: Trail): Promise<Response> {
    // What would be refused anyway is refused before its body is read.
    this.#ready()
    this.#gate.check()
    const { limits, bestOf } = this.#options
    const body = await readBody(call, limits)
    const engine = this.#ready()
    if (name === 'score') return this.#score(scoreAsk(body, limits), call, trail)
    const ask = (name === 'chat' ? chatAsk : completionAsk)(body, limits, Math.min(bestOf, limits.candidates))
    trail.user = ask.user
    const envelope = this.#envelope(engine, ask)
    const begunAt = performance.now()
    const running = async (watch: Watch) => {
      const measured = { operation: operationOf(ask), model: envelope.model } as const
      const seconds = () => (performance.now() - begunAt) / 1000
      try {
        const entered = await enter(this.#venue(engine), ask, watch)
        const tokens = Math.max(...entered.best.map((branch) => branch.tokens.length))
        this.#metrics.raced({ ...measured, ...entered, seconds: seconds(), tokens })
        return entered
      } catch (error) {
        const failure = call.signal.aborted ? gone(error) : error
        this.#metrics.failed(measured.operation, measured.model, seconds(), refusalOf(failure).error.code)
        throw failure
      }
    }
    const headers = ignoredHeader(ask)
    if (ask.stream !== null) return this.#stream(engine, ask, envelope, call, trail, running, headers)
    return json(await replyOf(engine, ask, envelope, await running({ signals: [call.signal] })), { headers })
  }

  /** The answer as events. Whatever is refused before anything is written is refused with its status. */
  async #stream(
    engine: Engine,
    ask: Ask,
    envelope: Envelope,
    call: Call,
    trail: Trail,
    running: (watch: Watch) => Promise<Entered>,
    headers: Record<string, string>
  ): Promise<Response> {
    const left = new AbortController()
    const events = new EventStream(this.#options.limits.buffer, (reason) => left.abort(reason))
    const chunks = new Chunks(events, ask, envelope)
    // Of a text that several tokens may have written there are no log-probabilities before it is decided whose it is.
    const common = ask.logprobs
      ? null
      : new CommonText(
          (tokens, cuts) => engine.texts(tokens, cuts),
          ask.stops,
          (text) => chunks.text(text)
        )
    const named = ask.stream?.events ? new RaceEvents(events) : null
    let begun = () => {}
    const begins = new Promise<void>((resolve) => {
      begun = resolve
    })
    let isBegun = false
    const watch: Watch = {
      signals: [call.signal, left.signal],
      onProgress: (progress) => {
        if (!isBegun) events.begin()
        isBegun = true
        begun()
        named?.progress(progress)
        common?.look(progress.branches.filter(({ status }) => status.state !== 'killed'))
      },
      onCheckpoint: (progress) => {
        named?.checkpoint(progress)
        common?.look(progress.branches.filter(({ status }) => status.state !== 'killed'))
      }
    }
    const whole = async () => {
      try {
        const entered = await running(watch)
        await common?.close()
        chunks.finish(entered, await choicesOf(engine, ask, entered), common?.text ?? '')
      } catch (error) {
        if (!isBegun) throw error
        await common?.close()
        const refusal = refusalOf(error)
        trail.code = refusal.error.code
        chunks.fail(refusal.error)
      }
      this.#log(call, trail)
    }
    await Promise.race([begins, whole()])
    return new Response(events.body, {
      headers: { ...headers, 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-store' }
    })
  }

  async #score(ask: ScoreAsk, call: Call, trail: Trail): Promise<Response> {
    const engine = this.#ready()
    trail.user = ask.user
    const model = this.#named(engine, ask.model ?? 'default')
    const { branches, scorer, usage } = await enterScore(this.#venue(engine), ask, [call.signal])
    const data = branches.map(({ id, score, tokens }) => {
      return { object: 'score', index: id, score: finite(score), tokens: tokens.length }
    })
    const { promptTokens, generatedTokens } = usage
    const total = promptTokens + generatedTokens
    const spent = { prompt_tokens: promptTokens, answer_tokens: generatedTokens, total_tokens: total }
    return json({ object: 'list', model, scorer, data, usage: spent }, { headers: ignoredHeader(ask) })
  }

  #venue(engine: Engine): Venue {
    const { signal: stop } = this.#stopping
    return { engine, options: this.#options, gate: this.#gate, admission: this.#admission, stop }
  }

  #health(): Response {
    const status = this.#gate.closed ? 'draining' : this.#engine !== null ? 'ok' : this.#failed ? 'failed' : 'loading'
    if (status === 'ok') return json({ status })
    return json({ status }, { status: 503, headers: { 'retry-after': String(this.#gate.retryAfter) } })
  }

  /** Throws LOADING. */
  #ready(): Engine {
    if (this.#engine !== null) return this.#engine
    const why = this.#failed ? 'one that failed to load' : 'one that is still loading'
    throw new WinnowError('LOADING', `Expected a loaded model but received ${why}`)
  }

  #nameOf(engine: Engine): string {
    return this.#options.name ?? basename(engine.model.path, '.gguf')
  }

  /** The served name. Throws MODEL_UNKNOWN. */
  #named(engine: Engine, asked: string): string {
    const name = this.#nameOf(engine)
    if (asked === name || asked === 'default') return name
    throw expected('MODEL_UNKNOWN', `"${name}" or "default"`, 'model', asked, { field: 'model' })
  }

  #card(engine: Engine) {
    const { contextTrain, parameters } = engine.model
    const own = { context_length: contextTrain, parameters }
    return { id: this.#nameOf(engine), object: 'model', created: this.#created, owned_by: 'winnow', winnow: own }
  }

  #envelope(engine: Engine, ask: Ask): Envelope {
    return {
      id: `${ask.kind === 'chat' ? 'chatcmpl' : 'cmpl'}-${randomUUID()}`,
      created: Math.floor(Date.now() / 1000),
      model: this.#named(engine, ask.model ?? 'default'),
      system_fingerprint: fingerprintOf(engine)
    }
  }

  #refuse(failure: unknown, trail: Trail): Response {
    const { status, error } = refusalOf(failure)
    trail.code = error.code
    const headers: Record<string, string> = {}
    if (status === 503) headers['retry-after'] = String(this.#gate.retryAfter)
    if (status === 401) headers['www-authenticate'] = 'Bearer'
    if (status === 405 && trail.route !== null) headers.allow = trail.route.method
    // Somebody who sends at a byte a second is not waited for any longer.
    if (status === 408) headers.connection = 'close'
    if (status === 500) this.#options.logger.warn({ err: failure, requestId: trail.requestId }, 'request failed')
    return json({ error }, { status, headers })
  }

  /** No header, no query and nothing of a body: there may be secrets in them. */
  #log({ method }: Call, { requestId, startedAt, route, status, code, user }: Trail): void {
    const path = route?.path ?? null
    const ms = Math.round(performance.now() - startedAt)
    this.#metrics.answered(route?.name ?? 'none', status)
    const who = user === null ? {} : { user }
    const what = code === null ? {} : { code }
    this.#options.logger.info({ requestId, method, path, status, ms, ...what, ...who }, 'request')
  }
}

function json(value: object, init: { status?: number; headers?: Record<string, string> } = {}): Response {
  const body = JSON.stringify(value)
  const headers = {
    ...init.headers,
    'content-type': 'application/json; charset=utf-8',
    'content-length': String(Buffer.byteLength(body)),
    'cache-control': 'no-store'
  }
  return new Response(body, { status: init.status ?? 200, headers })
}

function ignoredHeader({ ignored }: Ask | ScoreAsk): Record<string, string> {
  return ignored.length === 0 ? {} : { 'winnow-ignored': ignored.join(', ') }
}

/** Whatever an aborted call failed with. */
function gone(cause: unknown): WinnowError {
  return new WinnowError('CLIENT_GONE', 'Expected a caller for the answer but it went away', { cause })
}

/** The caller's, where it is fit for a log; otherwise a new one. */
function requestIdOf(call: Call): string {
  const sent = call.header('x-request-id') ?? ''
  return /^[\w.:-]{1,128}$/.test(sent) ? sent : randomUUID()
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}

function operationOf({ kind }: Ask): 'chat' | 'text_completion' {
  return kind === 'chat' ? 'chat' : 'text_completion'
}

/** The same for the same weights and versions on the same kind of machine, as far as that shows without reading the weights. */
function fingerprintOf({ model, head, runtime }: Engine): string {
  const { path, parameters, bytes, description } = model
  const devices = runtime.devices.map(({ description: what }) => what)
  const parts = [version, runtime.llama, basename(path), parameters, bytes, description, head?.modelSha256, devices]
  return `fp_${createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 12)}`
}
