/**
 * Many prompts through one engine: pulled one by one as there is room, raced at the same time, given out as they finish.
 * With a journal a result is on the disk before it is given out, and a later call gives it back without a race.
 */
import { setMaxListeners } from 'node:events'
import { follow } from './abort.js'
import { contentsOf, type Lora, loraRecords } from './adapter.js'
import type { Engine } from './engine.js'
import { expected, ofOnePrompt, WinnowError } from './errors.js'
import { type Conditions, contentKey, Journal } from './journal.js'
import { maxStreams } from './layout.js'
import { sha256 } from './model.js'
import {
  type BestOfOptions,
  type OpenOptions,
  type ResolvedBestOfOptions,
  resolveBestOf,
  resolveCandidates
} from './options.js'
import type { PromptInput } from './prompt.js'
import { Pump } from './pump.js'
import { type ResultRecord, recordOf, resultOf, wrongIn } from './record.js'
import type { Result } from './result.js'
import { isObject } from './sources/strict-json.js'
import { version } from './version.js'

/** A prompt, or a prompt with the name its result is to have. */
export type MapPrompt = PromptInput | { readonly id?: string | undefined; readonly prompt: PromptInput }

export interface MapOptions extends BestOfOptions {
  /** Candidates a prompt, 1..4096. Default 64. */
  readonly n?: number | undefined
  /**
   * At most so many prompts have been pulled whose results have not been consumed: races and results that wait. Default:
   * as many as fill 256 streams with their candidates, and one more.
   */
  readonly concurrency?: number | undefined
  /** `given`: in the order of the prompts. Default `finished`: as they come. */
  readonly order?: 'finished' | 'given' | undefined
  /** Default `start`: waiting for streams, which other prompts of the map hold, does not count. */
  readonly deadlineFrom?: BestOfOptions['deadlineFrom']
  /** `winner`: results have no other branch, which makes a journal many times smaller. Default `all`. */
  readonly keep?: 'all' | 'winner' | undefined
  /**
   * Path of a file that keeps every result. What it has of the prompts is given out without a race. Failures and what `stop`
   * ended are not kept. Default: none.
   */
  readonly journal?: string | undefined
  /**
   * What else results depend on, as JSON: of policies, scorers and pipelines a journal knows the names only. Results under
   * one identity are not given out under another. Default: nothing.
   */
  readonly identity?: Conditions | undefined
}

/** What became of one prompt. */
export type Mapped = Raced | Unraced

interface Given {
  /** Place among the prompts, from 0. */
  readonly index: number
  /** Null where the prompt was given none. */
  readonly id: string | null
  readonly prompt: PromptInput
}

export interface Raced extends Given {
  readonly state: 'done'
  readonly result: Result
  /** Whether it comes from the journal. */
  readonly resumed: boolean
}

export interface Unraced extends Given {
  readonly state: 'failed'
  /** Why; its `code` is what programs test. */
  readonly error: WinnowError
  /** What there was of it when it failed, such as the best so far; null where it did not begin. */
  readonly result: Result | null
}

/** The codes that condemn one prompt of a map. A scorer fails at the answers to one. */
const condemning: ReadonlySet<string> = new Set([...ofOnePrompt, 'SCORER_FAILED', 'SCORE_INVALID'])

/**
 * Races every prompt. No more prompts are pulled than there is room for: a consumer that stops asking stops the pulling.
 * A prompt that fails is a value. Leaving the loop aborts the races under way and waits for them. So does an aborted
 * `signal`: the loop gives out what had finished and rejects with its reason. `stop` pulls no more and gives out the best
 * so far.
 *
 * `about` says what of the engine, and of the adapters asked for, the results depend on; it is asked only for a journal. Throws OPTION_INVALID and
 * OPTION_UNKNOWN; the loop rejects with what the prompts' iterable throws, what condemns more than one prompt
 * (ENGINE_CLOSED, OUT_OF_MEMORY, TOKEN_INVALID), what `Journal.open` throws, and RESULTS_CORRUPT where a line of the journal
 * is whole but holds no result.
 */
export function map(
  engine: Pick<Engine, 'bestOf'>,
  prompts: Iterable<MapPrompt> | AsyncIterable<MapPrompt>,
  options: MapOptions = {},
  about: (lora: readonly Lora[]) => Promise<Conditions> = async () => ({})
): AsyncGenerator<Mapped, void, undefined> {
  const settings = resolveMap(options)
  const source = iteratorOf(prompts)
  return run(engine, source, settings, about)
}

