import { setMaxListeners } from 'node:events'
import { availableParallelism } from 'node:os'
import { abortable, follow } from './abort.js'
import { type Lora, type LoraRecord, localAdapters } from './adapter.js'
import { Adapters } from './adapters.js'
import { isAddress } from './address.js'
import { readAnswers } from './answers.js'
import {
  loadBinding,
  type ModelFacts,
  type NativeBinding,
  type NativeDevice,
  type NativeHead,
  type NativeModel,
  type NativeOccupancy,
  type TokenLists
} from './binding.js'
import { bytesText } from './bytes.js'
import { embedded } from './embedded.js'
import { expected, fromAddon, WinnowError } from './errors.js'
import { type ForecastFacts, forecast } from './forecast.js'
import { cellsOf, type Rung, toBlock } from './ladder.js'
import { barTo, type Layout, pays } from './layout.js'
import type { Lease } from './lease.js'
import { engineConditions, type MapOptions, type MapPrompt, type Mapped, map } from './map.js'
import { openHead, openModel } from './model.js'
import {
  type BestOfOptions,
  type OpenOptions,
  type ResolvedBestOfOptions,
  type ResolvedOpenOptions,
  resolveBestOf,
  resolveCandidates,
  resolveOpen
} from './options.js'
import { Pace } from './pace.js'
import type { Plan } from './plan.js'
import { defaultScorer, fitTokens, layoutAt, ownsPool, type PlanOptions, planRace, type Site } from './planning.js'
import { type Prompt, type PromptInput, readPrompt } from './prompt.js'
import { race } from './race.js'
import type { Compute, Expected, Result } from './result.js'
import { Scheduler, sharedStreams } from './scheduler.js'
import type { Scorer } from './scorer.js'
import { type PoolNeeds, Streams } from './streams.js'
import { drawingOf } from './timing.js'
import { tokenLists } from './token-lists.js'
import { Turns } from './turns.js'

/**
 * Opens a GGUF model by path or by address (`hf:ORG/REPO:FILE.gguf`, `https://…`; see `download`), or the embedded one
 * when neither is given.
 *
 * Throws MODEL_NOT_FOUND, MODEL_CORRUPT, MODEL_UNSUPPORTED, HEAD_NOT_FOUND, HEAD_CORRUPT, HEAD_WIDTH,
 * OPTION_INVALID, OPTION_UNKNOWN, ADDON_MISSING, ADDON_MISMATCH, VERSION_MISMATCH, VARIANT_LOADED,
 * VARIANT_UNAVAILABLE, BACKEND_LOAD, OUT_OF_MEMORY, and what `download` does.
 */
export async function open(path?: string, options: OpenOptions = {}): Promise<Engine> {
  const resolved = resolveOpen(options)
  const { binding, libraries } = loadBinding({ gpu: resolved.gpu })
  return openWith(binding, path, { ...resolved, gpu: libraries.variant })
}

/** `open` on a binding at hand: the addon's, or a test's. */
export async function openWith(
  binding: NativeBinding,
  path: string | undefined,
  options: ResolvedOpenOptions
): Promise<Engine> {
  const headPath = options.head === undefined && path === undefined ? embedded.head : (options.head ?? null)
  const model = await openModel(binding, path ?? embedded.model, options)
  try {
    const head = headPath === null ? null : await openHead(binding, headPath, model)
    return new Engine(binding, model, head, options)
  } catch (error) {
    model.close()
    throw error
  }
}

/** An opened model with its head and its pool, which any number of races share. */
export class Engine {
  readonly #binding: NativeBinding
  readonly #model: NativeModel
  readonly #head: NativeHead | null
  readonly #options: ResolvedOpenOptions
  readonly #adapters: Adapters
  readonly #streams: Streams
  readonly #scheduler: Scheduler
  readonly #pace = new Pace()
  readonly #closing = new AbortController()
  /** Races ask for their streams in the order of the calls, however long their prompts take to read. */
  readonly #arrivals = new Turns()
  #closed: Promise<void> | null = null

