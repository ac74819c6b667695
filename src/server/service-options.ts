import type { Registry } from 'prom-client'
import { z } from 'zod'
import { check, parse, range, whole } from '../checks.js'
import type { Engine } from '../engine.js'
import { WinnowError } from '../errors.js'
import { type Logger, maxCandidates } from '../options.js'
import type { Pipeline } from '../pipeline.js'
import type { Policy } from '../policy.js'
import type { Scorer } from '../scorer.js'
import { type Limits, limitsSchema, type ResolvedLimits } from './limits.js'

export interface ServiceOptions {
  /** Until it is there the service says that it is loading. It stays the caller's to close, after `drain`. */
  readonly engine: Engine | PromiseLike<Engine>
  /** What requests may call the model, besides `default`. Default: the name of its file. */
  readonly name?: string | undefined
  /** One of these is asked for wherever a route needs a key. Default: none is. */
  readonly apiKey?: string | readonly string[] | undefined
  /** Candidates of a request that does not say `best_of`. Default 1. */
  readonly bestOf?: number | undefined
  /** Of requests that name none. Default `specReject()`. */
  readonly policy?: Policy | undefined
  /** Of requests that name none. Default: the engine's. */
  readonly scorer?: Scorer | undefined
  /** Further scorers that requests may name. */
  readonly scorers?: Readonly<Record<string, Scorer>> | undefined
  readonly pipeline?: Pipeline | undefined
  /** Share of the races of which one rejected candidate is finished all the same, to measure rejection. Default 0.01. */
  readonly shadow?: number | undefined
  readonly limits?: Limits | undefined
  /** Of prom-client's kind. Default: one of the service's own. */
  readonly registry?: Registry | undefined
  /** A line for each request. Silent by default. */
  readonly logger?: Logger | undefined
}

export interface ResolvedServiceOptions extends Omit<ServiceOptions, 'apiKey' | 'limits' | 'logger'> {
  readonly apiKeys: readonly string[]
  readonly bestOf: number
  readonly shadow: number
  readonly limits: ResolvedLimits
  readonly logger: Logger
}

const silent: Logger = { debug() {}, info() {}, warn() {} }
const isKey = (value: unknown) => typeof value === 'string' && /^\S{1,4096}$/.test(value)
const object = <T>(what: string) => check<T>((value) => typeof value === 'object' && value !== null, what)

const serviceSchema = z.strictObject({
  engine: object<Engine | PromiseLike<Engine>>('an engine or the promise of one'),
  name: check<string>(
    (value) => typeof value === 'string' && /^[\w.:@/+-]{1,256}$/.test(value),
    'a name of letters, digits and any of . : @ / + - _'
  ).optional(),
  apiKey: z.unknown().optional(),
  bestOf: whole(1, maxCandidates).default(1),
  policy: object<Policy>('a policy such as specReject()').optional(),
  scorer: object<Scorer>('a scorer').optional(),
  scorers: object<Readonly<Record<string, Scorer>>>('scorers by name').default({}),
  pipeline: object<Pipeline>('a pipeline').optional(),
  shadow: range(0, 1).default(0.01),
  limits: limitsSchema.prefault({}),
  registry: object<Registry>('a registry of prom-client').optional(),
  logger: object<Logger>('a logger').default(silent)
})

/** Throws OPTION_INVALID and OPTION_UNKNOWN; the message never shows a key. */
export function resolveService(options: ServiceOptions): ResolvedServiceOptions {
  const { apiKey, ...rest } = parse(serviceSchema, options, 'the service')
  const apiKeys = apiKey === undefined ? [] : Array.isArray(apiKey) ? apiKey : [apiKey]
  if (apiKeys.every(isKey) && (apiKey === undefined || apiKeys.length > 0)) return { ...rest, apiKeys }
  const message = 'Expected a key without white space, or several, for apiKey but received something else'
  throw new WinnowError('OPTION_INVALID', message, { field: 'apiKey' })
}
