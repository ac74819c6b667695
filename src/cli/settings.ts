import type { Command } from 'commander'
import type { Checkpoints } from '../checkpoint.js'
import { expected } from '../errors.js'
import { parseCheckpoints } from '../names.js'
import { maxCandidates, type OpenOptions, resolveOpen, type SamplingOptions } from '../options.js'
import { enough } from '../policies/keep-enough.js'
import { add, number } from './flag.js'
import { addLoraFlag, type LoraFlags } from './lora.js'
import { addRuleFlags, type RuleFlags, rulesOf } from './rules.js'

/** Flags that say which model, on what. */
export interface ModelFlags {
  readonly model?: string
  readonly models?: string
  readonly head?: string
  readonly gpu: NonNullable<OpenOptions['gpu']>
  readonly gpuLayers: number
  readonly threads: number
  readonly kvType: NonNullable<OpenOptions['kvType']>
  readonly batch: number
  readonly flashAttention: NonNullable<OpenOptions['flashAttention']>
  readonly layout: NonNullable<OpenOptions['layout']>
  readonly drawing: NonNullable<OpenOptions['drawing']>
}

/** Flags that say whom to kill and when. */
export interface ScheduleFlags {
  readonly alpha: number
  readonly margin: number
  readonly right: number
  readonly hopeless: number
  readonly checkpoints: Checkpoints
}

/** Flags that say how to write. */
export interface WritingFlags extends RuleFlags {
  readonly temperature: number
  readonly topK: number
  readonly topP: number
  readonly minP: number
  readonly maxTokens: number
  readonly seed: bigint
  readonly raw: boolean
}

/** Flags that say how to write and whom to kill. */
export interface RaceFlags extends ScheduleFlags, WritingFlags, LoraFlags {
  readonly candidates: number
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
  const forms = 'path, hf:ORG/REPO:FILE.gguf, hf:ORG/REPO:Q4_K_M or https address'
  add(command, '-m, --model <path>', `GGUF model: ${forms} (default: the embedded one)`)
  add(command, '--models <folder>', 'where models given by address are kept (default: winnow/models in ~/.cache)')
  add(command, '--gpu <variant>', 'llama.cpp to use: auto, cuda, vulkan, metal or cpu', 'auto')
  add(command, '--gpu-layers <count>', 'layers on the device, -1 for all', -1, number)
  add(command, '--threads <count>', 'CPU threads, at most one a core; 0 for one a core', 0, number)
  add(command, '--kv-type <type>', 'type of the KV cells: f32, f16, q8_0 or q4_0', 'f16')
  add(command, '--batch <count>', 'prompt tokens a decode call', 512, number)
  add(command, '--flash-attention <mode>', 'auto, on or off', 'auto')
  add(command, '--layout <name>', 'of the cells: auto, streams or unified', 'auto')
  add(
    command,
    '--drawing <where>',
    'where tokens are drawn: auto, host or graph (auto: host; calibrate measures)',
    'auto'
  )
}

/** `most`: candidates. */
export function addRaceFlags(command: Command, most = maxCandidates): void {
  add(command, '-n, --candidates <count>', `candidates a prompt, 1 to ${most}`, 64, number)
  addScheduleFlags(command)
  addWritingFlags(command)
  addLoraFlag(command)
}

export function addScheduleFlags(command: Command): void {
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
}

export function addWritingFlags(command: Command): void {
  add(command, '--temperature <value>', 'sampling temperature, 0 is greedy', 1, number)
  add(command, '--top-k <count>', 'sample from the k likeliest tokens, 0 is off', 0, number)
  add(command, '--top-p <share>', 'sample from the likeliest tokens of this share, 1 is off', 1, number)
  add(command, '--min-p <share>', 'drop tokens below this share of the likeliest, 0 is off', 0, number)
  addRuleFlags(command)
  add(command, '--max-tokens <count>', 'tokens a candidate may write', 512, number)
  add(command, '--seed <number>', 'seed of the draws, 0 to 2^64-1', 0n, seedOf, '0')
  add(command, '--raw', 'give the text to the model without its chat template', false)
}

export function addOutputFlags(command: Command): void {
  add(command, '--json', 'print one JSON object', false)
  add(command, '--quiet', 'no progress on stderr', false)
  add(command, '--verbose', 'stack traces with errors', false)
}

/** Throws OPTION_INVALID: what can be refused is, before a large model is loaded. */
export function openOptionsOf(flags: ModelFlags) {
  const { gpu, gpuLayers, threads, kvType, batch, flashAttention, layout, drawing, head, models } = flags
  const options = {
    gpu,
    gpuLayers,
    threads,
    kvType,
    batch,
    flashAttention,
    layout,
    drawing,
    ...(models !== undefined && { models }),
    ...(head !== undefined && { head: head === 'none' ? null : head })
  }
  resolveOpen(options)
  return options
}

/** Those of the options above that stand in results; model and head stand there by their checksums. */
export function computeOf(options: ReturnType<typeof openOptionsOf>) {
  const { gpu, gpuLayers, threads, kvType, batch, flashAttention, layout, drawing } = options
  return { gpu, gpuLayers, threads, kvType, batch, flashAttention, layout, drawing }
}

export function samplingOf(flags: WritingFlags): SamplingOptions {
  const { temperature, topK, topP, minP } = flags
  return { temperature, topK, topP, minP, ...rulesOf(flags) }
}

function seedOf(text: string, flag: string): bigint {
  const seed = /^\d+$/.test(text) ? BigInt(text) : -1n
  if (seed >= 0n && seed < 2n ** 64n) return seed
  throw expected('OPTION_INVALID', 'a whole number from 0 to 2^64-1', flag, text)
}