  constructor(binding: NativeBinding, model: NativeModel, head: NativeHead | null, options: ResolvedOpenOptions) {
    this.#binding = binding
    this.#model = model
    this.#head = head
    this.#options = options
    this.#adapters = new Adapters(binding, model, options.logger)
    this.#streams = new Streams(binding, model, options)
    this.#scheduler = new Scheduler(this.#streams, sharedStreams(binding.devices()))
    // Every waiting race listens; however many wait, that is no leak.
    setMaxListeners(0, this.#closing.signal)
  }

  get model(): ModelFacts {
    return this.#model.facts
  }

  get head(): NativeHead['facts'] | null {
    return this.#head?.facts ?? null
  }

  /** Versions of the addon and of llama.cpp, and the devices found. */
  get runtime(): { readonly addon: string; readonly llama: string; readonly devices: readonly NativeDevice[] } {
    const { addonVersion: addon } = this.#binding
    return { addon, llama: this.#binding.llamaVersion(), devices: this.#binding.devices() }
  }

  /** Cells and branches of the pool at hand, whoever they belong to; null while there is none. */
  get occupancy(): NativeOccupancy | null {
    return this.#streams.occupancy
  }

  /**
   * Writes n candidates (1..4096), stops those the policy rejects, and returns the winner with everything about how
   * it won. Calls made at the same time share the pool: as many as it has streams for run at once, the others follow in
   * the order of the calls. A call of more candidates than fit at once has the pool alone and writes them in waves. An
   * aborted `signal` rejects with its reason; a deadline, a `stop` or full memory is a `reason` in the result.
   *
   * Throws OPTION_INVALID, OPTION_UNKNOWN, PROMPT_EMPTY, PROMPT_INVALID, PROMPT_TOO_LONG, TEMPLATE_MISSING,
   * TEMPLATE_FAILED, NO_TOKENIZER, HEAD_MISSING, SCORER_FAILED, SCORE_INVALID, POLICY_INVALID, OUT_OF_MEMORY,
   * ENGINE_CLOSED; with adapters also ADAPTER_NOT_FOUND, ADAPTER_CORRUPT, ADAPTER_MISMATCH (made for another model),
   * ADAPTER_UNSUPPORTED, and what `download` does.
   */
  async bestOf(n: number, prompt: PromptInput, options: BestOfOptions = {}): Promise<Result> {
    return this.#queue(resolveCandidates(n), prompt, options, null)
  }

  /**
   * What `bestOf` with the same arguments would take, n being 1..4096: how many candidates at once, in how many cells,
   * bytes beside the weights, tokens and seconds; and whether it can be run at all, which is no error. What is planned is
   * the pool that the race would have as things are now: the one at hand where that serves, or what is made in its place.
   * Of the memory that is free a part is left alone, and what the pool at hand takes counts as free.
   *
   * No weights are read but those of adapters, which are freed again, no cells are made and nobody waits. llama.cpp lays the contexts out, which takes 52 bytes of the
   * host's memory for each cell and the rows of one decode, for as long as the plan is made.
   *
   * Throws what `bestOf` does of prompt and options, and OPTION_INVALID for scorers whose memory cannot be counted. What
   * only a scorer finds out when it begins (HEAD_MISSING, HEAD_WIDTH) is not looked for.
   */
  async plan(n: number, prompt: PromptInput, options: PlanOptions = {}): Promise<Plan> {
    const { signal, release } = follow([this.#closing.signal, options.signal])
    try {
      signal.throwIfAborted()
      return await planRace(this.#site, n, prompt, options, signal)
    } finally {
      release()
    }
  }

  /**
   * Reads 1..4096 answers that somebody else wrote as if this model had written them: the result has their scores at
   * every checkpoint and their log-probabilities, and the one that scores highest as its winner. Nobody is killed
   * unless a policy is given. Answers longer than `maxTokens` are cut there.
   *
   * Throws what `bestOf` does, and ANSWERS_INVALID.
   */
  async score(
    prompt: PromptInput,
    answers: readonly (string | Int32Array)[],
    options: BestOfOptions = {}
  ): Promise<Result> {
    if (!Array.isArray(answers) || !answers.every((item) => typeof item === 'string' || item instanceof Int32Array)) {
      throw expected('ANSWERS_INVALID', 'an array of texts or Int32Arrays of tokens', 'the answers', answers)
    }
    return this.#queue(resolveCandidates(answers.length), prompt, options, answers)
  }

  async #queue(
    n: number,
    prompt: PromptInput,
    options: BestOfOptions,
    answers: readonly (string | Int32Array)[] | null
  ): Promise<Result> {
    const resolved = resolveBestOf(options)
    const calledAt = performance.now()
    const { signal, release } = follow([this.#closing.signal, resolved.signal])
    try {
      return await this.#race(n, prompt, { ...options, signal }, resolved, answers, calledAt)
    } finally {
      release()
    }
  }

  /**
   * `bestOf` of many prompts, given out as they finish; `map` in map.ts says how. With a journal the files of
   * model and adapters are read once for their checksums. Throws OPTION_INVALID and OPTION_UNKNOWN at the call.
   */
  map(
    prompts: Iterable<MapPrompt> | AsyncIterable<MapPrompt>,
    options: MapOptions = {}
  ): AsyncGenerator<Mapped, void, undefined> {
    return map(this, prompts, options, async (lora) => {
      const fetching = { ...this.#options, signal: options.signal ?? this.#closing.signal }
      return engineConditions(this, this.#options.kvType, await localAdapters(lora, fetching))
    })
  }

  /** The text of tokens, control tokens left out, less the last `cut` bytes of it. */
  async text(tokens: Int32Array, cut = 0): Promise<string> {
    const [text = ''] = await this.texts([tokens], [cut])
    return text
  }

  /** `text` of many, in one crossing. */
  async texts(lists: readonly ArrayLike<number>[], cuts: readonly number[] = lists.map(() => 0)): Promise<string[]> {
    this.#closing.signal.throwIfAborted()
    const { tokens, offsets } = tokenLists(lists)
    return fromAddon(() => this.#model.detokenize(tokens, offsets, false, Int32Array.from(cuts)))
  }

  /** Ends what runs (it rejects with ENGINE_CLOSED), then frees pool, adapters, head and model, in that order. Idempotent. */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(): Promise<void> {
    this.#closing.abort(new WinnowError('ENGINE_CLOSED', 'Expected an open engine but received one that was closed'))
    await this.#arrivals.empty
    await this.#scheduler.close()
    await this.#adapters.close()
    this.#head?.close()
    this.#model.close()
  }

  async #race(
    n: number,
    input: PromptInput,
    asked: BestOfOptions & { readonly signal: AbortSignal },
    options: ResolvedBestOfOptions,
    answers: readonly (string | Int32Array)[] | null,
    calledAt: number
  ): Promise<Result> {
    const { signal } = asked
    const arrival = await this.#arrive(n, input, asked, options, answers)
    const { prompt, given, maxTokens, lora } = arrival
    const { lease, plan } = await this.#admit(n, input, asked, arrival)
    const { rungs = [], waves = 1, parkedBytes = 0 } = plan ?? {}
    const from = options.deadlineFrom === 'start' ? performance.now() : calledAt
    const deadline = from + (options.deadlineMs ?? Number.POSITIVE_INFINITY)
    try {
      options.onStart?.()
      // Before the race: whatever a policy says of itself cannot cost what was written.
      const foreseen = expectedOf(lease, rungs, waves, {
        n,
        maxTokens,
        promptTokens: prompt.tokens.length,
        policy: options.policy,
        checkpoints: options.checkpoints,
        lengths: given === null ? undefined : lengthsOf(given)
      })
      const result = await race({
        pool: lease,
        model: this.#model,
        head: this.#head,
        prompt,
        n,
        maxTokens,
        options,
        given,
        scorer: this.#scorerOf(options),
        rungs,
        waves,
        parkedBytes,
        signal,
        deadline
      })
      const steps = Math.max(...result.branches.map(({ tokens }) => tokens.length))
      // Of steps that others had a part in, this race's share is no measure.
      const layout = plan?.layout ?? 'streams'
      if (given === null && lease.alone && waves === 1)
        this.#pace.record(result.usage, steps, options.deterministic, layout)
      const compute = computeOf(this.#options, layout)
      return { ...result, expected: foreseen, compute, lora }
    } finally {
      await lease.end()
    }
  }

  /** Its streams. Where memory has not as many as there are candidates: fewer, and the candidates in waves. */
  async #admit(
    n: number,
    input: PromptInput,
    asked: BestOfOptions & { readonly signal: AbortSignal },
    { needs, plan, leasing }: Arrival
  ): Promise<{ readonly lease: Lease; readonly plan: Plan | null }> {
    try {
      return { lease: await leasing, plan }
    } catch (error) {
      if (plan !== null || n === 1 || !WinnowError.is(error) || error.code !== 'OUT_OF_MEMORY') throw error
      const smaller = await this.#planned(n, input, asked).catch(() => {
        asked.signal.throwIfAborted()
        throw error
      })
      return { lease: await this.#scheduler.lease(this.#shaped(needs, smaller), asked.signal), plan: smaller }
    }
  }

  /** A pool of just the shape that the plan begins with. */
  #shaped(needs: PoolNeeds, { rungs: [first] }: Plan): PoolNeeds {
    if (first === undefined) return needs
    const cellsPerStream = Math.min(first.cells, this.#model.facts.contextTrain)
    const { width: streams, unifiedCells } = first.pool
    return { ...needs, streams, cellsPerStream, exact: true, ...(unifiedCells !== undefined && { unifiedCells }) }
  }

  /** What will be run where memory decides. Throws OUT_OF_MEMORY where it cannot be. */
  async #planned(
    n: number,
    prompt: PromptInput,
    options: BestOfOptions & { readonly signal: AbortSignal }
  ): Promise<Plan> {
    // A caller's budget is to hold for all; otherwise what cannot be counted is in nobody's way.
    const counted = options.budget === undefined ? 'known' : 'all'
    const plan = await planRace(this.#site, n, prompt, options, options.signal, counted)
    if (plan.admitted) return plan
    const message = `Expected memory for ${n} candidates but received ${bytesText(plan.budgetBytes)}: ${plan.why}`
    throw new WinnowError('OUT_OF_MEMORY', message)
  }

  /** Null where it comes to streams: as planned, or for scorers whose memory no plan can count. */
  async #unified(n: number, prompt: PromptInput, options: BestOfOptions): Promise<Plan | null> {
    try {
      const plan = await this.plan(n, prompt, options)
      return plan.layout === 'unified' ? plan : null
    } catch (error) {
      if (WinnowError.is(error) && error.code === 'OPTION_INVALID') return null
      throw error
    }
  }

  /** Reads the prompt and asks for streams, one call after the other; what is awaited then is only the streams. */
  async #arrive(
    n: number,
    input: PromptInput,
    asked: BestOfOptions & { readonly signal: AbortSignal },
    options: ResolvedBestOfOptions,
    answers: readonly (string | Int32Array)[] | null
  ): Promise<Arrival> {
    const { signal } = asked
    // What has to be fetched is no reason for others to wait.
    if (options.lora.some(({ path }) => isAddress(path))) {
      await localAdapters(options.lora, { ...this.#options, signal })
    }
    const arrived = await this.#arrivals.take(signal)
    try {
      const owned = ownsPool(n, options) ? await this.#planned(n, input, asked) : null
      const { set, records } = await abortable(this.#adapted(options.lora, signal), signal)
      const prompt = await abortable(readPrompt(this.#model, input, options.raw), signal)
      const given = answers === null ? null : await abortable(readAnswers(this.#model, answers), signal)
      const maxTokens = fitTokens(this.#model.facts, prompt, options.maxTokens)
      const shape = { n, promptTokens: prompt.tokens.length, maxTokens, deterministic: options.deterministic }
      const plan = owned ?? (this.#likesUnified(shape) ? await this.#unified(n, input, asked) : null)
      const { contextTrain } = this.#model.facts
      const whole = {
        streams: n,
        cellsPerStream: Math.min(prompt.tokens.length + maxTokens, contextTrain),
        states: [...this.#scorerOf(options).needs, ...(options.pipeline?.needs ?? [])].includes('states'),
        deterministic: options.deterministic,
        adapters: set
      }
      const needs = plan === null ? whole : this.#shaped(whole, plan)
      return { prompt, given, maxTokens, needs, plan, lora: records, leasing: this.#scheduler.lease(needs, signal) }
    } finally {
      arrived()
    }
  }

  get #site(): Site {
    return {
      binding: this.#binding,
      path: this.#model.facts.path,
      options: this.#options,
      loaded: true,
      hasAdapter: (adapter) => this.#adapters.has(adapter),
      head: this.#head !== null,
      held: this.#streams.held,
      pace: this.#pace,
      shared: this.#scheduler.busy
    }
  }

  #likesUnified(race: Parameters<typeof pays>[1]): boolean {
    const facts = layoutAt(this.#site, this.#model.facts)
    return facts.asked !== 'streams' && barTo(race) === null && (facts.asked === 'unified' || pays(facts, race))
  }

  async #adapted(lora: readonly Lora[], signal: AbortSignal) {
    return this.#adapters.open(await localAdapters(lora, { ...this.#options, signal }))
  }

  #scorerOf({ scorer }: ResolvedBestOfOptions): Scorer {
    return scorer ?? defaultScorer(this.#head !== null)
  }
}

/** A call that has asked for its streams. */
interface Arrival {
  readonly prompt: Prompt
  readonly given: TokenLists | null
  /** What the context holds of the tokens asked for. */
  readonly maxTokens: number
  readonly needs: PoolNeeds
  /** Null where the pool is to hold all candidates. */
  readonly plan: Plan | null
  readonly lora: readonly LoraRecord[]
  readonly leasing: Promise<Lease>
}

/** `threads` as many as compute. */
function computeOf({ batch, kvType, flashAttention, gpu, ...options }: ResolvedOpenOptions, layout: Layout): Compute {
  const threads = options.threads === 0 ? availableParallelism() : options.threads
  return {
    threads,
    batch,
    kvType,
    flashAttention,
    drawing: layout === 'unified' ? 'host' : drawingOf(options),
    gpu,
    layout
  }
}

function expectedOf(lease: Lease, rungs: readonly Rung[], waves: number, facts: ForecastFacts): Expected {
  const { kvBytes, cells } = lease.occupancy
  const [first = { width: facts.n, cells: toBlock(facts.promptTokens + facts.maxTokens) }] = rungs
  // While there are candidates to come the prompt has a stream of its own.
  const own = cellsOf(waves > 1 ? { ...first, width: first.width + 1 } : first)
  return { ...forecast(facts, rungs, waves), cellBytes: Math.round((own * kvBytes) / cells) }
}

function lengthsOf({ offsets }: TokenLists): number[] {
  return Array.from(offsets.subarray(1), (end, i) => end - (offsets[i] as number))
}
