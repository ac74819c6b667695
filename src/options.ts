import { z } from 'zod'
import type { Branch } from './branch.js'
import type { Checkpoints } from './checkpoint.js'
import type { DownloadOptions } from './download.js'
import { expected, WinnowError } from './errors.js'
import type { Pipeline } from './pipeline.js'
import { bestOfN } from './policies/best-of-n.js'
import type { Policy } from './policy.js'
import { oneGrammar, type SamplingRules, samplingRulesSchema } from './sampling-rules.js'
import { type ScoreFunction, type Scorer, scorerOf } from './scorer.js'

/** A pino-shaped logger; the library prints nothing of its own. */
export interface Logger {
  debug(object: object, message?: string): void
  info(object: object, message?: string): void
  warn(object: object, message?: string): void
}

/** Those of a download are for models given by address: loading itself heeds no signal. */
export interface OpenOptions extends DownloadOptions {
  /** Path of a reward head; null for none. Default: the embedded head with the embedded model, otherwise none. */
  readonly head?: string | null | undefined
  /** Which prebuilt llama.cpp to use; `auto` takes the best that loads and falls back to the CPU. Default `auto`. */
  readonly gpu?: 'auto' | 'cuda' | 'vulkan' | 'metal' | 'cpu' | undefined
  /** Layers on the device; -1 for all. Default -1. */
  readonly gpuLayers?: number | undefined
  /** Device names as `winnow doctor` lists them. Default: llama.cpp's choice. */
  readonly devices?: readonly string[] | undefined
  /** How several devices share a model. Default `layer`. */
  readonly split?: 'none' | 'layer' | 'row' | undefined
  readonly mainGpu?: number | undefined
  /** Share of each device. Default: by free memory. */
  readonly tensorSplit?: readonly number[] | undefined
  /** Default true. */
  readonly mmap?: boolean | undefined
  /** Default false. */
  readonly mlock?: boolean | undefined
  /** Look for NaN in the weights while loading. Default false. */
  readonly checkTensors?: boolean | undefined
  /** 0 for one a core. Default 0. */
  readonly threads?: number | undefined
  /** Prompt tokens a decode call. Default 512. */
  readonly batch?: number | undefined
  /** Default `f16`. */
  readonly kvType?: 'f32' | 'f16' | 'q8_0' | 'q4_0' | undefined
  /** Default `auto`. */
  readonly flashAttention?: 'auto' | 'on' | 'off' | undefined
  /** Silent by default. */
  readonly logger?: Logger | undefined
  /** Share of the weights loaded, 0..1. */
  readonly onLoad?: ((share: number) => void) | undefined
}

export interface SamplingOptions extends SamplingRules {
  /** 0 is greedy. Default 1. */
  readonly temperature?: number | undefined
  /** 0 is off. Default 0. */
  readonly topK?: number | undefined
  /** 1 is off. Default 1. */
  readonly topP?: number | undefined
  /** 0 is off. Default 0. */
  readonly minP?: number | undefined
}

/** What `onCheckpoint` and `onProgress` are told. The branches are live objects: read them during the call. */
export interface Progress {
  /** Checkpoints passed. */
  readonly index: number
  /** Generated tokens of a live branch. */
  readonly tokens: number
  readonly seconds: number
  readonly branches: readonly Branch[]
  /** Ids killed just now; empty in `onProgress`. */
  readonly killed: readonly number[]
}

