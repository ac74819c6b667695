/** What besides temperature and truncation decides a branch's tokens, and the texts that end it. */
import { z } from 'zod'
import { check, isNumber, isText, range, whole } from './checks.js'
import { grammarOf, type JsonSchema } from './grammar.js'

export interface SamplingRules {
  /** Divides the logits of tokens that occurred, where positive, and multiplies them otherwise. 1 is off. Default 1. */
  readonly repeatPenalty?: number | undefined
  /** Taken off for each time a token occurred. 0 is off. Default 0. */
  readonly frequencyPenalty?: number | undefined
  /** Taken off where a token occurred at all. 0 is off. Default 0. */
  readonly presencePenalty?: number | undefined
  /** Tokens the three penalties look back, prompt included. Default 64. */
  readonly repeatLastN?: number | undefined
  /** Strength of DRY, a penalty on going on with a repetition. 0 is off. Default 0. */
  readonly dryMultiplier?: number | undefined
  /** The penalty is multiplier * base ** (length of the repetition - allowed length). Default 1.75. */
  readonly dryBase?: number | undefined
  /** Tokens that may repeat without penalty. Default 2. */
  readonly dryAllowedLength?: number | undefined
  /** Tokens DRY looks back, prompt included. Default 1024. */
  readonly dryPenaltyLastN?: number | undefined
  /** Texts that end a repetition. Default a newline, `:`, `"` and `*`. */
  readonly drySequenceBreakers?: readonly string[] | undefined
  /** By token id: added to the logit, from -100 to 100; false forbids the token. Default none. */
  readonly logitBias?: Readonly<Record<number, number | false>> | undefined
  /** A GBNF grammar whose rule `root` the whole answer must fit. Default none. */
  readonly grammar?: string | undefined
  /** A JSON schema the answer must fit; see `grammarOf` for what is supported. Instead of a grammar. Default none. */
  readonly jsonSchema?: JsonSchema | undefined
  /** Texts that end an answer and are no part of it. Default none. */
  readonly stop?: string | readonly string[] | undefined
}

/** As the addon takes them. */
export interface NativeSamplingRules {
  readonly penalties: {
    readonly lastN: number
    readonly repeat: number
    readonly frequency: number
    readonly presence: number
  }
  readonly dry: {
    readonly multiplier: number
    readonly base: number
    readonly allowedLength: number
    readonly lastN: number
    readonly breakers: readonly string[]
  }
  readonly biases: { readonly tokens: Int32Array; readonly values: Float32Array }
  /** GBNF; empty for none. */
  readonly grammar: string
  readonly stop: readonly string[]
}

const bytes = (text: string) => Buffer.byteLength(text)

// One token has one name: "01" would be a second one.
const isBias = (value: unknown) =>
  Object.prototype.toString.call(value) === '[object Object]' &&
  Object.entries(value as object).every(
    ([id, bias]) =>
      /^(?:0|[1-9]\d{0,9})$/.test(id) &&
      Number(id) < 2 ** 31 &&
      (bias === false || (isNumber(bias) && bias >= -100 && bias <= 100))
  )
const isStop = (value: unknown) =>
  isText(value) ||
  (Array.isArray(value) &&
    value.length <= 1024 &&
    value.every(isText) &&
    value.reduce((sum: number, text) => sum + bytes(text), 0) <= 65536)

/** The limits are the engine's (native/engine/rules.cc, stop_strings.h). */
export const samplingRulesSchema = z
  .strictObject({
    repeatPenalty: range(0.01, 100).default(1),
    frequencyPenalty: range(-100, 100).default(0),
    presencePenalty: range(-100, 100).default(0),
    repeatLastN: whole(0, 65536).default(64),
    dryMultiplier: range(0, 100).default(0),
    dryBase: range(1, 100).default(1.75),
    dryAllowedLength: whole(0, 65536).default(2),
    dryPenaltyLastN: whole(0, 65536).default(1024),
    drySequenceBreakers: check<readonly string[]>(
      (value) => Array.isArray(value) && value.length <= 64 && value.every((text) => isText(text) && bytes(text) <= 40),
      'an array of at most 64 texts of 1 to 40 bytes'
    ).default(['\n', ':', '"', '*']),
    logitBias: check<Readonly<Record<number, number | false>>>(
      isBias,
      'an object of numbers from -100 to 100, or false, by token id'
    ).default({}),
    grammar: check<string>(
      (value) => isText(value) && bytes(value) <= 2 ** 20,
      'a GBNF grammar of at most 1 MiB'
    ).optional(),
    jsonSchema: check<JsonSchema>(
      (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
      'a JSON schema'
    ).optional(),
    stop: check<string | readonly string[]>(
      isStop,
      'a text, or at most 1024 texts of 64 KiB in all, none of them empty,'
    ).default([])
  })
  .superRefine(oneGrammar)

/** A refinement for every schema that takes these options. */
export function oneGrammar(
  rules: { readonly grammar?: string | undefined; readonly jsonSchema?: JsonSchema | undefined },
  context: z.RefinementCtx
) {
  if (rules.grammar !== undefined && rules.jsonSchema !== undefined) {
    context.addIssue({ code: 'custom', path: ['jsonSchema'], message: 'either a grammar or a JSON schema, not both,' })
  }
}

export type ResolvedSamplingRules = z.output<typeof samplingRulesSchema>

/** Throws OPTION_INVALID for a JSON schema that no grammar can keep. */
export async function nativeRules(rules: ResolvedSamplingRules): Promise<NativeSamplingRules> {
  const biases = Object.entries(rules.logitBias)
  return {
    penalties: {
      lastN: rules.repeatLastN,
      repeat: rules.repeatPenalty,
      frequency: rules.frequencyPenalty,
      presence: rules.presencePenalty
    },
    dry: {
      multiplier: rules.dryMultiplier,
      base: rules.dryBase,
      allowedLength: rules.dryAllowedLength,
      lastN: rules.dryPenaltyLastN,
      breakers: rules.drySequenceBreakers
    },
    biases: {
      tokens: Int32Array.from(biases, ([id]) => Number(id)),
      values: Float32Array.from(biases, ([, bias]) => (bias === false ? Number.NEGATIVE_INFINITY : bias))
    },
    grammar: rules.jsonSchema === undefined ? (rules.grammar ?? '') : await grammarOf(rules.jsonSchema),
    stop: typeof rules.stop === 'string' ? [rules.stop] : rules.stop
  }
}
