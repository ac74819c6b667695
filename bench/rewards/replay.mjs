// A race decided again on recorded candidates: the same policy, without the model. What a candidate writes does not depend on
// who else is alive (`deterministic`), so this is what the live race does; the live races measured beside it say how exactly.
import { highest } from '../../dist/policy.js'

/**
 * `candidates`: lengths in tokens and the race's seed as policies see it. `scores`: of one scorer, for each candidate a
 * number at every `grid` tokens it lived to, then the final one; null is minus infinity. The policy's checkpoints must lie on
 * the grid as far as any candidate goes.
 *
 * Resolves with the winner's id, the generated tokens, and where each candidate was killed (null: it was not).
 */
export function replay(policy, candidates, scores, grid) {
  const branches = candidates.lengths.map((_, id) => standing(id))
  const longest = Math.max(...candidates.lengths)
  let [memory, index, now] = [undefined, 0, 0]
  for (;;) {
    const next = policy.checkpoints.next(now)
    if (next !== null && next <= longest && next % grid !== 0) {
      throw new Error(`Expected checkpoints at multiples of ${grid} tokens but received one at ${next}`)
    }
    const live = branches.filter(({ state }) => state === 'live')
    for (const branch of live) move(branch, scores[branch.id], candidates.lengths[branch.id], next, grid)
    const view = { index, tokens: next, last: false, branches, seed: candidates.seed, memory }
    if (branches.every(({ state }) => state !== 'live')) break
    const decision = policy.decide(view)
    for (const id of decision.kill) Object.assign(branches[id], { state: 'killed', fresh: false })
    ;[memory, index, now] = [decision.memory, index + 1, next]
  }
  const tokens = branches.reduce((sum, branch) => sum + branch.tokens, 0)
  const killedAt = branches.map((branch) => (branch.state === 'killed' ? branch.tokens : null))
  return { winner: highest(branches), tokens, killedAt }
}

function standing(id) {
  return { id, state: 'live', reason: null, score: null, scores: [], tokens: 0, fresh: false }
}

/** To the next checkpoint, or to its end where that comes first. */
function move(branch, said, length, next, grid) {
  const lives = next !== null && next / grid < said.length
  branch.tokens = lives ? next : length
  branch.score = (lives ? said[next / grid - 1] : said.at(-1)) ?? Number.NEGATIVE_INFINITY
  branch.scores.push({ tokens: branch.tokens, score: branch.score })
  branch.fresh = !lives
  if (!lives) Object.assign(branch, { state: 'finished', reason: 'end' })
}