/**
 * What of an engine its results depend on, for `about`. Reads the files of model, head and adapters, which are local ones.
 * `kvType` is as it was opened.
 */
export async function engineConditions(
  { model, head, runtime }: Pick<Engine, 'model' | 'head' | 'runtime'>,
  kvType: NonNullable<OpenOptions['kvType']>,
  lora: readonly Lora[] = []
): Promise<Conditions> {
  const { addon, llama } = runtime
  return {
    versions: { winnow: version, addon, llama },
    model: await sha256(model.path),
    head: head === null ? null : await sha256(head.path),
    kvType,
    // Journals of before there were any know of none.
    ...(lora.length > 0 && { lora: contentsOf(await loraRecords(lora)) })
  }
}

interface Settings {
  readonly n: number
  readonly concurrency: number
  readonly order: 'finished' | 'given'
  readonly keep: 'all' | 'winner'
  readonly journal: string | null
  readonly identity: Conditions
  /** As they were given. */
  readonly race: BestOfOptions
  readonly resolved: ResolvedBestOfOptions
}

function resolveMap(options: MapOptions): Settings {
  const { n = 64, concurrency, order = 'finished', keep = 'all', journal, identity = {}, ...given } = options
  const race = { ...given, deadlineFrom: given.deadlineFrom ?? 'start' }
  const resolved = resolveBestOf(race)
  const candidates = resolveCandidates(n)
  const most = concurrency ?? Math.ceil(maxStreams / candidates) + 1
  if (!Number.isSafeInteger(most) || most < 1) {
    throw expected('OPTION_INVALID', 'a whole number, at least 1,', 'concurrency', concurrency)
  }
  if (order !== 'finished' && order !== 'given') {
    throw expected('OPTION_INVALID', 'one of "finished", "given"', 'order', order)
  }
  if (keep !== 'all' && keep !== 'winner') throw expected('OPTION_INVALID', 'one of "all", "winner"', 'keep', keep)
  if (journal !== undefined && (typeof journal !== 'string' || journal === '')) {
    throw expected('OPTION_INVALID', 'a path', 'journal', journal)
  }
  if (!isPlain(identity)) throw expected('OPTION_INVALID', 'an object that JSON can say', 'identity', identity)
  return { n: candidates, concurrency: most, order, keep, journal: journal ?? null, identity, race, resolved }
}

function isPlain(value: unknown): boolean {
  try {
    return isObject(value) && typeof contentKey(value) === 'string'
  } catch {
    // A bigint, or an object within itself.
    return false
  }
}

function iteratorOf<T>(items: Iterable<T> | AsyncIterable<T>): Iterator<T> | AsyncIterator<T> {
  const { [Symbol.asyncIterator]: later, [Symbol.iterator]: now } = (items ?? {}) as Iterable<T> & AsyncIterable<T>
  // Text is iterable too, letter by letter; nobody means that.
  if (typeof items !== 'string' && typeof (later ?? now) === 'function') return (later ?? now).call(items)
  throw expected('OPTION_INVALID', 'an iterable of prompts', 'map', items)
}

async function* run(
  engine: Pick<Engine, 'bestOf'>,
  source: Iterator<MapPrompt> | AsyncIterator<MapPrompt>,
  settings: Settings,
  about: (lora: readonly Lora[]) => Promise<Conditions>
): AsyncGenerator<Mapped, void, undefined> {
  const { concurrency, order, race, journal: path } = settings
  race.signal?.throwIfAborted()
  const journal =
    path === null ? null : await Journal.open(path, conditionsOf(settings, await about(settings.resolved.lora)))
  // Every race listens; however many there are, that is no leak.
  const { signal: stop, release } = follow([race.stop])
  setMaxListeners(0, stop)
  const keyOf = keysOf(journal)
  const work = async (item: MapPrompt, index: number, signal: AbortSignal): Promise<Mapped> => {
    const given = givenOf(item, index)
    // Before anything is waited for: equal prompts are told apart by their order.
    const key = keyOf(given)
    if (WinnowError.is(key)) return { ...given, state: 'failed', error: key, result: null }
    return oneOf({ engine, settings, journal, key, given, options: { ...race, signal, stop } })
  }
  try {
    yield* new Pump({ source, work, concurrency, order, signal: race.signal, stop }).outcomes()
  } finally {
    release()
    await journal?.close()
  }
}