export interface BestOfOptions {
  /** Who is killed. Default `bestOfN()`: nobody. */
  readonly policy?: Policy | undefined
  /** When to look. Default: the policy's own. */
  readonly checkpoints?: Checkpoints | undefined
  /** Default: the engine's reward head; without one, mean log-probability. The result names it. */
  readonly scorer?: Scorer | ScoreFunction | undefined
  /** How the winner is chosen among the finished answers. Default: by the policy, usually the highest score. */
  readonly pipeline?: Pipeline | undefined
  readonly sampling?: SamplingOptions | undefined
  /** 0 <= seed < 2^64. The same seed and prompt give the same candidates. Default 0. */
  readonly seed?: number | bigint | undefined
  /** Rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined
  /** Ends the race at its next step and resolves with the best so far, reason `stopped`. */
  readonly stop?: AbortSignal | undefined
  /**
   * Milliseconds from the call; then the race resolves with the best so far, reason `deadline`. A scorer at work has a
   * second more; then the scores of earlier checkpoints decide. Default: none.
   */
  readonly deadlineMs?: number | undefined
  /** Whether waiting for other races counts: `start` is when this one has its streams. Default `call`. */
  readonly deadlineFrom?: 'call' | 'start' | undefined
  /** Generated tokens a branch; cut down to what the model's trained context holds. Default 512. */
  readonly maxTokens?: number | undefined
  /** Token ids that end a branch, besides the model's own end tokens. */
  readonly stopTokens?: readonly number[] | undefined
  /** Give the text to the model as it is, without its chat template. Default false. */
  readonly raw?: boolean | undefined
  /** The same seed gives the same tokens whoever else is alive, for a few percent of speed. Default false. */
  readonly deterministic?: boolean | undefined
  /**
   * Bytes that contexts may take beside the weights, on all devices: a race that needs more is refused (OUT_OF_MEMORY), one
   * whose policy decides when the streams are full begins with what fits. Such a race has the engine's pool alone. Default:
   * what is free; never more than that.
   */
  readonly budget?: number | undefined
  /**
   * After every checkpoint. What it throws rejects the race. A promise it returns is not waited for; what that rejects
   * with rejects the race at its next step, and is ignored once the race has no more steps to take.
   */
  readonly onCheckpoint?: ((progress: Progress) => void) | undefined
  /** At most ten times a second while the branches are written. Errors as with `onCheckpoint`. */
  readonly onProgress?: ((progress: Progress) => void) | undefined
}

type Resolved<T> = { readonly [K in keyof T]-?: Exclude<T[K], undefined> }

export interface ResolvedOpenOptions
  extends Resolved<Omit<OpenOptions, 'head' | 'logger' | 'onLoad' | keyof DownloadOptions>>,
    DownloadOptions {
  /** Undefined where the caller said nothing. */
  readonly head: string | null | undefined
  readonly logger: Logger
  readonly onLoad: ((share: number) => void) | undefined
}

type Optional =
  | 'budget'
  | 'signal'
  | 'stop'
  | 'deadlineMs'
  | 'scorer'
  | 'pipeline'
  | 'onCheckpoint'
  | 'onProgress'
  | 'checkpoints'

export interface ResolvedBestOfOptions
  extends Resolved<Omit<BestOfOptions, Optional | 'sampling' | 'seed'>>,
    Pick<BestOfOptions, 'budget' | 'signal' | 'stop' | 'deadlineMs' | 'onCheckpoint' | 'onProgress'> {
  readonly checkpoints: Checkpoints
  /** Null: the engine decides. */
  readonly scorer: Scorer | null
  /** Null: the policy chooses. */
  readonly pipeline: Pipeline | null
  readonly sampling: z.output<typeof samplingSchema>
  readonly seed: bigint
}

/** Of one race; more than a context has streams are written in waves. */
export const maxCandidates = 4096

const silent: Logger = { debug() {}, info() {}, warn() {} }

// The text of a check is the "X" of "Expected X for Y but received Z".
const check = <T>(test: (value: unknown) => boolean, what: string) =>
  z.custom<T>((value) => test(value), { error: what })
const numeric = (value: unknown): value is number => typeof value === 'number'
const whole = (low: number, high: number, what = `a whole number from ${low} to ${high}`) =>
  check<number>((value) => Number.isSafeInteger(value) && (value as number) >= low && (value as number) <= high, what)
const range = (low: number, high: number) =>
  check<number>((value) => numeric(value) && value >= low && value <= high, `a number from ${low} to ${high}`)
const flag = check<boolean>((value) => typeof value === 'boolean', 'true or false')
const one = <T extends string>(...names: readonly T[]) =>
  check<T>((value) => names.includes(value as T), `one of ${names.map((name) => `"${name}"`).join(', ')}`)
const callback = <T>() => check<T>((value) => typeof value === 'function', 'a function').optional()
const having = <T>(what: string, ...methods: readonly string[]) =>
  check<T>(
    (value) => methods.every((name) => typeof (value as Record<string, unknown> | null)?.[name] === 'function'),
    what
  )
const signal = having<AbortSignal>('an AbortSignal', 'addEventListener', 'throwIfAborted').optional()
const list = <T>(item: (value: unknown) => boolean, what: string) =>
  check<readonly T[]>((value) => Array.isArray(value) && value.every(item), what)

