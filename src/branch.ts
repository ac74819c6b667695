import { BranchCode, type NativeAdvance } from './binding.js'
import { WinnowError } from './errors.js'

/**
 * Why a branch wrote no more: `end` the model's end token; `stop` a stop token or text of the caller's; `refused` a
 * grammar that allows no token; `length` maxTokens;
 * `context` the model's trained context (maxTokens did not fit); `full` the pool's streams; `deadline` and `stopped`
 * the caller's patience; `failed` the scorer.
 */
export type FinishReason =
  | 'end'
  | 'stop'
  | 'refused'
  | 'length'
  | 'context'
  | 'full'
  | 'deadline'
  | 'stopped'
  | 'failed'

export type BranchStatus =
  | { readonly state: 'live' }
  | { readonly state: 'finished'; readonly reason: FinishReason }
  | { readonly state: 'killed'; readonly at: number; readonly why: string }

/** What branches took: branches[i] took counts[i] of the tokens, and then had this status. */
export type Taken = Pick<
  NativeAdvance,
  | 'branches'
  | 'counts'
  | 'status'
  | 'cuts'
  | 'cutTokens'
  | 'tokens'
  | 'logprobs'
  | 'entropies'
  | 'certainties'
  | 'topConfidences'
>

/** A score and the number of generated tokens it was read after. */
export interface Score {
  readonly tokens: number
  readonly score: number
}

/** One candidate answer. `id` is also the index of its random draws. */
export class Branch {
  readonly id: number
  status: BranchStatus = { state: 'live' }
  readonly scores: Score[] = []
  /** Bytes at the end of its text that are no part of it: a stop text, and what came with it. */
  cut = 0
  /** Whole tokens of these. */
  cutTokens = 0
  /** It has been given cells; false for one that was never written, whose race ended before its turn. */
  begun = false
  /** A finished branch is scored once; its state does not change any more. */
  scoredFinally = false
  #length = 0
  #tokens = new Int32Array(64)
  #logprobs = new Float32Array(64)
  #entropies = new Float32Array(64)
  /** Grow with the tokens, but only where the race asked for them. */
  readonly #certainties: number[] = []
  readonly #topConfidences: number[] = []

  constructor(id: number) {
    this.id = id
  }

  get length(): number {
    return this.#length
  }

  /** A view, valid until the next append. End and stop tokens are not part of it. */
  get tokens(): Int32Array {
    return this.#tokens.subarray(0, this.#length)
  }

  /** Raw log-probability of each token, nats. A view, like `tokens`. */
  get logprobs(): Float32Array {
    return this.#logprobs.subarray(0, this.#length)
  }

  /** Entropy of the distribution each token was drawn from, nats. A view, like `tokens`. */
  get entropies(): Float32Array {
    return this.#entropies.subarray(0, this.#length)
  }

  /** The latest score, or null before the first. */
  get score(): number | null {
    return this.scores.at(-1)?.score ?? null
  }

  /** What the engine read of each token's distribution (token-signal.ts says what); undefined unless it was asked to. */
  get distributions(): { readonly certainties: Float32Array; readonly topConfidences: Float32Array } | undefined {
    if (this.#certainties.length < this.#length) return undefined
    return {
      certainties: Float32Array.from(this.#certainties),
      topConfidences: Float32Array.from(this.#topConfidences)
    }
  }

  certain(certainties: Float32Array, topConfidences: Float32Array): void {
    this.#certainties.push(...certainties)
    this.#topConfidences.push(...topConfidences)
  }

  append(tokens: Int32Array, logprobs: Float32Array, entropies: Float32Array): void {
    const length = this.#length + tokens.length
    if (length > this.#tokens.length) {
      const capacity = Math.max(length, 2 * this.#tokens.length)
      this.#tokens = grown(this.#tokens, new Int32Array(capacity))
      this.#logprobs = grown(this.#logprobs, new Float32Array(capacity))
      this.#entropies = grown(this.#entropies, new Float32Array(capacity))
    }
    this.#tokens.set(tokens, this.#length)
    this.#logprobs.set(logprobs, this.#length)
    this.#entropies.set(entropies, this.#length)
    this.#length = length
  }
}

/** The branches of one race. The only place that changes a status. */
export class Branches {
  readonly all: readonly Branch[]
  /** What running out of `maxTokens` means here: `context` where it was cut down to what the context holds. */
  readonly #lengthReason: 'length' | 'context'

  constructor(count: number, lengthReason: 'length' | 'context' = 'length') {
    this.all = Array.from({ length: count }, (_, id) => new Branch(id))
    this.#lengthReason = lengthReason
  }

  get live(): Branch[] {
    return this.all.filter((branch) => branch.status.state === 'live')
  }

  get finished(): Branch[] {
    return this.all.filter((branch) => branch.status.state === 'finished')
  }

  get killed(): Branch[] {
    return this.all.filter((branch) => branch.status.state === 'killed')
  }

  get settled(): boolean {
    return this.all.every((branch) => branch.status.state !== 'live')
  }

  /** Generated tokens of all branches, killed ones included. */
  get tokens(): number {
    return this.all.reduce((sum, branch) => sum + branch.length, 0)
  }

  /** Takes over what the pool says happened. */
  apply(advance: Taken): void {
    let offset = 0
    for (let i = 0; i < advance.branches.length; i++) {
      const branch = this.#live(advance.branches[i] as number)
      const end = offset + (advance.counts[i] as number)
      branch.append(
        advance.tokens.subarray(offset, end),
        advance.logprobs.subarray(offset, end),
        advance.entropies.subarray(offset, end)
      )
      branch.certain(advance.certainties.subarray(offset, end), advance.topConfidences.subarray(offset, end))
      offset = end
      const reason = this.#reason(advance.status[i] as number)
      branch.cut = advance.cuts[i] as number
      branch.cutTokens = advance.cutTokens[i] as number
      if (reason !== null) branch.status = { state: 'finished', reason }
    }
  }

  kill(ids: Iterable<number>, at: number, why: string): void {
    for (const id of ids) this.#live(id).status = { state: 'killed', at, why }
  }

  /** Ends whatever still lives, without a loss: the tokens written so far stay a candidate. */
  finishLive(reason: FinishReason): void {
    for (const branch of this.live) branch.status = { state: 'finished', reason }
  }

  #live(id: number): Branch {
    const branch = this.all[id]
    if (branch?.status.state !== 'live') {
      throw new WinnowError('POLICY_INVALID', `Expected a live branch but received branch ${id}, which is not`)
    }
    return branch
  }

  #reason(code: number): FinishReason | null {
    if (code === BranchCode.end) return 'end'
    if (code === BranchCode.stop) return 'stop'
    if (code === BranchCode.refused) return 'refused'
    if (code === BranchCode.length) return this.#lengthReason
    return null
  }
}

function grown<T extends Int32Array | Float32Array>(from: T, to: T): T {
  to.set(from)
  return to
}
