import { WinnowError } from '../errors.js'
import type { Candidate, SessionScorer } from '../scorer.js'

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
      const ids = (candidates: readonly Candidate[]) => Int32Array.from(candidates, (candidate) => candidate.id)
      return { needs: ['states'], score: (candidates, { pool }) => pool.score(head, ids(candidates)) }
    }
  }
}
