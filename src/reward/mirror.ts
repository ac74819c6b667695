import type { NativeHead, NativeMirror, NativeMirrorRequest } from '../binding.js'
import { tokenLists } from '../token-lists.js'
import type { Transcript } from './transcript.js'
import { whileWatched } from './watched.js'

const what = 'reward model'

/** What a stream holds: tokens after the prefix, and the scores read at its marks. */
interface Held {
  tokens: Int32Array
  /** Number of tokens read, and the raw logit there; ascending. */
  marks: { readonly at: number; readonly logit: number }[]
}

/** Raw logits of one branch. */
export interface Reading {
  /** After the closing tokens. */
  readonly whole: number
  /** At each mark, in order. */
  readonly steps: readonly number[]
}

/** The tokens that stand around every answer. */
export interface Surroundings {
  readonly prefix: Int32Array
  /** How many of the prefix's last tokens transcripts begin with: an answer may be cut together with them. */
  readonly seam: number
  readonly suffix: Int32Array
  /** Read everything again at each checkpoint, as the paper's reference does: for measuring what that costs. */
  readonly reencode: boolean
}

/**
 * One race's branches in a reward model's cells: of a transcript only what is new is decoded. Where the branches are more
 * than the streams these take turns: whoever has none is given another's, and of its transcript nothing is there but
 * what both begin with.
 */
export class Mirror {
  readonly #native: NativeMirror
  readonly #head: NativeHead
  /** Before every transcript. */
  readonly #prefix: Int32Array
  readonly #suffix: Int32Array
  readonly #reencode: boolean
  /** By stream. */
  readonly #held: Held[]
  readonly #free: Set<number>
  /** Streams of branches, who has waited longest for another reading first. */
  readonly #streams = new Map<number, number>()
  /** Branches that are still to be read, and how many streams were not given back. */
  readonly #left: Set<number>
  #kept: number
  #decoded: number

  private constructor(native: NativeMirror, head: NativeHead, text: Surroundings, branches: number, streams: number) {
    this.#native = native
    this.#head = head
    const start = text.prefix.length - text.seam
    this.#prefix = text.prefix.subarray(0, start)
    this.#suffix = text.suffix
    this.#reencode = text.reencode
    const tokens = text.prefix.subarray(start)
    this.#held = Array.from({ length: streams }, () => ({ tokens, marks: [] }))
    this.#free = new Set(this.#held.keys())
    this.#left = new Set(Array(branches).keys())
    this.#kept = streams
    this.#decoded = text.prefix.length
  }

  /** Decodes the prefix once and shares it among the streams, which are for branches 0..branches-1. */
  static async of(
    native: NativeMirror,
    head: NativeHead,
    text: Surroundings,
    branches: number,
    streams: number,
    signal: AbortSignal
  ): Promise<Mirror> {
    await whileWatched(native, what, signal, () => native.prefill(text.prefix, 0))
    await native.fork(streams)
    return new Mirror(native, head, text, branches, streams)
  }

  /** Tokens decoded so far: the prefix, what was new at each checkpoint, and every suffix. */
  get decoded(): number {
    return this.#decoded
  }

  /** Cells a stream needs for a transcript. */
  cellsFor(transcript: Transcript): number {
    return this.#prefix.length + transcript.tokens.length + this.#suffix.length
  }

