import { z } from 'zod'
import type { Lora, LoraOptions } from './adapter.js'
import type { Branch } from './branch.js'
import type { Checkpoints } from './checkpoint.js'
import {
  abortSignal,
  callback,
  check,
  flag,
  having,
  isNumber,
  isText,
  list,
  one,
  parse,
  range,
  text,
  whole
} from './checks.js'
import type { DownloadOptions } from './download.js'
import { expected } from './errors.js'
import type { Layout } from './layout.js'
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
  /**
   * Whether each candidate has a stream of cells, or all share one cache that holds the prompt once, for which a race has the
   * pool alone. `unified` is so wherever it can be; streams are taken for `deterministic` races, for more than 255 candidates,
   * where not all fit to their ends at once, for models with sliding windows, and for scorers that no plan can count. `auto`:
   * where fewer cells are read a step: on a GPU behind a long prompt, and where streams do not hold all at once; on the CPU
   * for 64 candidates or more whose prompt is most of what they read. `engine.plan`
   * says why, and `result.compute` which it was. Default `auto`.
   */
  readonly layout?: 'auto' | Layout | undefined
  /**
   * Where tokens are drawn: `host` copies all logits out of llama.cpp; `graph` has it make of each row what a draw needs,
   * so that they stay on the device, but not for candidates with top-k, top-p, sampling rules or certainties, nor in a unified cache. Both draw the
   * same tokens but for rounding. Default `auto`: the host, until a GPU has been measured (`winnow calibrate` does).
   */
  readonly drawing?: 'auto' | 'host' | 'graph' | undefined
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
  /** Once, when the race has its streams; before that it waits for others. What it throws rejects the race. */
  readonly onStart?: (() => void) | undefined
  /**
   * LoRA adapters that the model writes with, in any order. Each is opened once, and kept while the engine is open. Only
   * races with the same adapters at the same scales share a pool: others have it when those have ended, in the order of the
   * calls. A head that reads the model's states reads those of the adapted model; reward models stay as they are. An address
   * is fetched first, which `signal` ends and `stop` does not. Of several adapters the last bits of what is computed may
   * differ from process to process. Default: none.
   */
  readonly lora?: readonly LoraOptions[] | undefined
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
  | 'onStart'
  | 'onCheckpoint'
  | 'onProgress'
  | 'checkpoints'

export interface ResolvedBestOfOptions
  extends Resolved<Omit<BestOfOptions, Optional | 'sampling' | 'seed' | 'lora'>>,
    Pick<BestOfOptions, 'budget' | 'signal' | 'stop' | 'deadlineMs' | 'onStart' | 'onCheckpoint' | 'onProgress'> {
  readonly checkpoints: Checkpoints
  /** Null: the engine decides. */
  readonly scorer: Scorer | null
  /** Null: the policy chooses. */
  readonly pipeline: Pipeline | null
  readonly sampling: z.output<typeof samplingSchema>
  readonly seed: bigint
  readonly lora: readonly Lora[]
}

/** Of one race; more than a context has streams are written in waves. */
export const maxCandidates = 4096

const silent: Logger = { debug() {}, info() {}, warn() {} }

const threadLimit = 512

const openSchema = z.strictObject({
  head: check<string | null>((value) => value === null || isText(value), 'a path or null').optional(),
  gpu: one('auto', 'cuda', 'vulkan', 'metal', 'cpu').default('auto'),
  gpuLayers: whole(-1, 10_000).default(-1),
  devices: list<string>((item) => typeof item === 'string', 'an array of device names').default([]),
  split: one('none', 'layer', 'row').default('layer'),
  mainGpu: whole(0, 64).default(0),
  tensorSplit: list<number>((item) => isNumber(item) && item >= 0, 'an array of shares').default([]),
  mmap: flag.default(true),
  mlock: flag.default(false),
  checkTensors: flag.default(false),
  threads: whole(0, threadLimit).default(0),
  batch: whole(1, 1 << 16).default(512),
  kvType: one('f32', 'f16', 'q8_0', 'q4_0').default('f16'),
  flashAttention: one('auto', 'on', 'off').default('auto'),
  layout: one('auto', 'streams', 'unified').default('auto'),
  drawing: one('auto', 'host', 'graph').default('auto'),
  logger: having<Logger>('a logger with debug, info and warn', 'debug', 'info', 'warn').default(silent),
  onLoad: callback<(share: number) => void>().optional(),
  models: text('a folder').optional(),
  signal: abortSignal.optional(),
  onDownload: callback<(bytes: number, total: number) => void>().optional()
})

const samplingSchema = z.strictObject({
  temperature: range(0, 100).default(1),
  topK: whole(0, 2 ** 31 - 1).default(0),
  topP: check<number>((value) => isNumber(value) && value > 0 && value <= 1, 'a number above 0 and at most 1').default(
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

const loraSchema = z.strictObject({
  path: text('a path or an address'),
  // llama.cpp has it in 32 bits.
  scale: check<number>((value) => isNumber(value) && Number.isFinite(Math.fround(value)), 'a finite number').default(1)
})

const seedText = 'a whole number from 0 to 2^64-1'
const bestOfSchema = z.strictObject({
  policy: withParts(having<Policy>('a policy such as specReject()', 'decide'), {
    name: [isText, 'a name'],
    checkpoints: [isCheckpoints, 'checkpoints such as every(32)'],
    choose: [optionally('function'), 'a function or nothing']
  }).default(() => bestOfN()),
  checkpoints: check<Checkpoints>(isCheckpoints, 'checkpoints such as every(32)').optional(),
  scorer: withParts(
    check<Scorer | ScoreFunction>((value) => typeof value === 'function' || isScorer(value), 'a scorer or a function'),
    {
      name: [isText, 'a name'],
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
  signal: abortSignal.optional(),
  stop: abortSignal.optional(),
  budget: check<number>((value) => isNumber(value) && value > 0, 'a number of bytes above 0').optional(),
  deadlineMs: check<number>(
    (value) => isNumber(value) && value > 0 && value <= 2 ** 31,
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
  lora: z.array(loraSchema).default([]),
  onStart: callback<() => void>().optional(),
  onCheckpoint: callback<(progress: Progress) => void>().optional(),
  onProgress: callback<(progress: Progress) => void>().optional()
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
