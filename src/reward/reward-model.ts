import { z } from 'zod'
import { abortable } from '../abort.js'
import { loadBinding, type NativeBinding } from '../binding.js'
import { WinnowError } from '../errors.js'
import { openHead, openModel } from '../model.js'
import { type OpenOptions, parse, type ResolvedOpenOptions, resolveOpen } from '../options.js'
import type { RaceFacts, ScoringSession, SessionScorer } from '../scorer.js'
import { type Backbone, type Mirrors, RewardSession, type Room } from './session.js'
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
  /** Path of the backbone, a GGUF file. */
  readonly model: string
  /** Path of its head, as `winnow head extract` writes it. */
  readonly head: string
  /** A chat template (Jinja) in place of the one in the GGUF; null for none. */
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
 * for each score and removed again). Loaded with the first race, or by `load`; races take turns.
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
  model: z.custom<string>((value) => typeof value === 'string' && value !== '', { error: 'a path' }),
  head: z.custom<string>((value) => typeof value === 'string' && value !== '', { error: 'a path' }),
  template: z
    .custom<string | null>((value) => value === null || typeof value === 'string', { error: 'a template or null' })
    .optional(),
  steps: z
    .strictObject({
      delimiter: z
        .custom<string>((value) => typeof value === 'string' && value !== '', { error: 'a text' })
        .default('\n\n'),
      marker: z.custom<string>((value) => typeof value === 'string' && value !== '', { error: 'the text of a token' }),
      aggregate: z
        .custom<StepAggregate>((value) => ['last', 'min', 'product'].includes(value as string), {
          error: '"last", "min" or "product"'
        })
        .default('min')
    })
    .optional(),
  reencode: z.custom<boolean>((value) => typeof value === 'boolean', { error: 'true or false' }).default(false)
})

export class RewardModel implements SessionScorer {
  readonly name: string
  readonly needs = [] as const
  readonly #options: z.output<typeof schema>
  readonly #open: ResolvedOpenOptions
  readonly #bindingFor: (gpu: ResolvedOpenOptions['gpu']) => NativeBinding
  #loaded: Promise<Loaded> | null = null
  #mirror: (Room & { readonly streams: number }) | null = null
  /** Resolves when the last session in the queue has ended. */
  #tail: Promise<void> = Promise.resolve()
  #closing: Promise<void> | null = null

  constructor(options: RewardModelOptions, bindingFor: (gpu: ResolvedOpenOptions['gpu']) => NativeBinding) {
    const { model, head, template, steps, reencode, ...rest } = options
    this.#options = parse(schema, { model, head, template, steps, reencode }, 'rewardModel')
    this.#open = resolveOpen(rest)
    // Rows of a bench are told apart by it.
    this.name = this.#options.reencode ? 'reward-model-reencode' : 'reward-model'
    this.#bindingFor = bindingFor
  }

  /** Loads backbone and head now instead of with the first race. */
  async load(): Promise<void> {
    await this.#load()
  }

  async begin(race: RaceFacts): Promise<ScoringSession> {
    const loaded = await this.#load()
    const done = await this.#turn(race.signal)
    const mirrors: Mirrors = {
      acquire: (streams, cells) => this.#acquire(loaded, streams, cells),
      release: async (broken) => {
        try {
          if (broken) await this.#dropMirror()
        } finally {
          done()
        }
      }
    }
    try {
      return await RewardSession.begin(loaded, this.#options.steps ?? null, race, mirrors)
    } catch (error) {
      await mirrors.release(true)
      throw error
    }
  }

  /** Ends what runs and frees mirror, head and backbone, in that order. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    await this.#dropMirror()
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
      const vocabulary = await vocabularyOf(this.#options.model)
      const head = await openHead(binding, this.#options.head, model)
      if (head.facts.features.length > 0) {
        head.close()
        throw new WinnowError(
          'HEAD_FEATURES',
          `Expected a head that reads states alone for a reward model but received ${this.#options.head}, which wants ${head.facts.features.length} confidence features of a generator`
        )
      }
      const template = this.#options.template === undefined ? model.facts.chatTemplate : this.#options.template
      const { reencode } = this.#options
      return { binding, model, head, vocabulary, template, reencode }
    } catch (error) {
      model.close()
      throw error
    }
  }

  async #turn(signal: AbortSignal): Promise<() => void> {
    const previous = this.#tail
    let done = () => {}
    const own = new Promise<void>((resolve) => {
      done = resolve
    })
    this.#tail = previous.then(() => own)
    try {
      await abortable(previous, signal)
    } catch (error) {
      done()
      throw error
    }
    return done
  }

  /** A mirror with room enough; the one at hand where it has it. */
  async #acquire({ binding, model }: Loaded, streams: number, cells: number): Promise<Room> {
    this.#mustBeOpen()
    const limit = model.facts.contextTrain
    const wanted = Math.min(cells, limit)
    const held = this.#mirror
    if (held !== null && held.streams >= streams && held.cells >= wanted) return held
    await this.#dropMirror()
    const { threads, batch, kvType, flashAttention } = this.#open
    const params = { streams, cellsPerStream: wanted, threads, batch, kvType, flashAttention }
    const native = await binding.createMirror(model, params).catch((error: unknown) => {
      throw WinnowError.from(error)
    })
    if (this.#closing !== null) {
      // Closed meanwhile: nobody would free it.
      await native.close()
      this.#mustBeOpen()
    }
    const room = { native, streams, cells: Math.min(native.occupancy().cellsPerStream, limit) }
    this.#mirror = room
    return room
  }

  async #dropMirror(): Promise<void> {
    const held = this.#mirror
    this.#mirror = null
    await held?.native.close()
  }
}
