// Winnow's arms beside those of peer.py: best-of-N, speculative rejection, and the reference implementation's way of
// rejecting on this engine, so that what the algorithm costs is told apart from what the engine saves.
import { at, bestOfN, rewardHead, specReject } from '../../dist/index.js'
import { ranked } from './reference-rule.mjs'

/** Each (engine, prompt, options, seed) -> { text, generatedTokens, processedTokens }. */
export const arms = {
  'winnow best-of-n': (engine, prompt, options, seed) => race(engine, prompt, options, seed, bestOfN()),
  'winnow spec-reject': (engine, prompt, options, seed) =>
    race(engine, prompt, options, seed, specReject({ alpha: options.alpha, checkpoints: at(options.checkpoints) })),
  "winnow spec-reject, reference's way": reference
}

async function race(engine, prompt, { n, max_tokens: maxTokens }, seed, policy) {
  const { text, usage } = await engine.bestOf(n, prompt, { policy, maxTokens, seed })
  return { text, generatedTokens: usage.generatedTokens, processedTokens: usage.processedTokens }
}

/**
 * A branch is a text. Each round every survivor's prompt and text are tokenised and decoded anew, a race of one candidate
 * each, side by side; then all texts are read once more for their scores, and finished and unfinished are ranked together.
 */
async function reference(engine, prompt, options, seed) {
  const { n, alpha, checkpoints, max_tokens: longest } = options
  const opening = `<|problem|>${prompt}<|solution|>`
  let candidates = Array.from({ length: n }, (_, id) => ({ id, text: '', tokens: 0, ended: false, score: 0 }))
  let [generatedTokens, processedTokens] = [0, 0]
  for (const [round, stop] of [...checkpoints, longest].entries()) {
    const live = candidates.filter(({ ended }) => !ended)
    const written = await Promise.all(
      live.map(({ id, text, tokens }) =>
        // Another stretch of draws for each candidate and round.
        engine.bestOf(1, opening + text, {
          policy: bestOfN(),
          raw: true,
          maxTokens: stop - tokens,
          seed: seed + BigInt(1 + id + n * round) * 1000n
        })
      )
    )
    for (const [i, { winner, usage }] of written.entries()) {
      const one = live[i]
      one.text += winner.text
      one.tokens += winner.tokens.length
      one.ended = winner.status.reason !== 'length'
      generatedTokens += usage.generatedTokens
      processedTokens += usage.processedTokens
    }
    const texts = live.map(({ text }) => text)
    const { branches, usage } = await engine.score(prompt, texts, { scorer: rewardHead(), maxTokens: longest })
    processedTokens += usage.processedTokens
    for (const [i, { score }] of branches.entries()) live[i].score = score ?? Number.NEGATIVE_INFINITY
    const left = stop < longest ? ranked(candidates, alpha) : candidates
    // A lone survivor at alpha 0.5 rounds to none: it is returned as it stands.
    if (left.length === 0) break
    candidates = left
    if (candidates.every(({ ended }) => ended)) break
  }
  const best = candidates.reduce((a, b) => (b.score > a.score ? b : a))
  return { text: best.text, generatedTokens, processedTokens }
}
