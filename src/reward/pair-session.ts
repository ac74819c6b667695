import type { NativeModel, NativeRanker } from '../binding.js'
import { WinnowError } from '../errors.js'
import type { Candidate, RaceFacts, Scoring, ScoringSession } from '../scorer.js'
import { tokenLists } from '../token-lists.js'
import { settledText } from './transcript.js'
import { whileWatched } from './watched.js'

/** What was read of one branch last. */
interface Read {
  readonly text: string
  readonly score: number
}

/**
 * An encoder's part in one race. A text is read whole whenever it has changed; a branch that wrote nothing since it was
 * last looked at keeps its score. Of a question and an answer that are too long together, beginnings are left out: of the
 * question what is missing, down to half the room, and of the answer the rest.
 */
export class PairSession implements ScoringSession {
  readonly needs = ['text'] as const
  readonly #model: NativeModel
  readonly #native: NativeRanker
  readonly #release: (broken: boolean) => Promise<void>
  readonly #query: Int32Array
  readonly #read = new Map<number, Read>()
  #decoded = 0
  #inFlight: Promise<unknown> = Promise.resolve()
  #broken = false

  private constructor(
    model: NativeModel,
    native: NativeRanker,
    release: (broken: boolean) => Promise<void>,
    query: Int32Array
  ) {
    this.#model = model
    this.#native = native
    this.#release = release
    this.#query = query
  }

  /** `release` is called once, at the end: `broken` where the ranker is not to be used again. */
  static async begin(
    model: NativeModel,
    native: NativeRanker,
    query: string,
    race: RaceFacts,
    release: (broken: boolean) => Promise<void>
  ): Promise<PairSession> {
    race.signal.throwIfAborted()
    const tokens = await model.tokenize(query, false, false)
    return new PairSession(model, native, release, tokens)
  }

  get processedTokens(): number {
    return this.#decoded
  }

  score(candidates: readonly Candidate[], { signal }: Scoring): Promise<number[]> {
    const scores = this.#score(candidates, signal).catch((error: unknown) => {
      this.#broken = true
      throw WinnowError.from(error)
    })
    this.#inFlight = scores
    return scores
  }

  async kill(ids: readonly number[]): Promise<void> {
    for (const id of ids) this.#read.delete(id)
  }

  /** A race that was left early may have a call in flight; whoever comes next must not meet it. */
  async end(): Promise<void> {
    await this.#inFlight.catch(() => {})
    await this.#release(this.#broken).catch(() => {})
  }

  async #score(candidates: readonly Candidate[], signal: AbortSignal): Promise<number[]> {
    signal.throwIfAborted()
    const changed = candidates.filter((candidate) => this.#read.get(candidate.id)?.text !== settledText(candidate))
    // A text that several wrote is read once: beside others in a batch its last digit may differ from row to row.
    const texts = [...new Set(changed.map(settledText))]
    const scores = await this.#rank(texts, signal)
    for (const candidate of changed) {
      const text = settledText(candidate)
      this.#read.set(candidate.id, { text, score: scores.get(text) as number })
    }
    return candidates.map(({ id }) => (this.#read.get(id) as Read).score)
  }

  async #pair(text: string): Promise<number[]> {
    const { before, between, after } = this.#native.frame
    const document = await this.#model.tokenize(text, false, false)
    const room = roomOf(this.#native)
    const query = lastOf(this.#query, Math.max(Math.ceil(room / 2), room - document.length))
    return [...before, ...query, ...between, ...lastOf(document, room - query.length), ...after]
  }

  async #rank(texts: readonly string[], signal: AbortSignal): Promise<Map<string, number>> {
    if (texts.length === 0) return new Map()
    const pairs: number[][] = []
    for (const text of texts) pairs.push(await this.#pair(text))
    const { tokens, offsets } = tokenLists(pairs)
    const { scores } = await whileWatched(this.#native, 'reranker', signal, async () => {
      const read = await this.#native.score(tokens, offsets, 0)
      this.#decoded += read.decoded
      return read
    })
    return new Map(texts.map((text, i) => [text, scores[i] as number]))
  }
}

/** Tokens of query and document together. */
export function roomOf({ frame, context }: NativeRanker): number {
  return context - frame.before.length - frame.between.length - frame.after.length
}

function lastOf(tokens: Int32Array, most: number): Int32Array {
  return tokens.subarray(Math.max(0, tokens.length - most))
}
