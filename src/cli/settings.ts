import { type Command, Option } from 'commander'
import { parseCheckpoints, policyNames, scorerNames } from '../arm.js'
import type { Checkpoints } from '../checkpoint.js'
import { expected } from '../errors.js'
import { maxCandidates, type OpenOptions, resolveOpen, type SamplingOptions } from '../options.js'
import { enough } from '../policies/keep-enough.js'

/** Flags that say which model, on what. */
export interface ModelFlags {
  readonly model?: string
  readonly head?: string
  readonly gpu: NonNullable<OpenOptions['gpu']>
  readonly gpuLayers: number
  readonly threads: number
  readonly kvType: NonNullable<OpenOptions['kvType']>
}

/** Flags that say how to write and whom to kill. */
export interface RaceFlags {
  readonly candidates: number
  readonly alpha: number
  readonly margin: number
  readonly right: number
  readonly hopeless: number
  readonly checkpoints: Checkpoints
  readonly temperature: number
  readonly topK: number
  readonly topP: number
  readonly minP: number
  readonly maxTokens: number
  readonly seed: bigint
  readonly raw: boolean
}

/** Flags about the output. */
export interface OutputFlags {
  readonly json: boolean
  readonly quiet: boolean
  readonly verbose: boolean
}

export function addModelFlags(command: Command): void {
  addGeneratorFlags(command)
  add(command, '--head <path>', 'reward head; "none" for none (default: the embedded one with the embedded model)')
}

/** Of those, what a command without a reward head takes. */
export function addGeneratorFlags(command: Command): void {
  add(command, '-m, --model <path>', 'GGUF model (default: the embedded one)')
  add(command, '--gpu <variant>', 'llama.cpp to use: auto, cuda, vulkan, metal or cpu', 'auto')
  add(command, '--gpu-layers <count>', 'layers on the device, -1 for all', -1, number)
  add(command, '--threads <count>', 'CPU threads, at most one a core; 0 for one a core', 0, number)
  add(command, '--kv-type <type>', 'type of the KV cells: f32, f16, q8_0 or q4_0', 'f16')
}

/** `most`: candidates. */
export function addRaceFlags(command: Command, most = maxCandidates): void {
  add(command, '-n, --candidates <count>', `candidates a prompt, 1 to ${most}`, 64, number)
  add(command, '--alpha <share>', 'share of the live candidates rejected at a checkpoint, 0 to below 1', 0.5, number)
  const near =
    'spec-reject alone: spares who scores less than this below the best live one, whatever alpha says; 0 is off'
  add(command, '--margin <score>', near, 0, number)
  add(
    command,
    '--right <count>',
    'keep-enough alone: right answers to be expected of those who live on',
    enough.right,
    number
  )
  add(command, '--hopeless <chance>', 'keep-enough alone: who has less chance is killed', enough.hopeless, number)
  const when = 'when to look, in tokens: "64,128", "every:32" or "doubling:16"'
  add(command, '--checkpoints <when>', when, parseCheckpoints('doubling:32'), parseCheckpoints, 'doubling:32')
  add(command, '--temperature <value>', 'sampling temperature, 0 is greedy', 1, number)
  add(command, '--top-k <count>', 'sample from the k likeliest tokens, 0 is off', 0, number)
  add(command, '--top-p <share>', 'sample from the likeliest tokens of this share, 1 is off', 1, number)
  add(command, '--min-p <share>', 'drop tokens below this share of the likeliest, 0 is off', 0, number)
  add(command, '--max-tokens <count>', 'tokens a candidate may write', 512, number)
  add(command, '--seed <number>', 'seed of the draws, 0 to 2^64-1', 0n, seedOf, '0')
  add(command, '--raw', 'give the text to the model without its chat template', false)
}

export function addOutputFlags(command: Command): void {
  add(command, '--json', 'print one JSON object', false)
  add(command, '--quiet', 'no progress on stderr', false)
  add(command, '--verbose', 'stack traces with errors', false)
}

export const policyHelp = policyNames.join(', ')
export const scorerHelp = scorerNames.join(', ')

/** One flag, also settable as an environment variable: `--max-tokens` is WINNOW_MAX_TOKENS. */
export function add(
  command: Command,
  flags: string,
  help: string,
  fallback?: unknown,
  parse?: (text: string, flag: string) => unknown,
  shown?: string
): void {
  const option = new Option(flags, help)
  if (fallback !== undefined) option.default(fallback, shown)
  if (parse !== undefined) option.argParser((text) => parse(text, option.long ?? flags))
  option.env(`WINNOW_${option.name().replaceAll('-', '_').toUpperCase()}`)
  command.addOption(option)
}

export function number(text: string, flag: string): number {
  const value = text.trim() === '' ? Number.NaN : Number(text)
  if (Number.isNaN(value)) throw expected('OPTION_INVALID', 'a number', flag, text)
  return value
}

/** Throws OPTION_INVALID: what can be refused is, before a large model is loaded. */
export function openOptionsOf({ gpu, gpuLayers, threads, kvType, head }: ModelFlags) {
  const options = {
    gpu,
    gpuLayers,
    threads,
    kvType,
    ...(head !== undefined && { head: head === 'none' ? null : head })
  }
  resolveOpen(options)
  return options
}

/** Those of the options above that stand in results; model and head stand there by their checksums. */
export function computeOf({ gpu, gpuLayers, threads, kvType }: ReturnType<typeof openOptionsOf>) {
  return { gpu, gpuLayers, threads, kvType }
}

export function samplingOf({ temperature, topK, topP, minP }: RaceFlags): Required<SamplingOptions> {
  return { temperature, topK, topP, minP }
}

/**
 * Reads the environment variables of flags without a value: true or 1, false or 0. The parser has taken any text for
 * "given". Throws OPTION_INVALID.
 */
export function applySwitches(command: Command): void {
  for (const option of command.options) {
    const { envVar: name } = option
    if (!isSwitch(option) || name === undefined) continue
    if (command.getOptionValueSource(option.attributeName()) !== 'env') continue
    const text = process.env[name] ?? ''
    const on = /^(true|1)$/i.test(text)
    if (!on && !/^(false|0)$/i.test(text)) throw expected('OPTION_INVALID', 'true, false, 1 or 0', name, text)
    command.setOptionValueWithSource(option.attributeName(), on !== option.negate, 'env')
  }
}

/** A flag without a value, `--no-` ones included. */
export function isSwitch(option: Option): boolean {
  return option.isBoolean() || option.negate
}

/** Seconds of a time limit. */
export function seconds(text: string, flag: string): number {
  const value = Number(text)
  if (text.trim() !== '' && value > 0 && value <= 2_000_000) return value
  throw expected('OPTION_INVALID', 'a number of seconds above 0 and at most 2000000', flag, text)
}

function seedOf(text: string, flag: string): bigint {
  const seed = /^\d+$/.test(text) ? BigInt(text) : -1n
  if (seed >= 0n && seed < 2n ** 64n) return seed
  throw expected('OPTION_INVALID', 'a whole number from 0 to 2^64-1', flag, text)
}
