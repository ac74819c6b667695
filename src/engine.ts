import { setMaxListeners } from 'node:events'
import { abortable, follow } from './abort.js'
import { readAnswers } from './answers.js'
import {
  loadBinding,
  type ModelFacts,
  type NativeBinding,
  type NativeDevice,
  type NativeHead,
  type NativeModel,
  type NativePool,
  type TokenLists
} from './binding.js'
import { embedded } from './embedded.js'
import { expected, WinnowError } from './errors.js'
import { type ForecastFacts, forecast } from './forecast.js'
import { toBlock } from './ladder.js'
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
import { defaultScorer, fitTokens, type PlanOptions, planRace } from './planning.js'
import { type PromptInput, readPrompt } from './prompt.js'
import { race } from './race.js'
import type { Expected, Result } from './result.js'
import { Streams } from './streams.js'
import { Turns } from './turns.js'

/**
 * Opens a GGUF model, or the embedded one when no path is given.
 *
 * Throws MODEL_NOT_FOUND, MODEL_CORRUPT, MODEL_UNSUPPORTED, HEAD_NOT_FOUND, HEAD_CORRUPT, HEAD_WIDTH,
 * OPTION_INVALID, OPTION_UNKNOWN, ADDON_MISSING, ADDON_MISMATCH, VERSION_MISMATCH, VARIANT_LOADED,
 * VARIANT_UNAVAILABLE, BACKEND_LOAD, OUT_OF_MEMORY.
 */
