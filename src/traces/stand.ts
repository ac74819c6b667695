import type { FinishReason, Score } from '../branch.js'
import type { Standing } from '../policy.js'

/** What all standings of one replay look back on. */
export interface Past {
  readonly grid: number
  /** Of every candidate, one after the other, by the scorer that is replayed. */
  readonly scores: Float64Array
  readonly starts: Int32Array
  /** The looks of the policy so far, each as its place on the grid: 1 is after `grid` tokens. */
  readonly looks: number[]
}

/**
 * A candidate as a policy sees it at one look of a replay. Its past scores are put together when they are asked for: few
 * policies do, and a replay has many looks.
 */
export class Stand implements Standing {
  readonly id: number
  readonly state: Standing['state']
  readonly reason: FinishReason | null
  readonly score: number | null
  readonly tokens: number
  readonly fresh: boolean
  readonly #past: Past
  /** Looks that found it live. */
  readonly #seen: number

  constructor(
    past: Past,
    seen: number,
    id: number,
    state: Standing['state'],
    reason: FinishReason | null,
    score: number | null,
    tokens: number,
    fresh: boolean
  ) {
    this.#past = past
    this.#seen = seen
    this.id = id
    this.state = state
    this.reason = reason
    this.score = score
    this.tokens = tokens
    this.fresh = fresh
  }

  get scores(): readonly Score[] {
    const { grid, scores, starts, looks } = this.#past
    const start = starts[this.id] as number
    const past = looks
      .slice(0, this.#seen)
      .map((look) => ({ tokens: look * grid, score: scores[start + look - 1] as number }))
    if (this.state !== 'finished') return past
    // Ended without another token since the last look: this score takes the place of that one.
    if (past.at(-1)?.tokens === this.tokens) past.pop()
    return [...past, { tokens: this.tokens, score: this.score as number }]
  }

  /** The same, no more news, or killed. */
  as(state: Standing['state']): Stand {
    return new Stand(this.#past, this.#seen, this.id, state, this.reason, this.score, this.tokens, false)
  }
}
