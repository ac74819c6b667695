import { continued } from '../answers.js'
import type { NativeHead, NativeMirror, NativeModel } from '../binding.js'
import { describe, expected, WinnowError } from '../errors.js'
import { oneBos, tokenizeTurns } from '../prompt.js'
import type { Candidate, RaceFacts, Scoring, ScoringSession } from '../scorer.js'
import { type Frame, frameOf } from './frame.js'
import { Mirror, type Surroundings } from './mirror.js'
import { noSeam, seamAt } from './seam.js'
import { type StepAggregate, stepScore } from './step-score.js'
import { retokenised, sameTokens, stepwise, type Transcriber, type Transcript } from './transcript.js'
import { vocabularyOf } from './vocabulary.js'

/** A loaded reward model. */
export interface Backbone {
  readonly model: NativeModel
  readonly head: NativeHead
  readonly vocabulary: string
  readonly template: string | null
  readonly reencode: boolean
  /** In place of a chat template: where an answer stands for these turns. */
  readonly frameOf?: ((turns: RaceFacts['turns']) => Frame) | undefined
  /** The most tokens it reads at once; of a longer answer the beginning is left out. Default: that is an error. */
  readonly longest?: number | undefined
}

/** What of a backbone the tokens around an answer depend on; no weights. */
export type Reading = Omit<Backbone, 'head'>

/** What of a race they depend on. */
export type Read = Pick<RaceFacts, 'turns' | 'model' | 'maxTokens'>

/** Native cells, and how many tokens a branch may have there. */
export interface Room {
  readonly native: NativeMirror
  readonly cells: number
}

/** Where a session has its cells from. */
export interface Mirrors {
  /** Takes the place of what was acquired before. */
  acquire(streams: number, cells: number): Promise<Room>
  /** `broken`: what was acquired is not to be used again. */
  release(broken: boolean): Promise<void>
}

export interface Steps {
  readonly delimiter: string
  readonly marker: string
  readonly aggregate: StepAggregate
}

/** What stays the same through a race. */
interface Reader {
  readonly transcriber: Transcriber
  readonly text: Surroundings
}

/** Room for text in another vocabulary than the generator's, in tokens for each of the generator's. */
const expansion = 1.5

/** A reward model's part in one race. */
export class RewardSession implements ScoringSession {
  readonly needs: readonly 'text'[]
  readonly #backbone: Backbone
  readonly #aggregate: StepAggregate | null
  readonly #race: RaceFacts
  readonly #mirrors: Mirrors
  readonly #reader: Reader
  #room: Room
  #mirror: Mirror
  /** Tokens decoded in mirrors that became too small. */
  #spent = 0
  /** Branches that are not read again: a larger mirror is not to keep streams for them. */
  readonly #gone = new Set<number>()
  #inFlight: Promise<unknown> = Promise.resolve()
  #broken = false

  private constructor(
    backbone: Backbone,
    aggregate: StepAggregate | null,
    race: RaceFacts,
    mirrors: Mirrors,
    reader: Reader,
    room: Room,
    mirror: Mirror
  ) {
    this.needs = reader.transcriber.needsText ? ['text'] : []
    this.#backbone = backbone
    this.#aggregate = aggregate
    this.#race = race
    this.#mirrors = mirrors
    this.#reader = reader
    this.#room = room
    this.#mirror = mirror
  }

  static async begin(backbone: Backbone, steps: Steps | null, race: RaceFacts, mirrors: Mirrors) {
    const { reader, cells } = await layOut(backbone, steps, race)
    const room = await mirrors.acquire(race.atOnce, cells)
    const mirror = await Mirror.of(room.native, backbone.head, reader.text, race.n, race.atOnce, race.signal)
    return new RewardSession(backbone, steps?.aggregate ?? null, race, mirrors, reader, room, mirror)
  }

  get processedTokens(): number {
    return this.#spent + this.#mirror.decoded
  }

  score(candidates: readonly Candidate[], { signal }: Scoring): Promise<number[]> {
    return this.#exclusively(() => this.#read(candidates, signal))
  }

  kill(ids: readonly number[]): Promise<void> {
    return this.#exclusively(() => this.#drop(ids))
  }

  /** A race that was left early may have a call in flight; whoever comes next must not meet it. */
  async end(): Promise<void> {
    await this.#inFlight.catch(() => {})
    await this.#mirrors.release(this.#broken).catch(() => {})
  }