/** What a plan refused is this prompt's: a shorter one may fit. */
function isOverBudget({ code }: WinnowError, { budget, policy }: BestOfOptions): boolean {
  return code === 'OUT_OF_MEMORY' && (budget !== undefined || policy?.onFull === true)
}

interface Task {
  readonly engine: Pick<Engine, 'bestOf'>
  readonly settings: Settings
  readonly journal: Journal | null
  readonly key: string | null
  readonly given: Given
  readonly options: BestOfOptions
}

async function oneOf({ engine, settings, journal, key, given, options }: Task): Promise<Mapped> {
  const { n, keep } = settings
  const { id, prompt } = given
  const before = key === null || journal === null ? null : await readBack(journal, key)
  if (before !== null) return { ...given, state: 'done', result: before, resumed: true }
  let result: Result
  try {
    checkId(id)
    result = keep === 'all' ? await engine.bestOf(n, prompt, options) : alone(await engine.bestOf(n, prompt, options))
  } catch (error) {
    if (!WinnowError.is(error) || !(condemning.has(error.code) || isOverBudget(error, options))) throw error
    return { ...given, state: 'failed', error, result: null }
  }
  const error = result.failure ?? lateness(result)
  if (error !== null) return { ...given, state: 'failed', error, result }
  if (key !== null && result.reason !== 'stopped') await journal?.append(key, { id, prompt, n, ...recordOf(result) })
  return { ...given, state: 'done', result, resumed: false }
}

function givenOf(item: MapPrompt, index: number): Given {
  const named = typeof item === 'object' && item !== null && 'prompt' in item
  return { index, id: named ? (item.id ?? null) : null, prompt: named ? item.prompt : item }
}

function checkId(id: unknown): void {
  if (id !== null && typeof id !== 'string') throw expected('PROMPT_INVALID', 'text', 'the id of the prompt', id)
}

/**
 * Keys by content; of prompts alike in it each has its own. Null without a journal; PROMPT_INVALID for what a journal
 * cannot say.
 */
function keysOf(journal: Journal | null): (given: Given) => string | WinnowError | null {
  const times = new Map<string, number>()
  return ({ id, prompt }) => {
    if (journal === null) return null
    let key: string
    try {
      key = contentKey([journal.identity, id, prompt])
    } catch {
      // A bigint, or an object within itself.
      return expected('PROMPT_INVALID', 'text or chat messages that JSON can say', 'the prompt', prompt)
    }
    const time = times.get(key) ?? 0
    times.set(key, time + 1)
    return time === 0 ? key : contentKey([key, time])
  }
}

/** A result without the branches that did not win. */
function alone(result: Result): Result {
  const { winner, choice } = result
  const contenders = choice?.contenders.filter(({ id }) => id === winner?.id) ?? []
  return {
    ...result,
    branches: winner === null ? [] : [winner],
    choice: choice === null ? null : { ...choice, contenders }
  }
}

/** A race that ended before its first token is no answer; null for others. */
function lateness({ reason, usage }: Result): WinnowError | null {
  if (reason !== 'deadline' || usage.generatedTokens > 0) return null
  return new WinnowError('DEADLINE_PASSED', 'Expected a first token before the deadline but received none')
}

/** Null where the journal has none. */
async function readBack(journal: Journal, key: string): Promise<Result | null> {
  const entry = await journal.read(key)
  if (entry === null) return null
  const { id: _, prompt: __, n: ___, ...record } = entry
  const wrong = wrongIn(record)
  if (wrong !== null) throw journal.corruption(key, `one that is wrong in ${wrong}`)
  return resultOf(record as unknown as ResultRecord)
}

/** Everything but who is told and who may end it; what is no data stands there by its name. */
function conditionsOf({ n, keep, identity, resolved }: Settings, about: Conditions): Conditions {
  // Adapters are told by their contents.
  const {
    signal: _,
    stop: __,
    onStart: ___,
    onCheckpoint: ____,
    onProgress: _____,
    lora: ______,
    ...options
  } = resolved
  const { policy, checkpoints, scorer, pipeline, seed } = options
  return {
    ...about,
    ...options,
    n,
    keep,
    policy: policy.name,
    checkpoints: checkpoints.name,
    scorer: scorer?.name ?? null,
    pipeline: pipeline?.name ?? null,
    seed: String(seed),
    identity
  }
}
