// How well a scorer orders candidates at the quarters of their answers, against the verifier's word.
import { auroc, weightedAuroc } from '../../dist/ranking.js'
import { interval, meanOf } from './interval.mjs'

export const quarters = [25, 50, 75, 100]

/**
 * The first score at or after a share of a candidate's tokens; of all of them, the final one. `said`: its score at every `grid`
 * tokens it lived to, then the final one; null is minus infinity.
 */
export function scoreAt(said, length, percent, grid) {
  const place = Math.max(1, Math.ceil(((percent / 100) * length) / grid))
  const score = percent < 100 && place < said.length ? said[place - 1] : said.at(-1)
  return score ?? Number.NEGATIVE_INFINITY
}

/**
 * AUROC of one scorer: { within, pooled, overFirst }, each by quarter an interval over problems. Within is the mean over the
 * problems that have right and wrong candidates (null where none has), pooled is over all candidates of all problems, overFirst
 * is by how much within exceeds the scorer's called `first`; null for that one itself.
 *
 * `problems`: the candidates of each, `name` the scorer, `drawn` the resamples of the problems.
 */
export function rankingOf(problems, name, first, grid, drawn) {
  const [within, pooled, overFirst] = [{}, {}, {}]
  const right = problems.map((problem) => problem.right)
  for (const percent of quarters) {
    const scores = scoresAt(problems, name, percent, grid)
    const areas = areasOf(scores, right)
    within[percent] = meanOf(areas, drawn)
    pooled[percent] = interval(problems.length, drawn, pooledAuroc(scores, right))
    const others = areasOf(scoresAt(problems, first, percent, grid), right)
    const difference = areas.map((area, i) => (area === null ? null : area - others[i]))
    overFirst[percent] = meanOf(difference, drawn)
  }
  return { within, pooled, overFirst: name === first ? null : overFirst }
}

function scoresAt(problems, name, percent, grid) {
  return problems.map(({ lengths, scores }) =>
    scores[name].map((said, id) => scoreAt(said, lengths[id], percent, grid))
  )
}

function areasOf(scores, right) {
  return scores.map((list, i) => auroc(list, right[i]))
}

/** Of lists by problem, a function from problems drawn (each as often as it was) to the area over all their candidates. */
export function pooledAuroc(scores, right) {
  const problems = scores.flatMap((list, problem) => list.map(() => problem))
  const area = weightedAuroc(scores.flat(), right.flat())
  return (items) => {
    const times = new Int32Array(scores.length)
    for (const item of items) times[item]++
    return area((row) => times[problems[row]])
  }
}