  #exclusively<T>(work: () => Promise<T>): Promise<T> {
    const done = work().catch((error: unknown) => {
      this.#broken = true
      throw error
    })
    this.#inFlight = done
    return done
  }

  async #read(candidates: readonly Candidate[], signal: AbortSignal): Promise<number[]> {
    // A call that comes after its race was left must not touch the mirror: it may be another race's by now.
    signal.throwIfAborted()
    const transcripts: Transcript[] = []
    for (const candidate of candidates) transcripts.push(this.#fitted(await this.#reader.transcriber.of(candidate)))
    await this.#makeRoom(candidates, transcripts)
    const ids = candidates.map(({ id }) => id)
    const readings = await this.#mirror.read(ids, transcripts, signal)
    await this.#drop(candidates.filter(({ state }) => state !== 'live').map(({ id }) => id))
    return readings.map((reading, i) => {
      if (this.#aggregate === null) return reading.whole
      return stepScore(reading, (transcripts[i] as Transcript).open, this.#aggregate)
    })
  }

  #fitted(transcript: Transcript): Transcript {
    const { longest } = this.#backbone
    const over = longest === undefined ? 0 : this.#mirror.cellsFor(transcript) - longest
    if (over <= 0) return transcript
    return { ...transcript, tokens: transcript.tokens.subarray(over), marks: transcript.marks.subarray(over) }
  }

  /**
   * The same text took more tokens than foreseen: everything is decoded again where there is room for it, and for what is
   * still to come at the rate so far. No more than that: it was not planned for.
   */
  async #makeRoom(candidates: readonly Candidate[], transcripts: readonly Transcript[]): Promise<void> {
    const cells = Math.max(...transcripts.map((transcript) => this.#mirror.cellsFor(transcript)))
    if (cells <= this.#room.cells) return
    const { contextTrain } = this.#backbone.model.facts
    if (cells > contextTrain) throw tooLong(contextTrain, cells)
    const { n, atOnce, signal } = this.#race
    const { decoded } = this.#mirror
    const wanted = Math.max(...candidates.map((one, i) => this.#foreseen(one, transcripts[i] as Transcript)))
    this.#room = await this.#mirrors.acquire(atOnce, Math.min(wanted, Math.ceil(cells * expansion)))
    this.#mirror = await Mirror.of(this.#room.native, this.#backbone.head, this.#reader.text, n, atOnce, signal)
    this.#spent += decoded
    await this.#mirror.drop([...this.#gone])
  }

  /** Cells that a transcript comes to if the rest of its answer takes as many tokens for each of the generator's. */
  #foreseen({ state, tokens }: Candidate, transcript: Transcript): number {
    const rest = state === 'live' ? Math.max(0, this.#race.maxTokens - tokens.length) : 0
    const rate = transcript.tokens.length / Math.max(1, tokens.length)
    return this.#mirror.cellsFor(transcript) + Math.ceil(rest * rate)
  }

  async #drop(ids: readonly number[]): Promise<void> {
    for (const id of ids) this.#gone.add(id)
    await this.#mirror.drop(ids)
  }
}

function tooLong(most: number, received: number): WinnowError {
  const message = `Expected at most ${most} tokens for the reward model to read but received ${received}`
  return new WinnowError('CONTEXT_TOO_LONG', message)
}

/** How answers are read, and the tokens that each is given room for to begin with: known before anything is allocated. */
export async function layOut(
  reading: Reading,
  steps: Steps | null,
  race: Read
): Promise<{ readonly reader: Reader; readonly cells: number }> {
  const reader = await readerOf(reading, steps, race)
  const { transcriber, text } = reader
  const { contextTrain } = reading.model.facts
  const shortest = text.prefix.length + Math.max(text.suffix.length, 1)
  const { longest = contextTrain } = reading
  if (shortest > longest) throw tooLong(longest, shortest)
  const answer = Math.ceil(race.maxTokens * (transcriber.needsText ? expansion : 1))
  return { reader, cells: text.prefix.length + answer + text.suffix.length }
}

async function readerOf(backbone: Reading, steps: Steps | null, race: Read): Promise<Reader> {
  const { model, template } = backbone
  const { bos, eos } = model.facts
  const specials = { bos: bos < 0 ? '' : model.tokenText(bos), eos: eos < 0 ? '' : model.tokenText(eos) }
  const framed = backbone.frameOf ?? ((turns: RaceFacts['turns']) => frameOf(template, turns, specials))
  const frame = framed(race.turns)
  const prefixOf = (turns: RaceFacts['turns']) => framed(turns).prefix
  const written =
    template || backbone.frameOf
      ? await tokenizeTurns(model, race.turns, frame.prefix, prefixOf)
      : await model.tokenize(frame.prefix, true, true)
  const prefix = oneBos(model, written)
  if (prefix.length === 0)
    throw expected('TEMPLATE_FAILED', 'text before the answer', 'a rendered reward template', undefined)
  const closing = await continued(model, steps === null ? frame.suffix : steps.marker, true)
  // A mistyped one would be read letter by letter, at a place the model was never trained for.
  if (steps !== null && closing.length !== 1) {
    const received = `${describe(steps.marker)}, which makes ${closing.length}`
    throw new WinnowError('OPTION_INVALID', `Expected the text of one token for steps.marker but received ${received}`)
  }
  const { reencode } = backbone
  const asWritten = !frame.trimsStart && !frame.trimsEnd && !frame.lead
  if (steps === null && asWritten && (await vocabularyOf(race.model.path)) === backbone.vocabulary) {
    return { transcriber: sameTokens, text: { prefix, seam: 0, suffix: closing, reencode } }
  }
  const before = backbone.frameOf ? noSeam : await seamAt(model, prefix, 'end')
  const after = backbone.frameOf || steps !== null ? noSeam : await seamAt(model, closing, 'start')
  const transcriber =
    steps === null ? retokenised(model, frame, before, after) : stepwise(model, frame, steps.delimiter, closing, before)
  const suffix = closing.subarray(after.length)
  return { transcriber, text: { prefix, seam: before.length, suffix, reencode } }
}
