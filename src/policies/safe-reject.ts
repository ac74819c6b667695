import { type Checkpoints, doubling } from '../checkpoint.js'
import { expected } from '../errors.js'
import { type Decision, type Policy, ranking, type View } from '../policy.js'
import { type SafeShare, type Safety, type SafetyRule, safeShares } from './safety.js'

export interface SafeRejectOptions {
  /** What recorded races of the same scorer and as many candidates say: `learnSafety`. */
  readonly safety: Safety
  /** The chance of losing best-of-N's pick that is put up with, over the whole race, 0 < delta < 1. Default 0.05. */
  readonly delta?: number | undefined
  /** `ranks` needs at least 2 / delta recorded prompts, `normal` believes in normal scores (safety.ts). Default `ranks`. */
  readonly rule?: SafetyRule | undefined
  /** Of the places recorded. Default: doubling from the first of them. */
  readonly checkpoints?: Checkpoints | undefined
}

/**
 * Calibrated rejection: at each checkpoint as many of the lowest scores are killed as recorded races allow if best-of-N's pick
 * is to survive with probability 1 - delta; the last live branch never. How `safety.ts` derives the shares is said there.
 *
 * What it promises it promises for prompts like the recorded ones, for the scorer and the number of candidates of the
 * recording. Throws OPTION_INVALID.
 */
export function safeReject(options: SafeRejectOptions): Policy {
  const { safety, delta = 0.05, rule = 'ranks' } = options
  if (!Array.isArray(safety?.places) || safety.places.length === 0) {
    throw expected('OPTION_INVALID', 'what learnSafety found', 'safety', safety)
  }
  if (typeof delta !== 'number' || !(delta > 0 && delta < 1)) {
    throw expected('OPTION_INVALID', 'a number above 0 and below 1', 'delta', delta)
  }
  if (rule !== 'ranks' && rule !== 'normal') throw expected('OPTION_INVALID', 'one of "ranks", "normal"', 'rule', rule)
  const { checkpoints = doubling(safety.places[0]?.tokens as number) } = options
  return cutShares('safe-reject', checkpoints, safeShares(safety, delta, checkpoints, rule))
}

/** A policy out of shares: from each place on so many of the race's candidates may have been killed. */
export function cutShares(name: string, checkpoints: Checkpoints, shares: readonly SafeShare[]): Policy {
  return {
    name,
    checkpoints,
    decide: (view) => cut(view, shares.findLast(({ tokens }) => tokens <= view.tokens)?.share ?? 0)
  }
}

function cut({ branches }: View, share: number): Decision {
  const live = branches.filter(({ state }) => state === 'live')
  const killed = branches.filter(({ state }) => state === 'killed').length
  // Shares are of whole candidates: what rounding took from 3 of 8 is given back.
  const allowed = Math.floor(share * branches.length + 1e-9) - killed
  const count = Math.max(0, Math.min(allowed, live.length - 1))
  if (count === 0) return { kill: [] }
  const doomed = ranking(live).slice(live.length - count)
  return { kill: doomed.map(({ id }) => id), why: 'safely rejected' }
}
