import type { Result } from '../result.js'
import type { Replay } from './replay.js'

/** How live races differ from what replay says of them. All 0 but the seconds where both were `deterministic`. */
export interface Divergence {
  /** Races compared. */
  readonly races: number
  /** With another winner. */
  readonly winners: number
  /** Candidates that were killed elsewhere, or in one of the two only. */
  readonly kills: number
  /** Candidates that wrote another number of tokens though they were not killed. */
  readonly lengths: number
  readonly candidates: number
  /** Wall time of the live races, and what the cost model foretold of them. */
  readonly seconds: number
  readonly foretold: number
}

export const noDivergence: Divergence = {
  ...{ races: 0, winners: 0, kills: 0, lengths: 0, candidates: 0, seconds: 0, foretold: 0 }
}

/** Adds a live race of the same policy on the same candidates. */
export function diverged(so: Divergence, replayed: Replay, live: Result, foretold: number): Divergence {
  const { branches, winner, usage } = live
  const killedAt = branches.map((branch) => branch.killedAt ?? -1)
  const elsewhere = killedAt.filter((tokens, id) => tokens !== replayed.killedAt[id])
  const others = branches.filter(({ id, tokens }) => killedAt[id] === -1 && tokens.length !== replayed.tokens[id])
  return {
    races: so.races + 1,
    winners: so.winners + Number((winner?.id ?? null) !== replayed.winner),
    kills: so.kills + elsewhere.length,
    lengths: so.lengths + others.filter(({ id }) => replayed.killedAt[id] === -1).length,
    candidates: so.candidates + branches.length,
    seconds: so.seconds + usage.wallSeconds,
    foretold: so.foretold + foretold
  }
}
