import { midranks } from '../scorers/scale.js'
import { highestBy, type Selection } from '../selection.js'

/**
 * The lowest mean of the ranks under the shaped score and under each further reward of the pipeline: an answer must
 * please all of them, so gaming one is not enough. Ranks need no common scale. Ties to the one whose worst rank is the
 * better, then to the higher shaped score, then to the lower id. Without further rewards it is argmax.
 */
export function rankMean(): Selection {
  return {
    name: 'rank-mean',
    select(contenders) {
      const rewards = contenders[0]?.rewards.length ?? 0
      const columns = [contenders.map(({ shaped }) => shaped)]
      for (let k = 0; k < rewards; k++) columns.push(contenders.map((contender) => contender.rewards[k] as number))
      const ranks = columns.map(midranks)
      const rows = contenders.map((_, i) => ranks.map((column) => column[i] as number))
      const sums = rows.map((row) => row.reduce((sum, rank) => sum + rank, 0))
      const least = Math.min(...sums)
      const tied = contenders.map((contender, i) => ({ ...contender, i })).filter(({ i }) => sums[i] === least)
      const worst = tied.map(({ i }) => Math.max(...(rows[i] as number[])))
      const leaders = tied.filter((_, k) => worst[k] === Math.min(...worst))
      const winner = highestBy(leaders, ({ shaped }) => shaped)
      const why = `mean rank ${(least / columns.length).toFixed(1)} of ${contenders.length} under ${columns.length} rewards`
      return { id: winner?.id ?? null, why: winner === null ? 'nothing to rank' : why }
    }
  }
}
