import fc from 'fast-check'
import type { NativeHead, NativeMirror, NativeMirrorRequest } from '../../src/binding.js'

/** A token sequence and the reward that transformers gives it. */
export interface Case {
  readonly tokens: readonly number[]
  readonly reward: number
}

/** A score, and where it was read: at a branch's own end, at a mark with more behind it, or at the end of a suffix. */
export interface Found {
  readonly score: number
  readonly of: Case
  readonly at: 'end' | 'mark' | 'suffix'
}

/** What one branch gets: it keeps `keep` of its tokens and reads `tokens`, of which the first `right` belong to it. */
interface Part {
  readonly id: number
  readonly keep: number
  readonly tokens: readonly number[]
  readonly right: number
}

/** Of a vocabulary of 128. */
const wrongTokens = fc.array(fc.nat(127), { maxLength: 4 })

/**
 * Sequences that begin alike, as branches of one mirror. They grow by chunks drawn at random, get tokens that are not
 * theirs and lose them again, are read with suffixes, and are dropped when they were read at their end.
 */
export class MirroredFamily {
  readonly #mirror: NativeMirror
  readonly #head: NativeHead
  readonly #cases: readonly Case[]
  readonly #draw: fc.GeneratorValue
  readonly #found: Found[] = []
  /** The tokens that the mirror has of each branch, right or not. */
  readonly #held: (readonly number[])[]
  readonly #open: Set<number>

  private constructor(mirror: NativeMirror, head: NativeHead, cases: readonly Case[], draw: fc.GeneratorValue) {
    this.#mirror = mirror
    this.#head = head
    this.#cases = cases
    this.#draw = draw
    this.#held = cases.map(() => this.#case(0).tokens)
    this.#open = new Set(cases.keys())
  }

  /** Every score that was read where a sequence ends. The first sequence is what the others begin with. */
  static async follow(
    mirror: NativeMirror,
    head: NativeHead,
    cases: readonly Case[],
    draw: fc.GeneratorValue
  ): Promise<Found[]> {
    const family = new MirroredFamily(mirror, head, cases, draw)
    await mirror.prefill(Int32Array.from(family.#case(0).tokens), 0)
    await mirror.fork(cases.length)
    while (family.#open.size > 0) {
      const ids = draw(fc.subarray, [...family.#open], { minLength: 1 })
      if (draw(fc.nat, 3) === 0) await family.#readBySuffix(ids[0] as number)
      await family.#grow(ids)
    }
    return family.#found
  }

  async #readBySuffix(id: number): Promise<void> {
    const { tokens } = this.#case(id)
    const keep = this.#rightLength(id)
    if (keep === tokens.length) return
    const { scores } = await this.#mirror.score(
      this.#head,
      request([{ id, keep, tokens: [], right: 0 }], [], tokens.slice(keep)),
      0
    )
    this.#found.push({ score: scores[0] as number, of: this.#case(id), at: 'suffix' })
    this.#held[id] = tokens.slice(0, keep)
  }

  async #grow(ids: readonly number[]): Promise<void> {
    const parts = ids.map((id) => this.#part(id))
    const suffix = this.#draw(() => wrongTokens)
    const marks = parts.flatMap((part) =>
      part.tokens.map((_, i) => (i === part.right - 1 && this.#reachesEnd(part) ? 1 : 0))
    )
    const { scores, marked } = await this.#mirror.score(this.#head, request(parts, marks, suffix), 0)
    let mark = 0
    for (const [i, part] of parts.entries()) {
      const { id, keep, tokens, right } = part
      const of = this.#case(id)
      this.#held[id] = [...of.tokens.slice(0, keep), ...tokens]
      if (!this.#reachesEnd(part)) continue
      const before = this.#found.length
      if (right > 0) this.#found.push({ score: marked[mark++] as number, of, at: 'mark' })
      if (tokens.length + suffix.length === right) this.#found.push({ score: scores[i] as number, of, at: 'end' })
      if (this.#found.length > before && this.#draw(fc.boolean)) await this.#drop(id)
    }
  }

  async #drop(id: number): Promise<void> {
    await this.#mirror.drop(Int32Array.of(id))
    this.#open.delete(id)
  }

  /** Goes on behind all of a branch's right tokens, or sometimes earlier. */
  #part(id: number): Part {
    const most = this.#rightLength(id)
    const keep = this.#draw(fc.nat, 3) > 0 ? most : this.#draw(fc.nat, most)
    // A score needs a token to be read at.
    const count = this.#draw(fc.integer, { min: keep > 0 ? 0 : 1, max: 24 })
    const next = this.#case(id).tokens.slice(keep, keep + count)
    return { id, keep, tokens: [...next, ...this.#draw(() => wrongTokens)], right: next.length }
  }

  #rightLength(id: number): number {
    const held = this.#held[id] as readonly number[]
    const wrong = held.findIndex((token, i) => token !== this.#case(id).tokens[i])
    return wrong < 0 ? held.length : wrong
  }

  #reachesEnd({ id, keep, right }: Part): boolean {
    return keep + right === this.#case(id).tokens.length
  }

  #case(id: number): Case {
    return this.#cases[id] as Case
  }
}

function request(parts: readonly Part[], marks: readonly number[], suffix: readonly number[]): NativeMirrorRequest {
  const offsets = new Int32Array(parts.length + 1)
  for (const [i, { tokens }] of parts.entries()) offsets[i + 1] = (offsets[i] as number) + tokens.length
  return {
    ids: Int32Array.from(parts, ({ id }) => id),
    keep: Int32Array.from(parts, ({ keep }) => keep),
    tokens: Int32Array.from(parts.flatMap(({ tokens }) => tokens)),
    offsets,
    marks: Uint8Array.from(marks),
    suffix: Int32Array.from(suffix)
  }
}
