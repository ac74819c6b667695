import type {
  NativeAdapters,
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
  /** Tokens taken since the last turn of its race ended; null when it neither took any nor ended. */
  untold: number | null
  /** Bytes of its copy while it is parked: one a token. */
  copied: number
}

interface FakeRace {
  readonly prompt: number
  rows: Row[]
  fork: NativeForkParams | null
  /** By candidate. */
  given: readonly Int32Array[]
  peak: number
  steps: number
  decoded: number
  seconds: number
}

/** NativePool with a script in place of a model. Keeps a diary of the calls, and refuses a second job in flight. */
export class FakePool implements NativePool {
  readonly calls: string[] = []
  params: NativePoolParams
  readonly #script: Script
  readonly #races = new Map<number, FakeRace>()
  #next = 1
  #busy = false
  #aborting = false
  #peak = 0
  closed = false

  constructor(params: NativePoolParams, script: Script) {
    const cellsPerStream = Math.ceil(params.cellsPerStream / 256) * 256
    this.params = { ...params, cellsPerStream }
    this.#script = script
  }

  adapt(adapters: NativeAdapters): Promise<void> {
    return this.#job('adapt', adapters.map(({ scale }) => scale).join(' '), async () => {
      if (this.#races.size > 0) throw coded('POOL_BUSY')
    })
  }

  prefill(prompt: Int32Array, deadlineSeconds: number): Promise<NativePrefill> {
    return this.#job('prefill', `${prompt.length}`, async () => {
      const stepMs = this.#script.stepMs ?? 0
      await pause(stepMs)
      const late = deadlineSeconds > 0 && stepMs / 1000 > deadlineSeconds
      const reason = this.#aborting ? 'aborted' : late ? 'deadline' : 'reached'
      const race = reason === 'reached' ? this.#next++ : 0
      const none = { rows: [], fork: null, given: [], steps: 0, decoded: 0, seconds: 0 }
      if (race > 0) this.#races.set(race, { prompt: prompt.length, peak: prompt.length, ...none })
      return { reason, race, tokens: prompt.length, decoded: prompt.length, seconds: stepMs / 1000 }
    })
  }

  fork(race: number, params: NativeForkParams): Promise<void> {
    return this.#job('fork', `${params.count}`, async () => {
      const found = this.#race(race)
      if (params.count > this.params.streams - this.#live().length) throw coded('STREAMS_FULL')
      found.fork = params
      const rows = Array.from({ length: params.count }, (_, i) => {
        return { id: params.firstCandidate + i, tokens: 0, untold: null, copied: 0, status: BranchCode.live }
      })
      found.rows.push(...rows)
      found.given = params.given ? [...found.given, ...listsOf(params.given)] : found.given
    })
  }

  advance(turns: Int32Array, deadlineSeconds: number, least?: Int32Array): Promise<(NativeAdvance | null)[]> {
    const pairs = Array.from(
      { length: turns.length / 2 },
      (_, i) => [turns[2 * i], turns[2 * i + 1]] as [number, number]
    )
    return this.#job('advance', pairs.map(([, until]) => until).join(' '), async () => {
      const began = performance.now()
      const taking = pairs.map(([race, until]) => ({ race: this.#race(race), until }))
      const behind = ({ race, until }: (typeof taking)[number]) =>
        race.rows.filter((row) => row.status === BranchCode.live && row.tokens < until)
      for (;;) {
        const seconds = (performance.now() - began) / 1000
        const stop = this.#aborting ? 'aborted' : deadlineSeconds > 0 && seconds >= deadlineSeconds ? 'deadline' : null
        const reasons = taking.map((each, i): NativeAdvance['reason'] | null => {
          const rows = behind(each)
          const length = (row: Row) => each.race.prompt + row.tokens
          if (rows.length === 0) return each.race.rows.some(isLive) ? 'reached' : 'settled'
          if (rows.length < (least?.[i] ?? 0)) return 'room'
          return rows.some((row) => length(row) >= this.params.cellsPerStream) ? 'full' : null
        })
        const over = reasons.some((reason) => reason !== null)
        if (stop !== null || over) {
          return taking.map(({ race }, i) => {
            // Whoever was not there is told nothing, not even of an abort.
            const reason = reasons[i] ?? (over ? null : stop)
            return reason === null ? null : this.#report(reason, race)
          })
        }
        for (const each of taking) this.#step(each.race, behind(each))
        await pause(this.#script.stepMs ?? 0)
      }
    })
  }

  kill(race: number, ids: Int32Array): Promise<void> {
    return this.#job('kill', [...ids].join(' '), async () => {
      for (const id of ids) {
        const row = this.#row(race, id)
        if (row.status !== BranchCode.live && row.status !== BranchCode.parked) continue
        row.status = BranchCode.killed
        row.copied = 0
      }
    })
  }

  park(race: number, ids: Int32Array, copy: boolean): Promise<void> {
    return this.#job('park', `${[...ids].join(' ')}${copy ? ' with copies' : ''}`, async () => {
      for (const id of ids) {
        const row = this.#row(race, id)
        if (row.status !== BranchCode.live) continue
        row.status = BranchCode.parked
        row.copied = copy ? this.#race(race).prompt + row.tokens : 0
      }
    })
  }

  resume(race: number, ids: Int32Array): Promise<number> {
    return this.#job('resume', [...ids].join(' '), async () => {
      let decoded = 0
      for (const id of ids) {
        const row = this.#row(race, id)
        if (row.status !== BranchCode.parked) continue
        if (this.#live().length >= this.params.streams) throw coded('STREAMS_FULL')
        if (row.copied === 0) decoded += row.tokens
        row.status = BranchCode.live
        row.copied = 0
      }
      return decoded
    })
  }

  reshape(streams: number, cellsPerStream: number): Promise<void> {
    return this.#job('reshape', `${streams} ${cellsPerStream}`, async () => {
      this.params = { ...this.params, streams, cellsPerStream: Math.ceil(cellsPerStream / 256) * 256 }
    })
  }

  /** Not in the diary: every race ends. */
  async end(race: number): Promise<void> {
    this.#races.delete(race)
  }

  score(_head: NativeHead, race: number, ids: Int32Array): Promise<Float32Array> {
    return this.#job('score', [...ids].join(' '), async () => {
      if (!this.params.states) throw coded('STATES_OFF')
      const score = this.#script.score ?? ((id: number) => id)
      return Float32Array.from(ids, (id) => score(id, this.#row(race, id).tokens))
    })
  }

  states(_race: number, ids: Int32Array): Promise<Float32Array> {
    return this.#job('states', [...ids].join(' '), async () => new Float32Array(ids.length * 8))
  }

  confidence(_race: number, ids: Int32Array): Promise<Float32Array> {
    return this.#job('confidence', [...ids].join(' '), async () => new Float32Array(ids.length * 9))
  }

  occupancy(): NativeOccupancy {
    const { streams, cellsPerStream } = this.params
    const live = this.#live().length
    const cellsUsed = this.#cellsUsed()
    return {
      streams,
      streamsUsed: live,
      streamsFree: streams - live,
      cellsPerStream,
      cells: streams * cellsPerStream,
      cellsUsed,
      cellsFree: streams * cellsPerStream - cellsUsed,
      cellsPeak: this.#peak,
      live,
      kvBytes: streams * cellsPerStream,
      parkedBytes: [...this.#races.values()].flatMap(({ rows }) => rows).reduce((sum, { copied }) => sum + copied, 0)
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

  /** Every branch samples; an ending one writes nothing; the others are decoded. */
  #step(race: FakeRace, rows: readonly Row[]): void {
    let decoded = 0
    for (const row of rows) {
      row.untold ??= 0
      const given = givenTo(race, row.id)
      if (row.tokens >= (given?.length ?? this.#script.length(row.id))) {
        row.status = BranchCode[given === null ? (this.#script.ending?.(row.id) ?? 'end') : 'end']
        continue
      }
      row.tokens++
      row.untold++
      decoded++
      if (row.tokens === race.fork?.maxTokens) row.status = BranchCode.length
    }
    race.peak = Math.max(race.peak, cellsOf(race, rows))
    this.#peak = Math.max(this.#peak, this.#cellsUsed(), race.peak)
    race.decoded += decoded + (this.params.deterministic && decoded === 1 ? 1 : 0)
    race.steps += decoded > 0 ? 1 : 0
    race.seconds += (this.#script.stepMs ?? 0) / 1000
  }

  #report(reason: NativeAdvance['reason'], race: FakeRace): NativeAdvance {
    const rows = race.rows.filter(({ untold }) => untold !== null)
    const token = this.#script.token ?? ((id: number, position: number) => 97 + ((31 * id + 7 * position) % 26))
    const logprob = this.#script.logprob ?? ((id: number, position: number) => -0.1 * (1 + ((id + position) % 7)))
    const positions = rows.flatMap(({ id, tokens, untold }) => {
      const count = untold as number
      return Array.from({ length: count }, (_, i) => [id, tokens - count + i] as const)
    })
    const certain = race.fork?.certainties === true ? positions : []
    const { steps, decoded, seconds } = race
    const report = {
      reason,
      steps,
      branches: Int32Array.from(rows, ({ id }) => id),
      counts: Int32Array.from(rows, ({ untold }) => untold as number),
      status: Uint8Array.from(rows, ({ status }) => status),
      cuts: new Int32Array(rows.length),
      cutTokens: new Int32Array(rows.length),
      tokens: Int32Array.from(positions, ([id, at]) => givenTo(race, id)?.[at] ?? token(id, at)),
      logprobs: Float32Array.from(positions, ([id, position]) => logprob(id, position)),
      entropies: Float32Array.from(positions, () => 0.5),
      certainties: Float32Array.from(certain, ([id, position]) => id + position / 10),
      topConfidences: Float32Array.from(certain, ([id]) => 5 + id),
      decoded,
      decodeSeconds: seconds,
      sampleSeconds: 0,
      cellsPeak: race.peak
    }
    for (const row of rows) row.untold = null
    race.steps = race.decoded = race.seconds = 0
    return report
  }

  #live(): Row[] {
    return [...this.#races.values()].flatMap(({ rows }) => rows.filter(isLive))
  }

  #cellsUsed(): number {
    return [...this.#races.values()].reduce((sum, race) => sum + cellsOf(race, race.rows.filter(isLive)), 0)
  }

  #race(id: number): FakeRace {
    const race = this.#races.get(id)
    if (race === undefined) throw coded('RACE_UNKNOWN')
    return race
  }

  #row(race: number, id: number): Row {
    const row = this.#race(race).rows.find((candidate) => candidate.id === id)
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

function isLive({ status }: Row): boolean {
  return status === BranchCode.live
}

function cellsOf({ prompt }: FakeRace, rows: readonly Row[]): number {
  return rows.reduce((sum, { tokens }) => sum + prompt + tokens, 0)
}

function givenTo({ given }: FakeRace, id: number): Int32Array | null {
  return given[id] ?? null
}

function listsOf({ tokens, offsets }: TokenLists): Int32Array[] {
  return Array.from(offsets.subarray(1), (end, i) => tokens.subarray(offsets[i], end))
}

function coded(code: string): Error {
  return Object.assign(new Error(`The scripted pool says ${code}`), { code })
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => (milliseconds > 0 ? setTimeout(resolve, milliseconds) : setImmediate(resolve)))
}