const threadLimit = 512

const openSchema = z.strictObject({
  head: check<string | null>(
    (value) => value === null || (typeof value === 'string' && value !== ''),
    'a path or null'
  ).optional(),
  gpu: one('auto', 'cuda', 'vulkan', 'metal', 'cpu').default('auto'),
  gpuLayers: whole(-1, 10_000).default(-1),
  devices: list<string>((item) => typeof item === 'string', 'an array of device names').default([]),
  split: one('none', 'layer', 'row').default('layer'),
  mainGpu: whole(0, 64).default(0),
  tensorSplit: list<number>((item) => numeric(item) && item >= 0, 'an array of shares').default([]),
  mmap: flag.default(true),
  mlock: flag.default(false),
  checkTensors: flag.default(false),
  threads: whole(0, threadLimit).default(0),
  batch: whole(1, 1 << 16).default(512),
  kvType: one('f32', 'f16', 'q8_0', 'q4_0').default('f16'),
  flashAttention: one('auto', 'on', 'off').default('auto'),
  logger: having<Logger>('a logger with debug, info and warn', 'debug', 'info', 'warn').default(silent),
  onLoad: callback<(share: number) => void>(),
  models: check<string>((value) => typeof value === 'string' && value !== '', 'a folder').optional(),
  signal,
  onDownload: callback<(bytes: number, total: number) => void>()
})

const samplingSchema = z.strictObject({
  temperature: range(0, 100).default(1),
  topK: whole(0, 2 ** 31 - 1).default(0),
  topP: check<number>((value) => numeric(value) && value > 0 && value <= 1, 'a number above 0 and at most 1').default(
    1
  ),
  minP: range(0, 1).default(0),
  ...samplingRulesSchema.shape
})

type Parts = Readonly<Record<string, readonly [test: (value: unknown) => boolean, what: string]>>
// A part that is missing is named by its place, such as `policy.checkpoints`.
const withParts = <T>(schema: z.ZodType<T>, parts: Parts) =>
  schema.superRefine((value, context) => {
    if (typeof value === 'function') return
    for (const [key, [test, message]] of Object.entries(parts)) {
      if (!test((value as Record<string, unknown> | null)?.[key])) {
        context.addIssue({ code: 'custom', path: [key], message })
      }
    }
  })

const isName = (value: unknown) => typeof value === 'string' && value !== ''
const optionally = (type: string) => (value: unknown) => value === undefined || typeof value === type
const isCheckpoints = (value: unknown) => {
  const { name, next } = (value ?? {}) as { readonly name?: unknown; readonly next?: unknown }
  return typeof name === 'string' && typeof next === 'function'
}
const isScorer = (value: unknown) => {
  const { score, begin } = (value ?? {}) as { readonly score?: unknown; readonly begin?: unknown }
  return typeof score === 'function' || typeof begin === 'function'
}
const isNeeds = (value: unknown) =>
  Array.isArray(value) && value.every((need) => need === 'states' || need === 'text' || need === 'distributions')

const seedText = 'a whole number from 0 to 2^64-1'
const bestOfSchema = z.strictObject({
  policy: withParts(having<Policy>('a policy such as specReject()', 'decide'), {
    name: [isName, 'a name'],
    checkpoints: [isCheckpoints, 'checkpoints such as every(32)'],
    choose: [optionally('function'), 'a function or nothing']
  }).default(() => bestOfN()),
  checkpoints: check<Checkpoints>(isCheckpoints, 'checkpoints such as every(32)').optional(),
  scorer: withParts(
    check<Scorer | ScoreFunction>((value) => typeof value === 'function' || isScorer(value), 'a scorer or a function'),
    {
      name: [isName, 'a name'],
      needs: [isNeeds, 'an array of "states", "text" and "distributions"']
    }
  ).optional(),
  pipeline: check<Pipeline>(
    (value) => Array.isArray((value as Pipeline | null)?.judges),
    'a pipeline such as pipeline({ select: argmax() })'
  ).optional(),
  sampling: samplingSchema.superRefine(oneGrammar).prefault({}),
  seed: check<number | bigint>(
    (value) =>
      typeof value === 'bigint'
        ? value >= 0n && value < 2n ** 64n
        : Number.isSafeInteger(value) && (value as number) >= 0,
    seedText
  ).default(0),
  signal,
  stop: signal,
  budget: check<number>((value) => numeric(value) && value > 0, 'a number of bytes above 0').optional(),
  deadlineMs: check<number>(
    (value) => numeric(value) && value > 0 && value <= 2 ** 31,
    'a number of milliseconds above 0'
  ).optional(),
  deadlineFrom: one('call', 'start').default('call'),
  maxTokens: whole(1, 2 ** 31 - 1, 'a whole number of tokens, at least 1,').default(512),
  stopTokens: list<number>(
    (item) => Number.isSafeInteger(item) && (item as number) >= 0 && (item as number) <= 2 ** 31 - 1,
    'an array of token ids'
  ).default([]),
  raw: flag.default(false),
  deterministic: flag.default(false),
  onCheckpoint: callback<(progress: Progress) => void>(),
  onProgress: callback<(progress: Progress) => void>()
})

