import type { FinishReason } from '../branch.js'
import type { Conditions } from '../journal.js'
import type { PromptInput } from '../prompt.js'

/** Of a file of traces; a file of another version is refused. */
export const traceVersion = 1

/** A scorer that looked at every candidate of a recording. */
export interface TracedScorer {
  readonly name: string
  /** Of the file behind a scorer `head@FILE`; null for others. */
  readonly sha256: string | null
}

/** What all traces of a file have in common: its first line. */
export interface TraceHeader {
  /** Candidates a prompt. */
  readonly n: number
  /** Tokens from one look of the scorers to the next: they looked at grid, 2 grid, ... tokens. */
  readonly grid: number
  readonly scorers: readonly TracedScorer[]
  readonly maxTokens: number
  readonly deterministic: boolean
  /** Everything the traces depend on, the above included: checksums of the models, versions, sampling, seed. */
  readonly conditions: Conditions
}

/** What was measured while a trace was recorded, seconds of one race with nothing else in its pool. */
export interface TraceTiming {
  /** Of decoding the prompt. */
  readonly prefill: number
  /** Of writing from each look to the next, the first from the beginning; scoring is not in it. */
  readonly steps: readonly number[]
  /** By scorer: of each look. */
  readonly scores: readonly (readonly number[])[]
  /** By scorer: tokens that a model of its own decoded for each look. */
  readonly rewardTokens: readonly (readonly number[])[]
  /** Of the whole race. */
  readonly wall: number
}

/** What the candidates of a trace wrote, in the order of their ids. */
export interface TracedText {
  /** Generated tokens, without the end token. */
  readonly tokens: readonly Int32Array[]
  /** Raw log-probability of each token, nats. */
  readonly logprobs: readonly Float32Array[]
  /** Entropy of the distribution each token was drawn from, nats. */
  readonly entropies: readonly Float32Array[]
  readonly texts: readonly string[]
}

/**
 * A best-of-N race in full: all that a policy which only kills could have seen of it. Since a candidate's draws depend on
 * seed, prompt, candidate and position alone, that is enough to say what any such policy would have done.
 */
export interface Trace {
  /** Place among the prompts of the recording, from 0. */
  readonly prompt: number
  readonly id: string | null
  readonly input: PromptInput
  /** The right answer, where it is known. */
  readonly answer: string | null
  readonly promptTokens: number
  /** `View.seed` of its races. */
  readonly seed: number
  /** Generated tokens of each candidate. */
  readonly lengths: Int32Array
  /** How many looks on the grid found each candidate live. */
  readonly lived: Int32Array
  readonly reasons: readonly FinishReason[]
  /** Candidates whose last token completed a stop text: it was taken, but not decoded. */
  readonly undecoded: readonly number[]
  /** For each candidate the first one with the same text. */
  readonly same: Int32Array
  /** What the verifier says of each candidate; null where the right answer is not known. */
  readonly right: readonly (boolean | null)[]
  readonly timing: TraceTiming
  /** Where each candidate's scores begin in an array of `scores`: n + 1 places. */
  readonly starts: Int32Array
  /**
   * Of each of the header's scorers, read when first asked for: for each candidate its scores at grid, 2 grid, ... while
   * it lived, then its final one.
   */
  scores(scorer: number): Float64Array
  /** Read anew at each call: of a large trace it takes some milliseconds. */
  written(): TracedText
}

/** The last score of a candidate, by scores of its trace. */
export function finalScore({ starts }: Pick<Trace, 'starts'>, scores: Float64Array, id: number): number {
  return scores[(starts[id + 1] as number) - 1] as number
}

/** Where the scores of candidates begin that were live at so many looks. */
export function startsOf(lived: Int32Array): Int32Array {
  const starts = new Int32Array(lived.length + 1)
  for (const [i, looks] of lived.entries()) starts[i + 1] = (starts[i] as number) + looks + 1
  return starts
}
