import type { NativeHead } from '../binding.js'
import { WinnowError } from '../errors.js'
import type { ScoringSession, SessionScorer } from '../scorer.js'

/**
 * The engine's reward head on the generator's own state after the last decoded token, beside the branch's running
 * confidence. One native call a checkpoint; the score is the head's logit, calibrated by position
 * where its file says so.
 */
export function rewardHead(): SessionScorer {
  return {
    name: 'head',
    needs: ['states'],
    async begin({ head }) {
      if (head === null) {
        throw new WinnowError(
          'HEAD_MISSING',
          'Expected a reward head for the scorer "head" but the engine was opened without one'
        )
      }
      return headSession(head)
    }
  }
}

/** Scores by a head on the states of the race's own pool. */
export function headSession(head: NativeHead): ScoringSession {
  return {
    needs: ['states'],
    score(candidates, { pool }) {
      const ids = Int32Array.from(candidates, ({ id }) => id)
      return pool.score(head, ids)
    }
  }
}
