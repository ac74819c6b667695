import type { NativeSamplingRules } from '../sampling-rules.js'

export interface NativeForkParams {
  readonly count: number
  readonly seed: bigint
  readonly firstCandidate: number
  readonly maxTokens: number
  readonly temperature: number
  readonly topK: number
  readonly topP: number
  readonly minP: number
  readonly stopTokens: Int32Array
  /** What the branches write in place of what they would sample; list i is tokens[offsets[i]..offsets[i+1]]. */
  readonly given?: TokenLists
  /** What else decides the tokens, and what ends them. Without effect on given ones. */
  readonly rules?: NativeSamplingRules
  /** Fill `certainties` and `topConfidences` of `NativeAdvance`. Default false. */
  readonly certainties?: boolean
  /** In a stream of its own, for later forks; otherwise the first branch takes the prompt's stream. Default false. */
  readonly keepPrompt?: boolean
}

export interface TokenLists {
  readonly tokens: Int32Array
  readonly offsets: Int32Array
}
