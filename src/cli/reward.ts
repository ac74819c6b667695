import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import type { Command } from 'commander'
import { localModel } from '../download.js'
import { expected, WinnowError } from '../errors.js'
import { sha256 } from '../model.js'
import type { OpenOptions } from '../options.js'
import { type Reranker, reranker } from '../reward/reranker.js'
import { type RewardModel, type RewardModelOptions, rewardModel, type StepOptions } from '../reward/reward-model.js'
import type { Scorer } from '../scorer.js'
import { add } from './flag.js'

/** Flags that say which reward model or reranker scores, and how it is read. */
export interface RewardFlags {
  readonly rewardModel?: string
  readonly rewardHead?: string
  readonly rewardTemplate?: string
  readonly rewardMarker?: string
  readonly rewardDelimiter: string
  readonly rewardAggregate: NonNullable<StepOptions['aggregate']>
  readonly reranker?: string
}

export function addRewardFlags(command: Command): void {
  add(
    command,
    '--reward-model <path>',
    'GGUF backbone of a reward model, path or address, which then ranks (needs --reward-head)'
  )
  add(command, '--reward-head <path>', 'its head, as winnow head extract writes it')
  add(command, '--reward-template <file>', 'its chat template, "none" for none (default: the one in the GGUF)')
  add(command, '--reward-marker <text>', 'of a process reward model: the token it is read at after each step')
  add(command, '--reward-delimiter <text>', 'what ends a step, \\n for a new line', '\\n\\n')
  add(command, '--reward-aggregate <how>', 'one score out of the steps: last, min or product', 'min')
}

/** For commands that race. */
export function addRerankerFlag(command: Command): void {
  const help = 'GGUF of a reranker (BERT family, Qwen3), path or address, which ranks unless a reward model does'
  add(command, '--reranker <path>', help)
}

/** Reward model and reranker as they stand in results: names and checksums of their files, and how they are read; null without. */
export type RewardProvenance = Readonly<Record<string, string | null>> | null

/** The reward models and the reranker a command has opened, by the names scorers have on the command line. */
export class RewardModels {
  readonly #models: string | undefined
  readonly #files: { readonly model: string; readonly head: string } | null
  /** Of the reward model; null without one. */
  readonly options: RewardModelOptions | null
  /** What of the flags changes its scores. */
  readonly #reading: Readonly<Record<string, string | null>>
  readonly #make: (reencode: boolean) => RewardModel
  readonly #made = new Map<string, RewardModel>()
  readonly #reranker: { readonly path: string; readonly model: Reranker } | null

  /** Throws OPTION_INVALID, TEMPLATE_FAILED where the template cannot be read. */
  constructor(flags: RewardFlags, opening: OpenOptions) {
    this.#models = opening.models
    const { rewardModel: model, rewardHead: head } = flags
    if ((model === undefined) !== (head === undefined)) {
      const missing = model === undefined ? '--reward-model' : '--reward-head'
      throw expected('OPTION_INVALID', 'a path beside its fellow', missing, undefined)
    }
    const { rewardTemplate, rewardMarker, rewardDelimiter, rewardAggregate } = flags
    // What would be passed over in silence is refused.
    if (model === undefined && (rewardTemplate ?? rewardMarker) !== undefined)
      throw expected('OPTION_INVALID', 'a path', '--reward-model', undefined)
    if (rewardMarker === undefined && (rewardDelimiter !== '\\n\\n' || rewardAggregate !== 'min'))
      throw expected('OPTION_INVALID', 'the text of a token', '--reward-marker', undefined)
    this.#files = model === undefined || head === undefined ? null : { model, head }
    const [steps, template] = [stepsOf(flags), templateOf(flags.rewardTemplate)]
    // The GGUF's own template is null here, and none at all is a word: rows read with one are not the other's.
    const read = template === null ? 'none' : (template ?? null)
    this.#reading = { template: read, marker: steps?.marker ?? null, ...steps }
    const { head: _, ...compute } = opening
    const files = this.#files
    const options = files === null ? null : { ...compute, ...files, template, steps }
    this.options = options
    this.#make = (reencode) => {
      if (options === null) throw expected('OPTION_INVALID', 'a path', '--reward-model', undefined)
      return rewardModel({ ...options, reencode })
    }
    this.#reranker =
      flags.reranker === undefined
        ? null
        : { path: flags.reranker, model: reranker({ ...compute, model: flags.reranker }) }
    // Refuse what can be refused before a large model is loaded.
    if (files !== null) this.named('reward-model')
  }

  /** What ranks unless a scorer is named. */
  get default(): Scorer | null {
    return this.#files === null ? (this.#reranker?.model ?? null) : this.named('reward-model')
  }

  /** The model itself, to learn from; null without one. */
  get teacher(): RewardModel | null {
    return this.#files === null ? null : this.#of('reward-model')
  }

  /** `reward-model`, `reward-model-reencode` or `reranker`; null for any other name. Throws OPTION_INVALID where the flags say of none. */
  named(name: string): Scorer | null {
    if (name === 'reranker') {
      if (this.#reranker === null) throw expected('OPTION_INVALID', 'a path', '--reranker', undefined)
      return this.#reranker.model
    }
    if (name !== 'reward-model' && name !== 'reward-model-reencode') return null
    return this.#of(name)
  }

  /** What stands in results; null with neither a reward model nor a reranker. */
  async provenance(): Promise<RewardProvenance> {
    // They have been loaded, and results are written after an interruption too.
    const here = (path: string) => localModel(path, { models: this.#models })
    const ranked = this.#reranker === null ? {} : await rerankerFile(await here(this.#reranker.path))
    if (this.#files === null) return this.#reranker === null ? null : ranked
    const { head } = this.#files
    const model = await here(this.#files.model)
    const files = {
      file: basename(model),
      sha256: await sha256(model),
      head: basename(head),
      headSha256: await sha256(head)
    }
    return { ...files, ...this.#reading, ...ranked }
  }

  /** Loads what the flags and the arms have named: the first race is not to pay for it. */
  async load(): Promise<void> {
    for (const model of this.#made.values()) await model.load()
    await this.#reranker?.model.load()
  }

  #of(name: string): RewardModel {
    const made = this.#made.get(name) ?? this.#make(name === 'reward-model-reencode')
    this.#made.set(name, made)
    return made
  }

  async close(): Promise<void> {
    for (const model of this.#made.values()) await model.close()
    await this.#reranker?.model.close()
  }
}

async function rerankerFile(path: string): Promise<Readonly<Record<string, string>>> {
  return { reranker: basename(path), rerankerSha256: await sha256(path) }
}

function stepsOf({ rewardMarker: marker, rewardDelimiter, rewardAggregate: aggregate }: RewardFlags) {
  if (marker === undefined) return undefined
  return { marker, delimiter: rewardDelimiter.replaceAll('\\n', '\n'), aggregate }
}

function templateOf(path: string | undefined): string | null | undefined {
  if (path === undefined) return undefined
  if (path === 'none') return null
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    throw new WinnowError('TEMPLATE_FAILED', `Expected a chat template in ${path} but received ${message}`, {
      cause: error
    })
  }
}
