import type {
  NativeAdvance,
  NativeForkParams,
  NativeHead,
  NativeOccupancy,
  NativePool,
  NativePoolParams,
  NativePrefill,
  NativeSizes,
  TokenLists
} from '../../src/binding.js'
import { BranchCode } from '../../src/binding.js'

/** What the branches of a scripted pool write. A function of (candidate, position) only, as with the real one. */
export interface Script {
  /** Tokens candidate `id` writes before it ends. */
  length(id: number): number
  /** How it ends. Default `end`. */
  ending?(id: number): 'end' | 'stop'
  /** Default: 97 + (31 id + 7 position) mod 26. */
  token?(id: number, position: number): number
  /** Default: a few tenths below zero, different for each candidate. */
  logprob?(id: number, position: number): number
  /** What `score` returns after `tokens` tokens. Default: id. */
  score?(id: number, tokens: number): number
  /** Real milliseconds a step takes. Default 0. */
  stepMs?: number
  /** Thrown by the operation that bears its name. */
  fail?: { readonly operation: 'prefill' | 'fork' | 'advance' | 'kill' | 'score'; readonly code: string }
}

interface Row {
  readonly id: number
  status: number
  tokens: number
}

/** NativePool with a script in place of a model. Keeps a diary of the calls, and refuses a second job in flight. */
export class FakePool implements NativePool {
  readonly calls: string[] = []
  readonly params: NativePoolParams
  readonly #script: Script
  #rows: Row[] = []
  #prompt = 0
  #maxTokens = 0
  #given: TokenLists | null = null
  #certainties = false
  #busy = false
  #aborting = false
  #peak = 0
  closed = false

  constructor(params: NativePoolParams, script: Script) {
    const cellsPerStream = Math.ceil(params.cellsPerStream / 256) * 256
    this.params = { ...params, cellsPerStream }
    this.#script = script
  }