/** Defaults, then validation, then one frozen object. Throws OPTION_INVALID or OPTION_UNKNOWN. */
export function resolveOpen(options: OpenOptions = {}): ResolvedOpenOptions {
  const { head, onLoad, ...rest } = parse(openSchema, options, 'open')
  return Object.freeze({ ...rest, head, onLoad })
}

/** Defaults, then validation, then one frozen object. Throws OPTION_INVALID or OPTION_UNKNOWN. */
export function resolveBestOf(options: BestOfOptions = {}): ResolvedBestOfOptions {
  const { scorer, pipeline, checkpoints, seed, ...rest } = parse(bestOfSchema, options, 'bestOf')
  return Object.freeze({
    ...rest,
    checkpoints: checkpoints ?? rest.policy.checkpoints,
    scorer: scorer === undefined ? null : typeof scorer === 'function' ? scorerOf(scorer) : scorer,
    pipeline: pipeline ?? null,
    seed: BigInt(seed)
  })
}

/** The number of candidates. Throws OPTION_INVALID. */
export function resolveCandidates(n: unknown, most = maxCandidates): number {
  if (Number.isSafeInteger(n) && (n as number) >= 1 && (n as number) <= most) return n as number
  throw expected('OPTION_INVALID', `a whole number from 1 to ${most}`, 'n', n)
}

/** Validates against a strict schema; the first thing wrong becomes the sentence. `what` names the options. */
export function parse<S extends z.ZodType>(schema: S, value: unknown, what: string): z.output<S> {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const issue = result.error.issues[0] as z.core.$ZodIssue
  const path = issue.path.map(String)
  const where = path.length === 0 ? `the options of ${what}` : path.join('.')
  if (issue.code === 'unrecognized_keys') {
    const key = issue.keys[0] as string
    const known = knownKeys(schema, path)
    const near = nearest(key, known)
    const hint = near === null ? `; known are ${known.join(', ')}` : `; did you mean "${near}"?`
    throw new WinnowError('OPTION_UNKNOWN', `Expected a known option for ${where} but received "${key}"${hint}`)
  }
  const received = path.reduce<unknown>((inner, key) => (inner as Record<string, unknown> | undefined)?.[key], value)
  const wanted = issue.code === 'custom' ? issue.message : 'an object'
  throw expected('OPTION_INVALID', wanted, where, received)
}

function knownKeys(schema: z.ZodType, path: readonly string[]): string[] {
  let inner: unknown = schema
  for (const key of path) inner = unwrap((unwrap(inner) as z.ZodObject).shape[key])
  return Object.keys((unwrap(inner) as z.ZodObject).shape)
}

function unwrap(schema: unknown): unknown {
  const inner = (schema as { def?: { innerType?: unknown } }).def?.innerType
  return inner === undefined ? schema : unwrap(inner)
}

/** The known name closest to `name` by edit distance, if it is close enough to be a slip; null otherwise. */
export function nearest(name: string, known: readonly string[]): string | null {
  let closest: string | null = null
  let least = Math.max(2, Math.floor(name.length / 3)) + 1
  for (const candidate of known) {
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase())
    if (distance < least) {
      least = distance
      closest = candidate
    }
  }
  return closest
}

/** Levenshtein distance. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(change, (row[j] as number) + 1, (next[j - 1] as number) + 1))
    }
    row = next
  }
  return row[b.length] as number
}
