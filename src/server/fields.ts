/** The fields of OpenAI's requests: what is taken of them, what is accepted and ignored, and what nobody knows. */
import { z } from 'zod'
import { check, flag, range, whole } from '../checks.js'
import type { JsonSchema } from '../grammar.js'
import { samplingRulesSchema } from '../sampling-rules.js'
import type { ResolvedLimits } from './limits.js'
import { ownSchema } from './own-settings.js'

const text = (most: number) =>
  check<string>(
    (value) => typeof value === 'string' && value.length <= most,
    `a text of at most ${most} characters`
  ).optional()
const anything = z.unknown()

const mostStops = 16
const stopBytes = 256
const isStop = (value: unknown) => typeof value === 'string' && value !== '' && Buffer.byteLength(value) <= stopBytes
const stop = check<string | readonly string[]>(
  (value) => isStop(value) || (Array.isArray(value) && value.length <= mostStops && value.every(isStop)),
  `a text, or at most ${mostStops} texts, of 1 to ${stopBytes} bytes`
)

const isObject = (value: unknown) => typeof value === 'object' && value !== null && !Array.isArray(value)
const schemaBytes = 65_536
const jsonSchema = z.looseObject({
  schema: check<JsonSchema>(
    (value) => isObject(value) && JSON.stringify(value).length <= schemaBytes,
    `a JSON schema of at most ${schemaBytes} characters`
  ).optional()
})

const responseFormat = z.strictObject({
  type: check<'text' | 'json_object' | 'json_schema'>(
    (value) => value === 'text' || value === 'json_object' || value === 'json_schema',
    '"text", "json_object" or "json_schema"'
  ),
  json_schema: jsonSchema.optional()
})

/** What both endpoints take. */
const shared = ({ candidates, tokens, defaultTokens, deadlineMs }: ResolvedLimits) => ({
  model: text(256),
  n: whole(1, candidates).default(1),
  best_of: whole(1, candidates).optional(),
  max_tokens: whole(1, tokens).default(Math.min(defaultTokens, tokens)),
  temperature: range(0, 2).default(1),
  top_p: range(0, 1).default(1),
  frequency_penalty: range(-2, 2).default(0),
  presence_penalty: range(-2, 2).default(0),
  logit_bias: samplingRulesSchema.shape.logitBias,
  seed: whole(Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER).optional(),
  stop: stop.default([]),
  stream: flag.default(false),
  stream_options: z
    .strictObject({ include_usage: flag.default(false), include_obfuscation: anything.optional() })
    .optional(),
  response_format: responseFormat.optional(),
  user: text(256),
  winnow: ownSchema.extend({ deadlineMs: whole(1, deadlineMs).optional() }).prefault({})
})

/** Accepted without effect, and named in the answer's header `winnow-ignored`. */
export const ignoredFields = {
  completion: ['suffix', 'echo'],
  chat: [
    'audio',
    'function_call',
    'functions',
    'metadata',
    'modalities',
    'parallel_tool_calls',
    'prediction',
    'prompt_cache_key',
    'prompt_cache_retention',
    'reasoning_effort',
    'safety_identifier',
    'service_tier',
    'store',
    'tool_choice',
    'tools',
    'top_logprobs',
    'verbosity',
    'web_search_options'
  ],
  message: ['name', 'refusal', 'annotations', 'audio', 'tool_calls', 'tool_call_id', 'function_call']
} as const

const ignored = (names: readonly string[]) => Object.fromEntries(names.map((name) => [name, anything.optional()]))

const isTexts = (value: unknown) => Array.isArray(value) && value.length === 1 && typeof value[0] === 'string'
export const completionSchema = (limits: ResolvedLimits) =>
  z.strictObject({
    ...ignored(ignoredFields.completion),
    ...shared(limits),
    prompt: check<string | readonly [string]>(
      (value) => typeof value === 'string' || isTexts(value),
      'a text, or an array of one text,'
    ),
    logprobs: whole(0, 5).optional()
  })

const isPart = (value: unknown) => {
  const { type, text: written, ...others } = (value ?? {}) as Record<string, unknown>
  return type === 'text' && typeof written === 'string' && Object.keys(others).length === 0
}
const message = z.strictObject({
  role: check<string>((value) => typeof value === 'string' && /^[\w-]{1,64}$/.test(value), 'a word such as "user"'),
  content: check<string | readonly { readonly text: string }[] | null>(
    (value) => typeof value === 'string' || value === null || (Array.isArray(value) && value.every(isPart)),
    'a text, or an array of { type: "text", text },'
  ).optional(),
  ...ignored(ignoredFields.message)
})

export const chatSchema = (limits: ResolvedLimits) =>
  z.strictObject({
    ...ignored(ignoredFields.chat),
    ...shared(limits),
    messages: z.array(message),
    max_completion_tokens: whole(1, limits.tokens).optional(),
    logprobs: flag.default(false)
  })

export const scoreSchema = (limits: ResolvedLimits) =>
  z.strictObject({
    model: text(256),
    prompt: check<string>((value) => typeof value === 'string', 'a text').optional(),
    messages: z.array(message).optional(),
    answers: check<readonly string[]>(
      (value) =>
        Array.isArray(value) &&
        value.length >= 1 &&
        value.length <= limits.candidates &&
        value.every((answer) => typeof answer === 'string'),
      `an array of 1 to ${limits.candidates} texts`
    ),
    user: text(256),
    winnow: z.strictObject({ scorer: ownSchema.shape.scorer }).prefault({})
  })

export type Message = z.output<typeof message>
