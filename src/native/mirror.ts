import type { NativeHead } from './head.js'
import type { NativeOccupancy, NativePoolParams, NativePrefill } from './pool.js'

export type NativeMirrorParams = Omit<NativePoolParams, 'states' | 'deterministic' | 'drawing'>

/** Which branches of a mirror get which new tokens, and where they are scored. */
export interface NativeMirrorRequest {
  /** Branches, each once. */
  readonly ids: Int32Array
  /** Of each branch: how many of its tokens stay, the prefix among them; the rest is removed. 0 to its length. */
  readonly keep: Int32Array
  /** New tokens of branch i: tokens[offsets[i]..offsets[i+1]]; may be none. */
  readonly tokens: Int32Array
  /** One more than ids. */
  readonly offsets: Int32Array
  /** One for each new token, 1: also score after this token. Of length 0: none. */
  readonly marks: Uint8Array
  /** Decoded behind each branch, scored at its last token, then removed. Of length 0: scored at the branch's own end. */
  readonly suffix: Int32Array
}

export interface NativeMirrorScores {
  /** Cut short, branches hold the tokens they were given all the same, and the next score decodes the rest. */
  readonly reason: 'reached' | 'deadline' | 'aborted'
  /** One raw logit for each id; empty unless reached. */
  readonly scores: Float32Array
  /** One for each mark, in the order of the tokens; empty unless reached. */
  readonly marked: Float32Array
  /** Rows decoded, those of suffixes included. */
  readonly decoded: number
  readonly suffixDecoded: number
  readonly seconds: number
}

/** A reward model's KV memory that follows the branches of a pool: tokens are given, and each is decoded once. */
export interface NativeMirror {
  /** Seconds; 0 means no deadline. A prefill cut short leaves the mirror empty. */
  prefill(prefix: Int32Array, deadlineSeconds: number): Promise<NativePrefill>
  /** Branches 0..count-1 that share the prefix. Once per prefill. */
  fork(count: number): Promise<void>
  /** Takes heads without features only. */
  score(head: NativeHead, request: NativeMirrorRequest, deadlineSeconds: number): Promise<NativeMirrorScores>
  /** Frees the cells of these branches at once; ids dropped before are ignored. */
  drop(ids: Int32Array): Promise<void>
  /** As of the end of the last job. */
  occupancy(): NativeOccupancy
  /** Ends the job in flight soon, which then resolves with reason `aborted`. No job: no effect. */
  abort(): void
  /** Idempotent. Aborts a job in flight, waits for it, then frees the context. */
  close(): Promise<void>
}