  prefill(prompt: Int32Array, deadlineSeconds: number): Promise<NativePrefill> {
    return this.#job('prefill', `${prompt.length}`, async () => {
      const stepMs = this.#script.stepMs ?? 0
      await pause(stepMs)
      this.#rows = []
      this.#prompt = prompt.length
      this.#peak = prompt.length
      const late = deadlineSeconds > 0 && stepMs / 1000 > deadlineSeconds
      const reason = this.#aborting ? 'aborted' : late ? 'deadline' : 'reached'
      return { reason, tokens: prompt.length, seconds: stepMs / 1000 }
    })
  }

  fork(params: NativeForkParams): Promise<void> {
    return this.#job('fork', `${params.count}`, async () => {
      if (params.count > this.params.streams) throw coded('STREAMS_FULL')
      this.#maxTokens = params.maxTokens
      this.#given = params.given ?? null
      this.#certainties = params.certainties ?? false
      const rows = { length: params.count }
      this.#rows = Array.from(rows, (_, i) => ({ id: params.firstCandidate + i, status: BranchCode.live, tokens: 0 }))
    })
  }

  advance(steps: number, deadlineSeconds: number): Promise<NativeAdvance> {
    return this.#job('advance', `${steps}`, async () => {
      const began = performance.now()
      const moved = new Map<Row, number>()
      let [done, decoded] = [0, 0]
      let reason: NativeAdvance['reason'] | null = null
      while (reason === null) {
        const live = this.#live()
        const seconds = (performance.now() - began) / 1000
        if (live.length === 0) reason = 'settled'
        else if (done === steps) reason = 'reached'
        else if (this.#aborting) reason = 'aborted'
        else if (deadlineSeconds > 0 && seconds >= deadlineSeconds) reason = 'deadline'
        else if (live.some((row) => this.#prompt + row.tokens >= this.params.cellsPerStream)) reason = 'full'
        else {
          decoded += this.#step(live, moved)
          done++
          await pause(this.#script.stepMs ?? 0)
        }
      }
      return this.#report(reason, done, decoded, moved, (performance.now() - began) / 1000)
    })
  }

  kill(ids: Int32Array): Promise<void> {
    return this.#job('kill', [...ids].join(' '), async () => {
      for (const id of ids) {
        const row = this.#row(id)
        if (row.status === BranchCode.live) row.status = BranchCode.killed
      }
    })
  }

  score(_head: NativeHead, ids: Int32Array): Promise<Float32Array> {
    return this.#job('score', [...ids].join(' '), async () => {
      if (!this.params.states) throw coded('STATES_OFF')
      const score = this.#script.score ?? ((id: number) => id)
      return Float32Array.from(ids, (id) => score(id, this.#row(id).tokens))
    })
  }

  states(ids: Int32Array): Promise<Float32Array> {
    return this.#job('states', [...ids].join(' '), async () => new Float32Array(ids.length * 8))
  }

  confidence(ids: Int32Array): Promise<Float32Array> {
    return this.#job('confidence', [...ids].join(' '), async () => new Float32Array(ids.length * 9))
  }

  occupancy(): NativeOccupancy {
    const { streams, cellsPerStream } = this.params
    const live = this.#live()
    const cellsUsed = live.reduce((sum, row) => sum + this.#prompt + row.tokens, 0)
    return {
      streams,
      streamsUsed: live.length,
      streamsFree: streams - live.length,
      cellsPerStream,
      cells: streams * cellsPerStream,
      cellsUsed,
      cellsFree: streams * cellsPerStream - cellsUsed,
      cellsPeak: this.#peak,
      live: live.length,
      kvBytes: 0
    }
  }

  async sizes(): Promise<NativeSizes> {
    const { streams, cellsPerStream } = this.params
    return { streams, cellsPerStream, devices: [] }
  }

  abort(): void {
    if (this.#busy) this.#aborting = true
  }

  async close(): Promise<void> {
    this.abort()
    while (this.#busy) await pause(1)
    this.closed = true
  }

  /** Every live branch samples; an ending one writes nothing; the others are decoded. Returns the rows decoded. */
  #step(live: readonly Row[], moved: Map<Row, number>): number {
    let decoded = 0
    for (const row of live) {
      moved.set(row, moved.get(row) ?? 0)
      const given = this.#givenTo(row.id)
      if (row.tokens >= (given?.length ?? this.#script.length(row.id))) {
        row.status = BranchCode[given === null ? (this.#script.ending?.(row.id) ?? 'end') : 'end']
        continue
      }
      row.tokens++
      moved.set(row, (moved.get(row) ?? 0) + 1)
      decoded++
      if (row.tokens === this.#maxTokens) row.status = BranchCode.length
    }
    const cells = live.reduce((sum, row) => sum + this.#prompt + row.tokens, 0)
    this.#peak = Math.max(this.#peak, cells)
    return decoded + (this.params.deterministic && decoded === 1 ? 1 : 0)
  }

  #report(
    reason: NativeAdvance['reason'],
    steps: number,
    decoded: number,
    moved: Map<Row, number>,
    seconds: number
  ): NativeAdvance {
    const rows = [...moved.entries()].sort(([a], [b]) => a.id - b.id)
    const token = this.#script.token ?? ((id: number, position: number) => 97 + ((31 * id + 7 * position) % 26))
    const logprob = this.#script.logprob ?? ((id: number, position: number) => -0.1 * (1 + ((id + position) % 7)))
    const positions = rows.flatMap(([row, count]) =>
      Array.from({ length: count }, (_, i) => [row.id, row.tokens - count + i] as const)
    )
    return {
      reason,
      steps,
      branches: Int32Array.from(rows, ([row]) => row.id),
      counts: Int32Array.from(rows, ([, count]) => count),
      status: Uint8Array.from(rows, ([row]) => row.status),
      tokens: Int32Array.from(positions, ([id, at]) => this.#givenTo(id)?.[at] ?? token(id, at)),
      logprobs: Float32Array.from(positions, ([id, position]) => logprob(id, position)),
      entropies: Float32Array.from(positions, () => 0.5),
      certainties: Float32Array.from(this.#certainties ? positions : [], ([id, position]) => id + position / 10),
      topConfidences: Float32Array.from(this.#certainties ? positions : [], ([id]) => 5 + id),
      decoded,
      decodeSeconds: seconds,
      sampleSeconds: 0
    }
  }

  #givenTo(id: number): Int32Array | null {
    const { tokens, offsets } = this.#given ?? {}
    return tokens === undefined || offsets === undefined ? null : tokens.subarray(offsets[id], offsets[id + 1])
  }

  #live(): Row[] {
    return this.#rows.filter((row) => row.status === BranchCode.live)
  }

  #row(id: number): Row {
    const row = this.#rows.find((candidate) => candidate.id === id)
    if (row === undefined) throw coded('BRANCH_UNKNOWN')
    return row
  }

  async #job<T>(operation: string, detail: string, run: () => Promise<T>): Promise<T> {
    if (this.closed) throw coded('POOL_DEAD')
    if (this.#busy) throw coded('POOL_BUSY')
    this.#busy = true
    this.calls.push(`${operation} ${detail}`)
    try {
      if (this.#script.fail?.operation === operation) throw coded(this.#script.fail.code)
      return await run()
    } finally {
      this.#busy = false
      this.#aborting = false
    }
  }
}

function coded(code: string): Error {
  return Object.assign(new Error(`The scripted pool says ${code}`), { code })
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => (milliseconds > 0 ? setTimeout(resolve, milliseconds) : setImmediate(resolve)))
}