export async function open(path?: string, options: OpenOptions = {}): Promise<Engine> {
  const resolved = resolveOpen(options)
  const { binding } = loadBinding({ gpu: resolved.gpu })
  return openWith(binding, path, resolved)
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

/** An opened model with its head and its pool. Races wait for each other: one pool, one race at a time. */
export class Engine {
  readonly #binding: NativeBinding
  readonly #model: NativeModel
  readonly #head: NativeHead | null
  readonly #options: ResolvedOpenOptions
  readonly #streams: Streams
  readonly #pace = new Pace()
  readonly #closing = new AbortController()
  /** Of the races: one runs, the others wait. */
  readonly #turns = new Turns()
  #closed: Promise<void> | null = null

  constructor(binding: NativeBinding, model: NativeModel, head: NativeHead | null, options: ResolvedOpenOptions) {
    this.#binding = binding
    this.#model = model
    this.#head = head
    this.#options = options
    this.#streams = new Streams(binding, model, options)
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

  /**
   * Writes n candidates (1..256), stops those the policy rejects, and returns the winner with everything about how
   * it won. Calls made at the same time are served in turn. An aborted `signal` rejects with its reason; a deadline, a
   * `stop` or full memory is a `reason` in the result.
   *
   * Throws OPTION_INVALID, OPTION_UNKNOWN, PROMPT_EMPTY, PROMPT_INVALID, PROMPT_TOO_LONG, TEMPLATE_MISSING,
   * TEMPLATE_FAILED, NO_TOKENIZER, HEAD_MISSING, SCORER_FAILED, SCORE_INVALID, POLICY_INVALID, OUT_OF_MEMORY,
   * ENGINE_CLOSED.
   */
  async bestOf(n: number, prompt: PromptInput, options: BestOfOptions = {}): Promise<Result> {
    return this.#queue(resolveCandidates(n), prompt, resolveBestOf(options), null)
  }

  /**
   * What `bestOf` with the same arguments would take, n being 1..4096: how many candidates at once, in how many cells,
   * bytes beside the weights, tokens and seconds; and whether it can be run at all, which is no error. What is planned is
   * the pool that the race would have as things are now: the one at hand where that serves, or what is made in its place.
   * Of the memory that is free a part is left alone, and what the pool at hand takes counts as free.
   *
   * No weights are read, no cells are made and nobody waits. llama.cpp lays the contexts out, which takes 52 bytes of the
   * host's memory for each cell and the rows of one decode, for as long as the plan is made.
   *
   * Throws what `bestOf` does of prompt and options, and OPTION_INVALID for scorers whose memory cannot be counted. What
   * only a scorer finds out when it begins (HEAD_MISSING, HEAD_WIDTH) is not looked for.
   */
  async plan(n: number, prompt: PromptInput, options: PlanOptions = {}): Promise<Plan> {
    const { signal, release } = follow([this.#closing.signal, options.signal])
    try {
      signal.throwIfAborted()
      const site = {
        binding: this.#binding,
        path: this.#model.facts.path,
        options: this.#options,
        loaded: true,
        head: this.#head !== null,
        held: this.#streams.held,
        pace: this.#pace
      }
      return await planRace(site, n, prompt, options, signal)
    } finally {
      release()
    }
  }

  /**
   * Reads 1..256 answers that somebody else wrote as if this model had written them: the result has their scores at
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
    const resolved = resolveBestOf(options)
    if (!Array.isArray(answers) || !answers.every((item) => typeof item === 'string' || item instanceof Int32Array)) {
      throw expected('ANSWERS_INVALID', 'an array of texts or Int32Arrays of tokens', 'the answers', answers)
    }
    return this.#queue(resolveCandidates(answers.length), prompt, resolved, answers)
  }

  async #queue(
    n: number,
    prompt: PromptInput,
    resolved: ResolvedBestOfOptions,
    answers: readonly (string | Int32Array)[] | null
  ): Promise<Result> {
    const deadline = performance.now() + (resolved.deadlineMs ?? Number.POSITIVE_INFINITY)
    const { signal, release } = follow([this.#closing.signal, resolved.signal])
    try {
      const done = await this.#turns.take(signal)
      try {
        return await this.#race(n, prompt, resolved, answers, signal, deadline)
      } finally {
        done()
      }
    } finally {
      release()
    }
  }

  /** The text of tokens, control tokens left out. */
  async text(tokens: Int32Array): Promise<string> {
    this.#closing.signal.throwIfAborted()
    try {
      const [text] = await this.#model.detokenize(tokens, Int32Array.of(0, tokens.length), false)
      return text ?? ''
    } catch (error) {
      throw WinnowError.from(error)
    }
  }

  /** Ends what runs (it rejects with ENGINE_CLOSED), then frees pool, head and model, in that order. Idempotent. */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(): Promise<void> {
    this.#closing.abort(new WinnowError('ENGINE_CLOSED', 'Expected an open engine but received one that was closed'))
    await this.#turns.empty
    await this.#streams.drop()
    this.#head?.close()
    this.#model.close()
  }

  async #race(
    n: number,
    input: PromptInput,
    options: ResolvedBestOfOptions,
    answers: readonly (string | Int32Array)[] | null,
    signal: AbortSignal,
    deadline: number
  ): Promise<Result> {
    const prompt = await abortable(readPrompt(this.#model, input, options.raw), signal)
    const given = answers === null ? null : await abortable(readAnswers(this.#model, answers), signal)
    const maxTokens = fitTokens(this.#model.facts, prompt, options.maxTokens)
    const scorer = options.scorer ?? defaultScorer(this.#head !== null)
    const pool = await this.#streams.acquire({
      streams: n,
      cellsPerStream: prompt.tokens.length + maxTokens,
      states: [...scorer.needs, ...(options.pipeline?.needs ?? [])].includes('states'),
      deterministic: options.deterministic
    })
    // Before the race: whatever a policy says of itself cannot cost what was written.
    const foreseen = expectedOf(pool, {
      n,
      maxTokens,
      promptTokens: prompt.tokens.length,
      policy: options.policy,
      checkpoints: options.checkpoints,
      lengths: given === null ? undefined : lengthsOf(given)
    })
    // A pool is emptied by the next prefill; after an error of its own it is not to be trusted with that.
    let forsaken = false
    const setup = {
      pool,
      model: this.#model,
      head: this.#head,
      prompt,
      n,
      maxTokens,
      options,
      given,
      scorer,
      signal,
      deadline
    }
    try {
      const result = await race({
        ...setup,
        forsakePool: () => {
          forsaken = true
        }
      })
      const steps = Math.max(...result.branches.map(({ tokens }) => tokens.length))
      if (given === null) this.#pace.record(result.usage, steps, options.deterministic)
      return { ...result, expected: foreseen }
    } catch (error) {
      forsaken ||= !signal.aborted
      throw error
    } finally {
      if (forsaken) await this.#streams.drop()
    }
  }
}

function expectedOf(pool: NativePool, facts: ForecastFacts): Expected {
  const { kvBytes, cells } = pool.occupancy()
  const own = facts.n * toBlock(facts.promptTokens + facts.maxTokens)
  return { ...forecast(facts), cellBytes: Math.round((own * kvBytes) / cells) }
}

function lengthsOf({ offsets }: TokenLists): number[] {
  return Array.from(offsets.subarray(1), (end, i) => end - (offsets[i] as number))
}
