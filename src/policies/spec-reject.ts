import { type Checkpoints, doubling, never } from '../checkpoint.js'
import { expected } from '../errors.js'
import { type Decision, type Policy, ranking, roundHalfEven, type Standing, scoreOf, type View } from '../policy.js'
import { keepRoom } from './memory-pressure.js'

export interface SpecRejectOptions {
  /** Share of the ranked branches rejected at each checkpoint, 0 <= alpha < 1. Default 0.5. */
  readonly alpha?: number | undefined
  /** Default `doubling(32)`. */
  readonly checkpoints?: Checkpoints | undefined
  /**
   * Near ties are not decided: a branch whose score is less than this below the best live one is never rejected, however
   * large the share. In units of the score (logits, for a reward head), at least 0. Default 0: the share alone decides.
   */
  readonly margin?: number | undefined
  /** Decide exactly as the paper's reference implementation does, which knows no margin. Default false. */
  readonly paper?: boolean | undefined
  /**
   * The paper's trigger: as many candidates as memory holds to begin with, and the share alpha goes whenever their streams
   * are full, so that the others have the memory. No other checkpoints, unless they are given. Default false.
   */
  readonly memory?: boolean | undefined
}

/**
 * Speculative rejection (arXiv 2410.20290): at each checkpoint the share alpha of lowest scores is killed.
 *
 * Two things differ from the reference implementation, both in favour of the answer. Finished branches cost nothing,
 * so they are kept and take no place in the ranking; and the last live branch is never killed. `paper: true` gives
 * the reference's rule instead.
 *
 * With a margin rejection waits until the scores differ: while the scorer cannot tell the branches apart all are within it
 * and nobody dies; once it can, up to alpha of them go at every checkpoint. Throws OPTION_INVALID.
 */
export function specReject(options: SpecRejectOptions = {}): Policy {
  const { alpha, checkpoints } = schedule(options)
  const margin = options.margin ?? 0
  if (typeof margin !== 'number' || !(margin >= 0 && margin < Number.POSITIVE_INFINITY)) {
    throw expected('OPTION_INVALID', 'a number from 0', 'margin', margin)
  }
  if (options.memory === true) return onMemory(alpha, options)
  if (options.paper === true) {
    if (margin !== 0) throw expected('OPTION_INVALID', 'no margin', "the paper's rule", margin)
    return paperRule(alpha, checkpoints)
  }
  const policy = { name: 'spec-reject', checkpoints, decide: (view: View) => rejectLowest(view, alpha, margin) }
  return margin === 0 ? { ...policy, keeps: (live) => survivors(live, alpha) } : policy
}

function onMemory(alpha: number, { checkpoints, margin, paper }: SpecRejectOptions): Policy {
  if (alpha === 0) throw expected('OPTION_INVALID', 'an alpha above 0', 'rejection by memory', alpha)
  if ((margin ?? 0) !== 0 || paper === true) {
    throw expected(
      'OPTION_INVALID',
      "neither a margin nor the paper's ranking",
      'rejection by memory',
      margin ?? 'paper'
    )
  }
  return {
    name: 'spec-reject-memory',
    checkpoints: checkpoints ?? never,
    onFull: true,
    keeps: (live) => survivors(live, alpha),
    decide: (view) => (view.room === undefined ? rejectLowest(view, alpha, 0) : keepRoom(view, view.room))
  }
}

/** Alpha and checkpoints as every policy of this family takes them. */
export function schedule(options: SpecRejectOptions): { alpha: number; checkpoints: Checkpoints } {
  const alpha = options.alpha ?? 0.5
  if (typeof alpha !== 'number' || !(alpha >= 0 && alpha < 1)) {
    throw expected('OPTION_INVALID', 'a number from 0 to below 1', 'alpha', alpha)
  }
  return { alpha, checkpoints: options.checkpoints ?? doubling(32) }
}

/** How many of `live` branches live on: round-half-even((1 - alpha) live), and one at least. */
export function survivors(live: number, alpha: number): number {
  return Math.min(live, Math.max(1, roundHalfEven((1 - alpha) * live)))
}

function rejectLowest(view: View, alpha: number, margin: number): Decision {
  const live = view.branches.filter((branch) => branch.state === 'live')
  const ranked = ranking(live)
  const best = ranked[0] === undefined ? 0 : scoreOf(ranked[0])
  // Infinite scores have no differences: equal ones are as near as can be.
  const near = ranked.filter((branch) => scoreOf(branch) === best || best - scoreOf(branch) < margin).length
  const kept = Math.max(survivors(live.length, alpha), margin === 0 ? 0 : near)
  return { kill: ranked.slice(kept).map((branch) => branch.id), why: 'rejected' }
}

/** The reference's state between rounds, as ids. `kept` and `current` are in its order, which decides ties. */
interface PaperMemory {
  /** `self.trajectories`: what the last round kept, finished or not. */
  readonly kept: readonly number[]
  /** `self.finished`: kept trajectories that were finished when a later round began; may repeat. */
  readonly finished: readonly number[]
  /** The last round's batch. */
  readonly current: readonly number[]
}

/**
 * `perform_speculative_rejection` of Zanette-Labs/SpeculativeRejection b51917f, to the letter:
 *
 *     previous = [t in trajectories if finished];  finished += previous
 *     ranked = sorted(previous + current, by raw score, descending)       # stable
 *     trajectories = ranked[: int(round((1 - alpha) * len(ranked)))]      # halves to even
 *     next batch = [t in trajectories if not finished];  stop if there is none
 *     winner = the highest raw score in trajectories + current + finished # the first among equals
 *
 * So finished and live branches are ranked together; one that finishes below the cut is lost unless that was the
 * last round; and a lone unfinished survivor at alpha >= 0.5 is stopped and may be returned as it stands.
 * There, "finished" means that an end or stop token was written; a branch cut off by length is not finished.
 */
function paperRule(alpha: number, checkpoints: Checkpoints): Policy {
  return {
    name: 'spec-reject-paper',
    checkpoints,
    keeps: (live) => roundHalfEven((1 - alpha) * live),
    decide(view) {
      const before = (view.memory as PaperMemory | undefined) ?? {
        kept: view.branches.map((branch) => branch.id),
        finished: [],
        current: []
      }
      const at = (id: number): Standing => view.branches[id] as Standing
      const wasFinished = (id: number): boolean => at(id).state === 'finished' && !at(id).fresh
      const previous = before.kept.filter(wasFinished)
      const current = before.kept.filter((id) => !wasFinished(id))
      // Where the scorer was left behind or failed some have no score, and the race is over.
      const ranked = ranking([...previous, ...current].map(at).filter(({ score }) => score !== null))
      const kept = ranked.slice(0, roundHalfEven((1 - alpha) * ranked.length))
      const survive = new Set(kept.map((branch) => branch.id))
      const kill = view.branches.filter((branch) => branch.state === 'live' && !survive.has(branch.id))
      const memory: PaperMemory = {
        kept: kept.map((branch) => branch.id),
        finished: [...before.finished, ...previous],
        current
      }
      return { kill: kill.map((branch) => branch.id), why: 'rejected', memory }
    },
    choose(view) {
      const memory = view.memory as PaperMemory | undefined
      // Patience ended before the first checkpoint.
      if (memory === undefined) return null
      const pool = [...memory.kept, ...memory.current, ...memory.finished]
      const scored = pool.map((id) => view.branches[id] as Standing).filter((branch) => branch.score !== null)
      return ranking(scored)[0]?.id ?? null
    }
  }
}
