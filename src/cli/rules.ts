import { readFileSync } from 'node:fs'
import type { Command } from 'commander'
import { expected, WinnowError } from '../errors.js'
import type { SamplingRules } from '../sampling-rules.js'
import { isObject } from '../sources/strict-json.js'
import { add, number } from './flag.js'

/** Flags for what besides the sampling decides the tokens, and what ends an answer; undefined where not given. */
export interface RuleFlags {
  readonly repeatPenalty?: number
  readonly frequencyPenalty?: number
  readonly presencePenalty?: number
  readonly repeatLastN?: number
  readonly dryMultiplier?: number
  readonly dryBase?: number
  readonly dryAllowedLength?: number
  readonly dryLastN?: number
  readonly logitBias?: Readonly<Record<number, number | false>>
  readonly grammar?: string
  readonly jsonSchema?: object
  readonly stop?: readonly string[]
}

/** Flags whose text may be JSON of these kinds, by name: a project's settings may have it as it is. */
export const jsonFlags: Readonly<Record<string, (value: unknown) => boolean>> = {
  logitBias: isObject,
  lora: Array.isArray,
  stop: Array.isArray
}

export function addRuleFlags(command: Command): void {
  const wanted = (flags: string, help: string) => add(command, flags, help, undefined, number)
  wanted('--repeat-penalty <value>', 'divides the logits of tokens that occurred; 1 is off')
  wanted('--frequency-penalty <value>', 'taken off a logit for each time its token occurred')
  wanted('--presence-penalty <value>', 'taken off the logit of a token that occurred')
  wanted('--repeat-last-n <count>', 'tokens the three look back (default: 64)')
  wanted('--dry-multiplier <value>', 'strength of DRY, a penalty on going on with a repetition; 0 is off')
  wanted('--dry-base <value>', 'by which that grows with each token of the repetition (default: 1.75)')
  wanted('--dry-allowed-length <count>', 'tokens that may repeat without it (default: 2)')
  wanted('--dry-last-n <count>', 'tokens it looks back (default: 1024)')
  const biases = 'added to logits, such as "15=-5,28=never", or the same as JSON: {"15":-5,"28":false}'
  add(command, '--logit-bias <list>', biases, undefined, biasesOf)
  add(command, '--grammar <path>', 'GBNF grammar that answers must fit', undefined, textOf)
  add(command, '--json-schema <path>', 'JSON schema that answers must fit', undefined, schemaOf)
  add(command, '--stop <list>', 'texts that end an answer: one, or a JSON array of them', undefined, stopsOf)
}

/** Those that were given, as options. */
export function rulesOf(flags: RuleFlags): SamplingRules {
  const { repeatPenalty, frequencyPenalty, presencePenalty, repeatLastN, logitBias, grammar, stop } = flags
  const { dryMultiplier, dryBase, dryAllowedLength, dryLastN: dryPenaltyLastN, jsonSchema } = flags
  const penalties = { repeatPenalty, frequencyPenalty, presencePenalty, repeatLastN }
  const dry = { dryMultiplier, dryBase, dryAllowedLength, dryPenaltyLastN }
  const all = { ...penalties, ...dry, logitBias, grammar, jsonSchema, stop }
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined))
}

/** Which numbers a bias may have is for the options to say. */
function biasesOf(text: string, flag: string): Record<number, number | false> {
  const wanted = 'TOKEN=VALUE or TOKEN=never, separated by commas, or a JSON object'
  if (text.trimStart().startsWith('{')) {
    try {
      return JSON.parse(text) as Record<number, number | false>
    } catch {
      throw expected('OPTION_INVALID', wanted, flag, text)
    }
  }
  const pairs = text.split(',').map((pair) => {
    const [, id, value] = /^\s*(\d{1,10})\s*=\s*(never|[-+]?\d+(?:\.\d+)?)\s*$/.exec(pair) ?? []
    if (id === undefined) throw expected('OPTION_INVALID', wanted, flag, text)
    return [id, value === 'never' ? false : Number(value)] as const
  })
  return Object.fromEntries(pairs)
}

function textOf(path: string, flag: string): string {
  try {
    return readFileSync(path, 'utf8').replace(/^\uFEFF/, '')
  } catch (cause) {
    const message = `Expected a file that can be read for ${flag} but received ${JSON.stringify(path)}`
    throw new WinnowError('OPTION_INVALID', message, { cause })
  }
}

function schemaOf(path: string, flag: string): object {
  const text = textOf(path, flag)
  try {
    return JSON.parse(text) as object
  } catch (cause) {
    const message = `Expected JSON for ${flag} but received ${JSON.stringify(path)}: ${(cause as Error).message}`
    throw new WinnowError('OPTION_INVALID', message, { cause })
  }
}

/** A text that is no JSON array stands for itself. */
function stopsOf(text: string): readonly string[] {
  if (!text.startsWith('[')) return [text]
  try {
    const list: unknown = JSON.parse(text)
    return Array.isArray(list) ? (list as string[]) : [text]
  } catch {
    return [text]
  }
}
