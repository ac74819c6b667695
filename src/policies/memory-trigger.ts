import { ladder, type Rung } from '../ladder.js'
import { roundHalfEven } from '../policy.js'

/** What the cells of candidates may take, the models and any reserve apart. */
export interface CandidateMemory {
  /** Bytes of all candidates together. */
  readonly bytes: number
  /** Keys and values of one token of one candidate, bytes. */
  readonly bytesPerToken: number
  /** Lengths come in multiples of this; 1 in the reference, 256 here. */
  readonly block: number
}

/** The longest that `width` candidates can become in this memory, tokens with the prompt; rounded down to a block. */
export function lengthAt({ bytes, bytesPerToken, block }: CandidateMemory, width: number): number {
  return Math.floor(bytes / (width * bytesPerToken) / block) * block
}

/** The first width of the reference, fitted to one card: 2 floor(a / (prompt + b)), and `most` at most. */
export interface WidthFit {
  readonly a: number
  readonly b: number
  readonly most: number
}

/** Tokens that the reference wants room for behind the prompt before it begins. */
const leastTokens = 8

/**
 * The first width as the reference chooses it (`utils/sbon_utils.py` and `engine/models/llm.py` of
 * Zanette-Labs/SpeculativeRejection b51917f): a tenth fewer until each candidate has room for 8 tokens. 0 when nobody has.
 */
export function firstWidth(memory: CandidateMemory, fit: WidthFit, promptTokens: number): number {
  let width = Math.min(2 * Math.floor(fit.a / (promptTokens + fit.b)), fit.most)
  while (width > 0 && lengthAt(memory, width) - promptTokens < leastTokens) width = Math.floor(0.9 * width)
  return width
}

export interface TriggerFacts {
  readonly memory: CandidateMemory
  /** Candidates to begin with. */
  readonly width: number
  /** Share rejected when memory is full, 0 <= alpha < 1. */
  readonly alpha: number
  /** Tokens of a candidate written to its end, the prompt included. */
  readonly until: number
}

/**
 * The paper's trigger: when all cells are taken the share alpha is rejected, counted as the reference counts (halves
 * to even). Each rung says how many candidates are written and to which length; the last ends at `until`.
 *
 * A schedule to compare with: what races run is `specReject({ memory: true })` on the rungs of a plan.
 */
export async function memoryRungs({ memory, width, alpha, until }: TriggerFacts): Promise<Rung[]> {
  return ladder({
    width,
    keeps: (live) => roundHalfEven((1 - alpha) * live),
    cellsAt: (live) => Math.min(lengthAt(memory, live), until),
    until
  })
}
