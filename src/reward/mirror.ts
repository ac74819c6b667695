import type { NativeHead, NativeMirror, NativeMirrorRequest } from '../binding.js'
import { tokenLists } from '../token-lists.js'
import type { Transcript } from './transcript.js'
import { whileWatched } from './watched.js'

const what = 'reward model'

/** What the mirror holds of one branch: tokens after the prefix, and the scores read at its marks. */
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

/** One race's branches in a reward model's cells: of a transcript only what is new is decoded. */
export class Mirror {
  readonly #native: NativeMirror
  readonly #head: NativeHead
  /** Before every transcript. */
  readonly #prefix: Int32Array
  readonly #suffix: Int32Array
  readonly #reencode: boolean
  readonly #held: Map<number, Held>
  #decoded: number

  private constructor(native: NativeMirror, head: NativeHead, text: Surroundings, count: number) {
    this.#native = native
    this.#head = head
    const start = text.prefix.length - text.seam
    this.#prefix = text.prefix.subarray(0, start)
    this.#suffix = text.suffix
    this.#reencode = text.reencode
    const tokens = text.prefix.subarray(start)
    this.#held = new Map(Array.from({ length: count }, (_, id) => [id, { tokens, marks: [] }]))
    this.#decoded = text.prefix.length
  }

  /** Decodes the prefix once and shares it among branches 0..count-1. */
  static async of(
    native: NativeMirror,
    head: NativeHead,
    text: Surroundings,
    count: number,
    signal: AbortSignal
  ): Promise<Mirror> {
    await whileWatched(native, what, signal, () => native.prefill(text.prefix, 0))
    await native.fork(count)
    return new Mirror(native, head, text, count)
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
    const held = ids.map((id) => this.#held.get(id) as Held)
    const kept = held.map(({ tokens }, i) =>
      this.#reencode ? 0 : commonLength(tokens, (transcripts[i] as Transcript).tokens)
    )
    const request = this.#request(ids, transcripts, kept)
    const read = await whileWatched(this.#native, what, signal, () => this.#native.score(this.#head, request, 0))
    this.#decoded += read.decoded
    let next = 0
    return ids.map((_, i) => {
      const [branch, from, { tokens, marks }] = [held[i] as Held, kept[i] as number, transcripts[i] as Transcript]
      branch.marks = branch.marks.filter(({ at }) => at <= from)
      for (let at = from; at < marks.length; at++) {
        if (marks[at] === 1) branch.marks.push({ at: at + 1, logit: read.marked[next++] as number })
      }
      // A copy: a candidate's tokens are a view that grows.
      branch.tokens = tokens.slice()
      return { whole: read.scores[i] as number, steps: branch.marks.map(({ logit }) => logit) }
    })
  }

  async drop(ids: readonly number[]): Promise<void> {
    const present = ids.filter((id) => this.#held.delete(id))
    if (present.length > 0) await this.#native.drop(Int32Array.from(present))
  }

  #request(ids: readonly number[], transcripts: readonly Transcript[], kept: readonly number[]): NativeMirrorRequest {
    // From scratch means the prefix too, for every branch.
    const again = this.#reencode ? this.#prefix : new Int32Array(0)
    const { tokens, offsets } = tokenLists(transcripts.map(({ tokens }, i) => [...again, ...tokens.subarray(kept[i])]))
    const marked = transcripts.some(({ marks }) => marks.length > 0)
    const marks = new Uint8Array(marked ? tokens.length : 0)
    for (const [i, { marks: own }] of transcripts.entries()) {
      if (marked) marks.set(own.subarray(kept[i]), (offsets[i] as number) + again.length)
    }
    const keep = Int32Array.from(kept, (length) => (this.#reencode ? 0 : this.#prefix.length + length))
    return { ids: Int32Array.from(ids), keep, tokens, offsets, marks, suffix: this.#suffix }
  }
}

function commonLength(a: Int32Array, b: Int32Array): number {
  const most = Math.min(a.length, b.length)
  let i = 0
  while (i < most && a[i] === b[i]) i++
  return i
}
