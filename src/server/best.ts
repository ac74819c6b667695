import { isWhole, type Standing } from '../policy.js'
import type { Result, ResultBranch } from '../result.js'

/**
 * The n best of a race, best first: the winner, then by score, answers that were cut off behind whole ones. Fewer where
 * fewer outlived the race. `hidden` branches are no answers.
 */
export function best({ winner, branches }: Result, n: number, hidden: ReadonlySet<number>): ResultBranch[] {
  const tier = (branch: ResultBranch) => (branch === winner ? 0 : isWhole(standing(branch)) ? 1 : 2)
  return (
    branches
      .filter((branch) => branch.status.state === 'finished' && !hidden.has(branch.id))
      // Two that were never scored differ by no number, and stand in the order of their ids.
      .sort((a, b) => tier(a) - tier(b) || scoreOf(b) - scoreOf(a) || a.id - b.id)
      .slice(0, n)
  )
}

function scoreOf({ score }: ResultBranch): number {
  return score === null || Number.isNaN(score) ? Number.NEGATIVE_INFINITY : score
}

function standing({ id, status, score, scores, tokens }: ResultBranch): Standing {
  const reason = status.state === 'finished' ? status.reason : null
  return { id, state: status.state, reason, score, scores, tokens: tokens.length, fresh: false }
}
