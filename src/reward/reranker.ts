import { z } from 'zod'
import { loadBinding, type NativeBinding, type NativeHead, type NativeModel, type NativeRanker } from '../binding.js'
import { parse, text, whole } from '../checks.js'
import { expected, WinnowError } from '../errors.js'
import { openRanker } from '../model.js'
import { type OpenOptions, type ResolvedOpenOptions, resolveOpen } from '../options.js'
import type { RaceFacts, ScoringSession, SessionScorer } from '../scorer.js'
import { Turns } from '../turns.js'
import { Cells } from './cells.js'
import { PairSession, roomOf } from './pair-session.js'
import { endOf, queryOf, rankFrame } from './rank-frame.js'
import { type Backbone, RewardSession } from './session.js'
import { vocabularyOf } from './vocabulary.js'

export interface RerankerOptions extends Omit<OpenOptions, 'head'> {
  /** Path or address of a GGUF with a rank head: `cls.output`, or of Jina BERT v2 `cls`. */
  readonly model: string
  /** Of a decoder: the text it reads, with {query} and {document}. Default: the `rerank` template in the GGUF. */
  readonly template?: string | undefined
  /**
   * The most tokens it reads at once, special ones included; at most what it was trained for. Default 512 for an
   * encoder, which keeps a row of logits in memory for each, and all it was trained for for a decoder.
   */
  readonly context?: number | undefined
}

/**
 * A reranker as a scorer: how well an answer so far goes with the question, the last turn of the user's. The model is
 * an encoder (BERT, RoBERTa and XLM-RoBERTa, ModernBERT, NeoBERT, Jina BERT v2) or a decoder (Qwen3) with a rank head.
 *
 * The score is a raw logit: that of the head's one label, or with the labels yes and no that of yes less that of no,
 * which is the log-odds of yes. Where llama.cpp's server answers with a softmax over the labels (decoders; 1.0 for any
 * text where there is one label) this does not. Jina BERT v2 gives the hyperbolic tangent of its logit. Token types are
 * those of a first segment throughout, as everywhere in llama.cpp; and its converter leaves out the pooler of
 * `BertForSequenceClassification`, so that such a file scores otherwise than the original (RoBERTa's come whole).
 *
 * An encoder reads both texts again whenever an answer has grown; a decoder decodes each token once, as a reward model
 * does, until an answer no longer fits: from then on its beginning moves, and all that is left of it is decoded at each look.
 * What is longer than the context together loses its beginnings: with an encoder the question as much as is missing, down to
 * half the room, then the answer; a decoder has read the question before there is an answer, and keeps at most half the room
 * of it whatever comes. Loaded with the first race, or by `load`; races take turns.
 *
 * Throws OPTION_INVALID, OPTION_UNKNOWN; and when it loads, whatever `open` throws, MODEL_UNSUPPORTED for a model
 * without a rank head or with other labels, TEMPLATE_MISSING, TEMPLATE_FAILED, CONTEXT_TOO_LONG.
 */
export function reranker(options: RerankerOptions): Reranker {
  return new Reranker(options, (gpu) => loadBinding({ gpu }).binding)
}

interface Encoder {
  readonly binding: NativeBinding
  readonly model: NativeModel
  readonly context: number
}

interface Decoder extends Encoder {
  readonly head: NativeHead
  readonly vocabulary: string
  readonly template: string
  /** The most tokens of a question: half of what the template leaves, since the answer is not known yet. */
  readonly longestQuery: number
}

const schema = z.object({
  model: text('a path'),
  template: text('a template').optional(),
  context: whole(1, Number.MAX_SAFE_INTEGER, 'a whole number, 1 or more').optional()
})

export class Reranker implements SessionScorer {
  readonly name = 'reranker'
  readonly needs = [] as const
  readonly ownsModel = true
  readonly #options: z.output<typeof schema>
  readonly #open: ResolvedOpenOptions
  readonly #bindingFor: (gpu: ResolvedOpenOptions['gpu']) => NativeBinding
  readonly #cells: Cells
  readonly #turns = new Turns()
  #loaded: Promise<Encoder | Decoder> | null = null
  #native: NativeRanker | null = null
  #closing: Promise<void> | null = null

  constructor(options: RerankerOptions, bindingFor: (gpu: ResolvedOpenOptions['gpu']) => NativeBinding) {
    const { model, template, context, ...rest } = options
    this.#options = parse(schema, { model, template, context }, 'reranker')
    this.#open = resolveOpen(rest)
    this.#bindingFor = bindingFor
    this.#cells = new Cells(this.#open, () => this.#mustBeOpen())
    // Refuse what can be refused before a model is loaded.
    if (template !== undefined) rankFrame(template, '')
  }

