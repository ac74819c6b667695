import type {
  NativeHead,
  NativeMirror,
  NativeMirrorRequest,
  NativeMirrorScores,
  NativeOccupancy,
  NativePrefill
} from '../../src/binding.js'

/** NativeMirror whose logit is a hash of every token that stands before it: wrong tokens give a wrong logit. */
export class FakeMirror implements NativeMirror {
  readonly calls: string[] = []
  readonly cellsPerStream: number
  closed = false
  #prefix: number[] = []
  #branches = new Map<number, number[]>()
  #busy = false
  #aborting = false
  /** Real milliseconds a score takes. */
  milliseconds = 0

  constructor(cellsPerStream = 1024) {
    this.cellsPerStream = cellsPerStream
  }

  async prefill(prefix: Int32Array): Promise<NativePrefill> {
    this.calls.push(`prefill ${prefix.length}`)
    this.#prefix = [...prefix]
    this.#branches = new Map()
    return { reason: 'reached', race: 0, tokens: prefix.length, decoded: prefix.length, seconds: 0 }
  }

  async fork(count: number): Promise<void> {
    this.calls.push(`fork ${count}`)
    for (let id = 0; id < count; id++) this.#branches.set(id, [...this.#prefix])
  }

  async score(_head: NativeHead, request: NativeMirrorRequest): Promise<NativeMirrorScores> {
    if (this.#busy) throw Object.assign(new Error('Expected no other job'), { code: 'POOL_BUSY' })
    this.#busy = true
    const until = performance.now() + this.milliseconds
    while (performance.now() < until && !this.#aborting) await new Promise((resolve) => setTimeout(resolve, 1))
    const aborted = this.#aborting
    this.#busy = this.#aborting = false
    const none = { suffixDecoded: 0, seconds: 0 }
    if (aborted) {
      return { reason: 'aborted', scores: new Float32Array(0), marked: new Float32Array(0), decoded: 0, ...none }
    }
    const { ids, keep, tokens, offsets, marks, suffix } = request
    const [scores, marked]: [number[], number[]] = [[], []]
    for (const [i, id] of ids.entries()) {
      const branch = this.#branches.get(id)
      if (branch === undefined) throw Object.assign(new Error(`no branch ${id}`), { code: 'BRANCH_UNKNOWN' })
      branch.length = keep[i] as number
      for (let at = offsets[i] as number; at < (offsets[i + 1] as number); at++) {
        branch.push(tokens[at] as number)
        if (marks[at] === 1) marked.push(logitOf(branch))
      }
      if (branch.length + suffix.length > this.cellsPerStream) {
        throw Object.assign(new Error('too long'), { code: 'CONTEXT_TOO_LONG' })
      }
      scores.push(logitOf([...branch, ...suffix]))
    }
    this.calls.push(`score ${[...ids].join(' ')}: ${tokens.length}`)
    const suffixDecoded = suffix.length * ids.length
    return {
      reason: 'reached',
      scores: Float32Array.from(scores),
      marked: Float32Array.from(marked),
      decoded: tokens.length + suffixDecoded,
      suffixDecoded,
      seconds: 0
    }
  }

  async drop(ids: Int32Array): Promise<void> {
    this.calls.push(`drop ${[...ids].join(' ')}`)
    for (const id of ids) this.#branches.delete(id)
  }

  occupancy(): NativeOccupancy {
    return { cellsPerStream: this.cellsPerStream } as NativeOccupancy
  }

  abort(): void {
    if (this.#busy) this.#aborting = true
  }

  async close(): Promise<void> {
    this.closed = true
  }
}

/** In (-4, 4), by FNV-1a over all tokens. */
export function logitOf(tokens: readonly number[]): number {
  let hash = 0x811c9dc5
  for (const token of tokens) hash = Math.imul(hash ^ token, 0x01000193) >>> 0
  return Math.fround((hash / 2 ** 32) * 8 - 4)
}
