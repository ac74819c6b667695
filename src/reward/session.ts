import { continued } from '../answers.js'
import type { NativeHead, NativeMirror, NativeModel } from '../binding.js'
import { WinnowError } from '../errors.js'
import { oneBos, tokenizeTurns } from '../prompt.js'
import type { Candidate, RaceFacts, Scoring, ScoringSession } from '../scorer.js'
import { type Frame, frameOf } from './frame.js'
import { Mirror, type Surroundings } from './mirror.js'
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
}

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
    const reader = await readerOf(backbone, steps, race)
    const { transcriber, text } = reader
    const answer = Math.ceil(race.maxTokens * (transcriber.needsText ? expansion : 1))
    const room = await mirrors.acquire(race.n, text.prefix.length + answer + text.suffix.length)
    const mirror = await Mirror.of(room.native, backbone.head, text, race.n, race.signal)
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
    for (const candidate of candidates) transcripts.push(await this.#reader.transcriber.of(candidate))
    await this.#makeRoom(Math.max(...transcripts.map((transcript) => this.#mirror.cellsFor(transcript))))
    const ids = candidates.map(({ id }) => id)
    const readings = await this.#mirror.read(ids, transcripts, signal)
    await this.#drop(candidates.filter(({ state }) => state !== 'live').map(({ id }) => id))
    return readings.map((reading, i) => {
      if (this.#aggregate === null) return reading.whole
      return stepScore(reading, (transcripts[i] as Transcript).open, this.#aggregate)
    })
  }

  /** The same text took more tokens than foreseen: everything is decoded again where there is room for it. */
  async #makeRoom(cells: number): Promise<void> {
    if (cells <= this.#room.cells) return
    const { contextTrain } = this.#backbone.model.facts
    if (cells > contextTrain) {
      throw new WinnowError(
        'CONTEXT_TOO_LONG',
        `Expected at most ${contextTrain} tokens for the reward model to read but received ${cells}`
      )
    }
    const { n, signal } = this.#race
    const { decoded } = this.#mirror
    this.#room = await this.#mirrors.acquire(n, Math.ceil(cells * expansion))
    this.#mirror = await Mirror.of(this.#room.native, this.#backbone.head, this.#reader.text, n, signal)
    this.#spent += decoded
    await this.#mirror.drop([...this.#gone])
  }

  async #drop(ids: readonly number[]): Promise<void> {
    for (const id of ids) this.#gone.add(id)
    await this.#mirror.drop(ids)
  }
}

async function readerOf(backbone: Backbone, steps: Steps | null, race: RaceFacts): Promise<Reader> {
  const { model, template } = backbone
  const { bos, eos } = model.facts
  const specials = { bos: bos < 0 ? '' : model.tokenText(bos), eos: eos < 0 ? '' : model.tokenText(eos) }
  const frame = frameOf(template, race.turns, specials)
  const prefixOf = (turns: RaceFacts['turns']) => frameOf(template, turns, specials).prefix
  const written = template
    ? await tokenizeTurns(model, race.turns, frame.prefix, prefixOf)
    : await model.tokenize(frame.prefix, true, true)
  const prefix = oneBos(model, written)
  const suffix = await continued(model, steps === null ? frame.suffix : steps.marker, true)
  const transcriber = await transcriberOf(backbone, steps, race, frame, suffix)
  return { transcriber, text: { prefix, suffix, reencode: backbone.reencode } }
}

async function transcriberOf(
  { model, vocabulary }: Backbone,
  steps: Steps | null,
  race: RaceFacts,
  frame: Frame,
  marker: Int32Array
): Promise<Transcriber> {
  if (steps !== null) return stepwise(model, frame, steps.delimiter, marker)
  const same = !frame.trimsStart && !frame.trimsEnd && (await vocabularyOf(race.model.path)) === vocabulary
  return same ? sameTokens : retokenised(model, frame)
}