  /** Loads the model now instead of with the first race. */
  async load(): Promise<void> {
    await this.#load()
  }

  async begin(race: RaceFacts): Promise<ScoringSession> {
    const loaded = await this.#load()
    const done = await this.#turns.take(race.signal)
    if ('head' in loaded) return this.#beginDecoder(loaded, race, done)
    const release = async (broken: boolean) => {
      try {
        if (broken) await this.#drop()
      } finally {
        done()
      }
    }
    try {
      const native = await this.#acquire(loaded)
      return await PairSession.begin(loaded.model, native, queryOf(race.turns), race, release)
    } catch (error) {
      await release(true)
      throw WinnowError.from(error)
    }
  }

  /** Ends what runs and frees cells, head and model, in that order. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(): Promise<void> {
    await this.#drop()
    const loaded = await this.#loaded?.catch(() => null)
    if (loaded && 'head' in loaded) loaded.head.close()
    loaded?.model.close()
  }

  async #drop(): Promise<void> {
    const native = this.#native
    this.#native = null
    await native?.close()
    await this.#cells.drop()
  }

  #mustBeOpen(): void {
    if (this.#closing === null) return
    throw new WinnowError('CLOSED', 'Expected an open reranker but received one that was closed')
  }

  #load(): Promise<Encoder | Decoder> {
    this.#mustBeOpen()
    this.#loaded ??= this.#loadNow().catch((error: unknown) => {
      this.#loaded = null
      throw WinnowError.from(error)
    })
    return this.#loaded
  }

  async #loadNow(): Promise<Encoder | Decoder> {
    const binding = this.#bindingFor(this.#open.gpu)
    const model = await openRanker(binding, this.#options.model, this.#open)
    try {
      const { rank, contextTrain } = model.facts
      const encoder = rank?.encoder === true
      const context = this.#options.context ?? (encoder ? Math.min(512, contextTrain) : contextTrain)
      if (context > contextTrain) throw expected('CONTEXT_TOO_LONG', `at most ${contextTrain}`, 'context', context)
      if (!encoder) return await this.#decoder({ binding, model, context }, rank?.template ?? '')
      if (this.#options.template !== undefined)
        throw expected('OPTION_INVALID', 'nothing', 'template with an encoder', this.#options.template)
      return { binding, model, context }
    } catch (error) {
      model.close()
      throw error
    }
  }

  async #decoder({ binding, model, context }: Encoder, own: string): Promise<Decoder> {
    const template = this.#options.template ?? own
    if (template === '') {
      throw new WinnowError(
        'TEMPLATE_MISSING',
        `Expected a reranker with a rerank template, or one in its place, but ${this.#options.model} carries none`
      )
    }
    const { prefix, suffix } = rankFrame(template, '')
    const fixed = await model.tokenize(prefix + suffix, true, true)
    // A token of the question, the answer's first, and what may stand between them.
    if (context < fixed.length + 4) throw expected('OPTION_INVALID', `${fixed.length + 4} or more`, 'context', context)
    const vocabulary = await vocabularyOf(model.facts.path)
    const longestQuery = Math.floor((context - fixed.length) / 2)
    return { binding, model, context, template, vocabulary, longestQuery, head: binding.rankHead(model) }
  }

  async #beginDecoder(loaded: Decoder, race: RaceFacts, done: () => void): Promise<ScoringSession> {
    const { binding, model, head, vocabulary, template, context, longestQuery } = loaded
    const mirrors = this.#cells.session(binding, model, context, done)
    const frameOf = (turns: RaceFacts['turns']) => rankFrame(template, queryOf(turns))
    const backbone: Backbone = { model, head, vocabulary, template: null, reencode: false, frameOf, longest: context }
    try {
      const query = await endOf(model, queryOf(race.turns), longestQuery)
      const asked = { ...race, turns: [{ role: 'user' as const, content: query }] }
      return await RewardSession.begin(backbone, null, asked, mirrors)
    } catch (error) {
      await mirrors.release(true)
      throw WinnowError.from(error)
    }
  }

  async #acquire({ binding, model, context }: Encoder): Promise<NativeRanker> {
    this.#mustBeOpen()
    if (this.#native !== null) return this.#native
    const { threads, batch, flashAttention } = this.#open
    const native = await binding.createRanker(model, { context, batch, threads, flashAttention })
    try {
      this.#mustBeOpen()
      if (roomOf(native) < 2)
        throw expected('OPTION_INVALID', `${context - roomOf(native) + 2} or more`, 'context', context)
    } catch (error) {
      await native.close()
      throw error
    }
    this.#native = native
    return native
  }
}
