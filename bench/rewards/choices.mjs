// Which candidate each way of choosing returns, on recorded candidates, and what it took.
import { bestOfN } from '../../dist/policies/best-of-n.js'
import { randomKill } from '../../dist/policies/random-kill.js'
import { specReject } from '../../dist/policies/spec-reject.js'
import { candidatesFor } from '../../dist/trial.js'
import { replay } from './replay.mjs'

/**
 * For one scorer on one problem: best-of-N, speculative rejection, and its two controls at equal cost: best-of-N of the first
 * candidates that take at least as many tokens, and as many kills by lot; in both the same scorer chooses among what is left.
 * Each { right, tokens, n, survived, regret }: whether it is best-of-N's answer by this scorer, and how far its final score
 * is from that one's, as a share of the candidates' range.
 */
export function choicesOf(candidates, name, schedule, grid) {
  const scores = candidates.scores[name]
  const finals = scores.map((said) => said.at(-1) ?? Number.NEGATIVE_INFINITY)
  const range = finals.filter(Number.isFinite)
  const [low, high] = [Math.min(...range), Math.max(...range)]
  const full = replay(bestOfN(), candidates, scores, grid)
  const choice = ({ winner, tokens }, n = finals.length) => ({
    winner,
    n,
    tokens,
    right: winner !== null && candidates.right[winner],
    survived: winner !== null && candidates.same[winner] === candidates.same[full.winner],
    regret: regret(winner === null ? low : finals[winner], low, high)
  })
  const rejected = replay(specReject(schedule), candidates, scores, grid)
  const count = candidatesFor(rejected.tokens, candidates.lengths)
  const first = (list) => list.slice(0, count)
  const fewer = { ...candidates, lengths: first(candidates.lengths) }
  return {
    bestOf: choice(full),
    specReject: choice(rejected),
    equalTokens: choice(replay(bestOfN(), fewer, first(scores), grid), count),
    randomKill: choice(replay(randomKill(schedule), candidates, scores, grid)),
    killedAt: rejected.killedAt
  }
}

function regret(score, low, high) {
  if (!(high > low)) return 0
  return Math.min(1, (high - score) / (high - low))
}
