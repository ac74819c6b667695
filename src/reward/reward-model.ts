import { z } from 'zod'
import { loadBinding, type NativeBinding, type NativeModel } from '../binding.js'
import { check, flag, parse, text } from '../checks.js'
import { WinnowError } from '../errors.js'
import { openHead, openModel } from '../model.js'
import { type OpenOptions, type ResolvedOpenOptions, resolveOpen } from '../options.js'
import { sharedStreams } from '../scheduler.js'
import type { RaceFacts, ScoringSession, SessionScorer } from '../scorer.js'
import { Cells, type Extent } from './cells.js'
import { Places } from './places.js'
import { type Backbone, type Reading, RewardSession } from './session.js'
import type { StepAggregate } from './step-score.js'
import { vocabularyOf } from './vocabulary.js'

/** How a process reward model is read. */
export interface StepOptions {
  /** What ends a step in the generator's text. Default: an empty line. */
  readonly delimiter?: string | undefined
  /** The text of the special token the model is read at, such as `<extra_0>`. */
  readonly marker: string
  /** Default `min`. `product` is of the steps' probabilities; the score is its logarithm. */
  readonly aggregate?: StepAggregate | undefined
}

export interface RewardModelOptions extends Omit<OpenOptions, 'head'> {
  /** Path or address of the backbone, a GGUF file. */
  readonly model: string
  /** Path of its head, as `winnow head extract` writes it. */
  readonly head: string
  /**
   * A chat template (Jinja) in place of the one in the GGUF; null for none. Transformers reads a
   * *ForSequenceClassification before padding: where its `pad_token_id` is the token its template ends in, give one
   * that ends before it.
   */
  readonly template?: string | null | undefined
  /** Of a process reward model. */
  readonly steps?: StepOptions | undefined
  /**
   * Read the whole text again at every checkpoint, as the paper's reference does. Scores stay the same; it is there to
   * measure what that costs. Default false.
   */
  readonly reencode?: boolean | undefined
}

/**
 * A decoder reward model as a scorer: a backbone that llama.cpp runs and the head that was trained on its final state.
 * Its own KV cells follow the race's branches, so every token is decoded once, however often it is scored; a killed
 * branch's cells are freed. The score is the raw logit after the chat template's closing tokens (those are decoded
 * for each score and removed again). Loaded with the first race, or by `load`. Races are scored side by side, each in cells
 * of its own, as long as these together have no more streams than a pool that races share; then they take turns.
 *
 * Throws OPTION_INVALID, OPTION_UNKNOWN; and when it loads, whatever `open` throws.
 */
export function rewardModel(options: RewardModelOptions): RewardModel {
  return new RewardModel(options, (gpu) => loadBinding({ gpu }).binding)
}

interface Loaded extends Backbone {
  readonly binding: NativeBinding
}

const schema = z.object({
  model: text('a path'),
  head: text('a path'),
  template: check<string | null>(
    (value) => value === null || typeof value === 'string',
    'a template or null'
  ).optional(),
  steps: z
    .strictObject({
      delimiter: text('a text').default('\n\n'),
      marker: text('the text of a token'),
      aggregate: check<StepAggregate>(
        (value) => ['last', 'min', 'product'].includes(value as string),
        '"last", "min" or "product"'
      ).default('min')
    })
    .optional(),
  reencode: flag.default(false)
})

/** How the model of these options reads, and how it is opened. Throws OPTION_INVALID, OPTION_UNKNOWN. */
export function resolveReward({ model, head, template, steps, reencode, ...rest }: RewardModelOptions) {
  return {
    reading: parse(schema, { model, head, template, steps, reencode }, 'rewardModel'),
    opening: resolveOpen(rest)
  }
}

/** What of a reward model is in memory. */
export interface Present {
  /** Of its backbone. */
  readonly path: string
  /** At hand; null without any. */
  readonly cells: Extent | null
}

/** How a backbone reads by these options; its weights need not be there. */
export async function readingOf(
  model: NativeModel,
  { template, reencode }: ReturnType<typeof resolveReward>['reading']
): Promise<Reading> {
  const vocabulary = await vocabularyOf(model.facts.path)
  return { model, vocabulary, template: template === undefined ? model.facts.chatTemplate : template, reencode }
}

export class RewardModel implements SessionScorer {
  readonly name: string
  readonly needs = [] as const
  readonly ownsModel = true
  /** As it was asked for. */
  readonly asked: RewardModelOptions
  readonly #options: z.output<typeof schema>
  readonly #open: ResolvedOpenOptions
  readonly #bindingFor: (gpu: ResolvedOpenOptions['gpu']) => NativeBinding
  #loaded: Promise<Loaded> | null = null
  #isLoaded = false
  readonly #cells: Cells
  #places: Places | null = null
  #closing: Promise<void> | null = null

  constructor(options: RewardModelOptions, bindingFor: (gpu: ResolvedOpenOptions['gpu']) => NativeBinding) {
    this.asked = options
    const { reading, opening } = resolveReward(options)
    this.#options = reading
    this.#open = opening
    // Rows of a bench are told apart by it.
    this.name = this.#options.reencode ? 'reward-model-reencode' : 'reward-model'
    this.#bindingFor = bindingFor
    this.#cells = new Cells(this.#open, () => this.#mustBeOpen())
  }

  /** For plans; null while nothing is loaded. */
  get present(): Present | null {
    return this.#isLoaded && this.#closing === null ? { path: this.#options.model, cells: this.#cells.held } : null
  }

  /** Loads backbone and head now instead of with the first race. */
  async load(): Promise<void> {
    await this.#load()
  }

  async begin(race: RaceFacts): Promise<ScoringSession> {
    const loaded = await this.#load()
    this.#places ??= new Places(sharedStreams(loaded.binding.devices()))
    for (;;) {
      const done = await this.#places.take(race.atOnce, race.signal)
      const mirrors = this.#cells.session(loaded.binding, loaded.model, loaded.model.facts.contextTrain, done)
      try {
        return await RewardSession.begin(loaded, this.#options.steps ?? null, race, mirrors)
      } catch (error) {
        const isFull = WinnowError.is(error) && error.code === 'OUT_OF_MEMORY'
        const isAgain = isFull && this.#places.shrink(race.atOnce)
        await mirrors.release(true)
        if (!isAgain) throw error
      }
    }
  }

  /** Ends what runs and frees mirror, head and backbone, in that order. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    await this.#cells.drop()
    const loaded = await this.#loaded?.catch(() => null)
    loaded?.head.close()
    loaded?.model.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #load(): Promise<Loaded> {
    this.#mustBeOpen()
    this.#loaded ??= this.#loadNow().catch((error: unknown) => {
      this.#loaded = null
      throw error
    })
    return this.#loaded
  }

  #mustBeOpen(): void {
    if (this.#closing === null) return
    throw new WinnowError('CLOSED', 'Expected an open reward model but received one that was closed')
  }

  async #loadNow(): Promise<Loaded> {
    const binding = this.#bindingFor(this.#open.gpu)
    const model = await openModel(binding, this.#options.model, this.#open)
    try {
      const reading = await readingOf(model, this.#options)
      const head = await openHead(binding, this.#options.head, model)
      if (head.facts.features.length > 0) {
        head.close()
        throw new WinnowError(
          'HEAD_FEATURES',
          `Expected a head that reads states alone for a reward model but received ${this.#options.head}, which wants ${head.facts.features.length} confidence features of a generator`
        )
      }
      this.#isLoaded = true
      return { ...reading, binding, head }
    } catch (error) {
      model.close()
      throw error
    }
  }
}
