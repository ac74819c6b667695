import { WinnowError } from '../errors.js'
import type { Scorer } from '../scorer.js'

/**
 * The engine's reward head on the generator's own state after the last decoded token, beside the branch's running
 * confidence. One native call a checkpoint; the score is the raw logit.
 */
export function rewardHead(): Scorer {
  return {
    name: 'head',
    needs: ['states'],
    async score(candidates, { pool, head }) {
      if (head === null) {
        throw new WinnowError(
          'HEAD_MISSING',
          'Expected a reward head for the scorer "head" but the engine was opened without one'
        )
      }
      const ids = Int32Array.from(candidates, (candidate) => candidate.id)
      return pool.score(head, ids)
    }
  }
}
