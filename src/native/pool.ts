import type { NativeAdapters } from './adapter.js'
import type { NativeForkParams } from './fork.js'
import type { NativeHead } from './head.js'
import type { NativeSizes } from './model.js'

export interface NativePoolParams {
  readonly streams: number
  readonly cellsPerStream: number
  readonly threads: number
  readonly batch: number
  readonly kvType: 'f32' | 'f16' | 'q8_0' | 'q4_0'
  readonly flashAttention: 'auto' | 'on' | 'off'
  readonly states: boolean
  readonly deterministic: boolean
  /** Where tokens are drawn. Default `auto`: in the graph where logits are computed on a GPU. */
  readonly drawing?: 'auto' | 'host' | 'graph' | undefined
  /** Of one cache that all share, in all; `streams` are then sequences, the prompt's among them. Default: streams. */
  readonly unifiedCells?: number | undefined
}

export type AdvanceReason = 'reached' | 'settled' | 'full' | 'room' | 'deadline' | 'aborted'

/** Codes in `NativeAdvance.status`. */
export const BranchCode = { live: 0, end: 1, stop: 2, length: 3, killed: 4, parked: 5, refused: 6 } as const

export interface NativePrefill {
  readonly reason: 'reached' | 'deadline' | 'aborted'
  /** Of a pool; 0 unless reached. */
  readonly race: number
  readonly tokens: number
  /** Fewer than `tokens` where the cells of a like beginning could be copied. */
  readonly decoded: number
  readonly seconds: number
}

/** What happened to a race in a turn: branches[i] took counts[i] tokens, flat and branch-major in `tokens`. */
export interface NativeAdvance {
  readonly reason: AdvanceReason
  readonly steps: number
  readonly branches: Int32Array
  readonly counts: Int32Array
  readonly status: Uint8Array
  /** Bytes to take off the end of the branch's text: a stop string, and what came with it. */
  readonly cuts: Int32Array
  /** Whole tokens of these. */
  readonly cutTokens: Int32Array
  readonly tokens: Int32Array
  readonly logprobs: Float32Array
  readonly entropies: Float32Array
  /** Empty unless the fork asked for them. */
  readonly certainties: Float32Array
  readonly topConfidences: Float32Array
  /** Rows decoded, ghost rows included. */
  readonly decoded: number
  /** The race's share, by rows, of what was decoded together. */
  readonly decodeSeconds: number
  readonly sampleSeconds: number
  /** The most cells that the race has held at once, so far. */
  readonly cellsPeak: number
}

export interface NativeOccupancy {
  readonly streams: number
  readonly streamsUsed: number
  readonly streamsFree: number
  readonly cellsPerStream: number
  readonly cells: number
  readonly cellsUsed: number
  readonly cellsFree: number
  readonly cellsPeak: number
  readonly live: number
  readonly kvBytes: number
  /** Copies of parked branches' cells, in the host's memory. */
  readonly parkedBytes: number
}

/** KV memory in equal streams, for any number of races: a prompt each, and its branches. */
export interface NativePool {
  /** In place of other adapters. Only while there is no race; what fails otherwise than by OPTION_INVALID ends the pool. */
  adapt(adapters: NativeAdapters): Promise<void>
  /** A new race, in a free stream. Cut short it leaves nothing behind. Seconds; 0 means no deadline. */
  prefill(prompt: Int32Array, deadlineSeconds: number): Promise<NativePrefill>
  fork(race: number, params: NativeForkParams): Promise<void>
  /**
   * `turns`: pairs of a race and the generated tokens that its branches go to. `least`: for each turn, how many of them must
   * still be on their way for it to go on; where there are fewer it has `room`. Default 0. Ends as soon as one race is
   * there, settled, full or has room. One outcome for each turn; null for a race that runs still, which is told when its
   * turn ends.
   */
  advance(turns: Int32Array, deadlineSeconds: number, least?: Int32Array): Promise<(NativeAdvance | null)[]>
  kill(race: number, ids: Int32Array): Promise<void>
  /** Frees the cells of branches, which go on after `resume`. `copy`: they are kept in the host's memory meanwhile. */
  park(race: number, ids: Int32Array, copy: boolean): Promise<void>
  /** The tokens that were decoded again. */
  resume(race: number, ids: Int32Array): Promise<number>
  /**
   * Streams of another number and length; who lives goes on there. If they cannot be had all is as it was. Not of a unified
   * cache.
   */
  reshape(streams: number, cellsPerStream: number): Promise<void>
  /** Forgets a race and frees what it holds; an unknown one is ignored. */
  end(race: number): Promise<void>
  score(head: NativeHead, race: number, ids: Int32Array): Promise<Float32Array>
  states(race: number, ids: Int32Array): Promise<Float32Array>
  confidence(race: number, ids: Int32Array): Promise<Float32Array>
  /** As of the end of the last job. */
  occupancy(): NativeOccupancy
  /** What llama.cpp has allocated for it. */
  sizes(): Promise<NativeSizes>
  /** Ends the job in flight at its next step, which then resolves with reason `aborted`. No job: no effect. */
  abort(): void
  /** Idempotent. Aborts a job in flight, waits for it, then frees the context. */
  close(): Promise<void>
}
