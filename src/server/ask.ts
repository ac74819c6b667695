import { randomBytes } from 'node:crypto'
import type { z } from 'zod'
import { parse } from '../checks.js'
import { expected } from '../errors.js'
import type { JsonSchema } from '../grammar.js'
import { parseCheckpoints, policyNamed } from '../names.js'
import type { BestOfOptions } from '../options.js'
import type { Policy } from '../policy.js'
import type { ChatMessage, PromptInput } from '../prompt.js'
import { chatSchema, completionSchema, ignoredFields, type Message, scoreSchema } from './fields.js'
import type { ResolvedLimits } from './limits.js'
import type { OwnSettings } from './own-settings.js'

/** A request for text, whichever endpoint it came to. */
export interface Ask {
  readonly kind: 'completion' | 'chat'
  readonly model: string | null
  readonly prompt: PromptInput
  /** How many of the best are wanted. */
  readonly n: number
  /** How many are written. */
  readonly bestOf: number
  /** Null for an answer in one piece. */
  readonly stream: { readonly usage: boolean; readonly events: boolean } | null
  readonly logprobs: boolean
  /** Texts that end an answer. */
  readonly stops: readonly string[]
  readonly options: BestOfOptions
  readonly policy: Policy | null
  readonly scorer: string | null
  readonly tokenBudget: number | null
  readonly returnBranches: boolean
  readonly ignored: readonly string[]
  readonly user: string | null
}

/** A request for scores. */
export interface ScoreAsk {
  readonly kind: 'score'
  readonly model: string | null
  readonly prompt: PromptInput
  readonly raw: boolean
  readonly answers: readonly string[]
  readonly scorer: string | null
  readonly ignored: readonly string[]
  readonly user: string | null
}

/** `bestOf` is how many candidates a request gets that does not say. Throws OPTION_INVALID, OPTION_UNKNOWN. */
export function completionAsk(body: Record<string, unknown>, limits: ResolvedLimits, bestOf: number): Ask {
  const fields = given(body)
  const asked = parse(completionSchema(limits), fields, 'a request')
  const prompt = typeof asked.prompt === 'string' ? asked.prompt : asked.prompt[0]
  return {
    ...common(asked, { maxTokens: asked.max_tokens, raw: true }, bestOf),
    kind: 'completion',
    prompt,
    logprobs: asked.logprobs !== undefined,
    ignored: [...present(fields, ignoredFields.completion), ...(asked.logprobs ? ['logprobs.top_logprobs'] : [])]
  }
}

export function chatAsk(body: Record<string, unknown>, limits: ResolvedLimits, bestOf: number): Ask {
  const fields = given(body)
  const asked = parse(chatSchema(limits), fields, 'a request')
  const parts = asked.messages.flatMap((message) => present(message, ignoredFields.message))
  return {
    ...common(asked, { maxTokens: asked.max_completion_tokens ?? asked.max_tokens, raw: false }, bestOf),
    kind: 'chat',
    prompt: turnsOf(asked.messages),
    logprobs: asked.logprobs,
    ignored: [...present(fields, ignoredFields.chat), ...new Set(parts.map((name) => `messages.${name}`))]
  }
}

export function scoreAsk(body: Record<string, unknown>, limits: ResolvedLimits): ScoreAsk {
  const asked = parse(scoreSchema(limits), given(body), 'a request')
  if ((asked.prompt === undefined) === (asked.messages === undefined)) {
    throw expected('OPTION_INVALID', 'either a prompt or messages', 'prompt', asked.prompt, { field: 'prompt' })
  }
  return {
    kind: 'score',
    model: asked.model ?? null,
    prompt: asked.prompt ?? turnsOf(asked.messages ?? []),
    raw: asked.prompt !== undefined,
    answers: asked.answers,
    scorer: asked.winnow.scorer ?? null,
    ignored: (asked.messages ?? []).flatMap((message) => present(message, ignoredFields.message)),
    user: asked.user ?? null
  }
}

type Shared = Pick<
  z.output<ReturnType<typeof chatSchema>>,
  keyof z.output<ReturnType<typeof chatSchema>> & keyof z.output<ReturnType<typeof completionSchema>>
>

function common(asked: Omit<Shared, 'logprobs'>, length: Pick<BestOfOptions, 'maxTokens' | 'raw'>, bestOf: number) {
  const { winnow, n, seed } = asked
  const candidates = asked.best_of ?? Math.max(n, bestOf)
  if (candidates < n) {
    throw expected('OPTION_INVALID', `at least n, ${n},`, 'best_of', candidates, { field: 'best_of' })
  }
  if (asked.stream_options !== undefined && !asked.stream) {
    throw expected('OPTION_INVALID', 'nothing without a stream', 'stream_options', asked.stream_options, {
      field: 'stream_options'
    })
  }
  return {
    model: asked.model ?? null,
    n,
    bestOf: candidates,
    stream: asked.stream ? { usage: asked.stream_options?.include_usage ?? false, events: winnow.events } : null,
    stops: typeof asked.stop === 'string' ? [asked.stop] : asked.stop,
    options: {
      ...length,
      // Without a seed every request has draws of its own.
      seed: seed === undefined ? randomBytes(8).readBigUInt64LE() : BigInt.asUintN(64, BigInt(seed)),
      deadlineMs: winnow.deadlineMs,
      sampling: {
        temperature: asked.temperature,
        // OpenAI takes 0 for "the likeliest alone".
        topP: Math.max(asked.top_p, 1e-6),
        frequencyPenalty: asked.frequency_penalty,
        presencePenalty: asked.presence_penalty,
        logitBias: asked.logit_bias,
        jsonSchema: schemaOf(asked.response_format),
        stop: asked.stop
      }
    },
    policy: policyOf(winnow),
    scorer: winnow.scorer ?? null,
    tokenBudget: winnow.tokenBudget ?? null,
    returnBranches: winnow.returnBranches,
    user: asked.user ?? null
  }
}

function schemaOf(format: Shared['response_format']): JsonSchema | undefined {
  if (format === undefined || format.type === 'text') return undefined
  if (format.type === 'json_object') return { type: 'object' }
  const schema = format.json_schema?.schema
  const field = 'response_format.json_schema.schema'
  if (schema === undefined) throw expected('OPTION_INVALID', 'a JSON schema', field, schema, { field })
  return schema
}

/** Null leaves the choice to the service. */
function policyOf({ policy, alpha, checkpoints }: OwnSettings): Policy | null {
  if (policy === undefined && alpha === undefined && checkpoints === undefined) return null
  const schedule = { alpha: alpha ?? 0.5, checkpoints: parseCheckpoints(checkpoints ?? 'doubling:32') }
  return policyNamed(policy ?? 'spec-reject', schedule)
}

function turnsOf(messages: readonly Message[]): ChatMessage[] {
  return messages.map(({ role, content }) => ({
    // What OpenAI calls the developer is what templates know as the system.
    role: role === 'developer' ? 'system' : role,
    content: typeof content === 'string' ? content : (content ?? []).map(({ text }) => text).join('')
  }))
}

/** The fields that say something: OpenAI's clients send null for nothing. */
function given(body: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(body).filter(([, value]) => value !== null))
}

function present(fields: object, names: readonly string[]): string[] {
  return names.filter((name) => Object.hasOwn(fields, name))
}