  async read(ids: readonly number[], transcripts: readonly Transcript[], signal: AbortSignal): Promise<Reading[]> {
    // Those who have a stream before they lose it.
    const order = [...ids.keys()].sort((a, b) => this.#waits(ids[a] as number) - this.#waits(ids[b] as number))
    const readings: Reading[] = []
    for (let from = 0; from < order.length; from += this.#kept) {
      const part = order.slice(from, from + this.#kept)
      const of = <T>(all: readonly T[]) => part.map((i) => all[i] as T)
      const read = await this.#readPart(this.#seat(of(ids)), of(transcripts), signal)
      for (const [k, i] of part.entries()) readings[i] = read[k] as Reading
    }
    return readings
  }

  /** They come no more. */
  async drop(ids: readonly number[]): Promise<void> {
    const freed: number[] = []
    for (const id of ids) {
      if (!this.#left.delete(id)) continue
      const stream = this.#streams.get(id) ?? (this.#free.has(id) ? id : null)
      if (stream === null) continue
      this.#streams.delete(id)
      if (this.#left.size >= this.#kept) {
        this.#free.add(stream)
      } else {
        this.#free.delete(stream)
        this.#kept--
        freed.push(stream)
      }
    }
    if (freed.length > 0) await this.#native.drop(Int32Array.from(freed))
  }

  #waits(id: number): 0 | 1 {
    return this.#streams.has(id) ? 0 : 1
  }

  /** A stream for each: its own, a free one, or that of one who is not among them. */
  #seat(ids: readonly number[]): number[] {
    // Behind all others, whose streams are taken first.
    for (const id of ids) {
      const own = this.#streams.get(id)
      if (own === undefined) continue
      this.#streams.delete(id)
      this.#streams.set(id, own)
    }
    return ids.map((id) => {
      const own = this.#streams.get(id)
      if (own !== undefined) return own
      const stream = this.#free.has(id) ? id : (first(this.#free) ?? this.#evict())
      this.#free.delete(stream)
      this.#streams.set(id, stream)
      return stream
    })
  }

  #evict(): number {
    const [id, stream] = first(this.#streams) as [number, number]
    this.#streams.delete(id)
    return stream
  }

  async #readPart(
    streams: readonly number[],
    transcripts: readonly Transcript[],
    signal: AbortSignal
  ): Promise<Reading[]> {
    const held = streams.map((stream) => this.#held[stream] as Held)
    const kept = held.map(({ tokens }, i) =>
      this.#reencode ? 0 : commonLength(tokens, (transcripts[i] as Transcript).tokens)
    )
    const request = this.#request(streams, transcripts, kept)
    const read = await whileWatched(this.#native, what, signal, () => this.#native.score(this.#head, request, 0))
    this.#decoded += read.decoded
    let next = 0
    return streams.map((_, i) => {
      const [own, from, { tokens, marks }] = [held[i] as Held, kept[i] as number, transcripts[i] as Transcript]
      own.marks = own.marks.filter(({ at }) => at <= from)
      for (let at = from; at < marks.length; at++) {
        if (marks[at] === 1) own.marks.push({ at: at + 1, logit: read.marked[next++] as number })
      }
      // A copy: a candidate's tokens are a view that grows.
      own.tokens = tokens.slice()
      return { whole: read.scores[i] as number, steps: own.marks.map(({ logit }) => logit) }
    })
  }

  #request(
    streams: readonly number[],
    transcripts: readonly Transcript[],
    kept: readonly number[]
  ): NativeMirrorRequest {
    // From scratch means the prefix too, for every branch.
    const again = this.#reencode ? this.#prefix : new Int32Array(0)
    const { tokens, offsets } = tokenLists(transcripts.map(({ tokens }, i) => [...again, ...tokens.subarray(kept[i])]))
    const marked = transcripts.some(({ marks }) => marks.length > 0)
    const marks = new Uint8Array(marked ? tokens.length : 0)
    for (const [i, { marks: own }] of transcripts.entries()) {
      if (marked) marks.set(own.subarray(kept[i]), (offsets[i] as number) + again.length)
    }
    const keep = Int32Array.from(kept, (length) => (this.#reencode ? 0 : this.#prefix.length + length))
    return { ids: Int32Array.from(streams), keep, tokens, offsets, marks, suffix: this.#suffix }
  }
}

function commonLength(a: Int32Array, b: Int32Array): number {
  const most = Math.min(a.length, b.length)
  let i = 0
  while (i < most && a[i] === b[i]) i++
  return i
}

function first<T>(of: Iterable<T>): T | undefined {
  for (const each of of) return each
  return undefined
}
