import { follow, Patience } from './abort.js'
import type { FinishReason } from './branch.js'
import { type Entrant, finalChoice } from './final-choice.js'
import { contenders } from './policy.js'
import { textsOf } from './result.js'
import type { Round } from './round.js'
import { candidate, grace } from './steps.js'

/**
 * The last step of a race whose caller gave a pipeline: the winner among the finished answers. What is not done when
 * the caller's patience has ended has `grace` left; then the highest score that is known wins.
 */
export async function choose(round: Round): Promise<void> {
  const { options, model, pool, prompt, signal, deadline } = round.setup
  if (options.pipeline === null) return
  const { pipeline } = options
  const startedAt = performance.now()
  const { branches, seed } = round.view()
  const standings = contenders(branches)
  const finished = standings.map(({ id }) => round.branches.all[id] as (typeof round.branches.all)[number])
  const texts = await textsOf(model, finished)
  const entrants = standings.map(({ reason, score }, i): Entrant => {
    const branch = finished[i] as (typeof finished)[number]
    return { candidate: candidate(branch, texts[i] as string), reason: reason as FinishReason, raw: score as number }
  })
  const patience = new Patience(deadline, options.stop, grace)
  const { signal: either, release } = follow([signal, patience.over])
  try {
    const scoring = { pool, prompt: prompt.text, signal: either }
    round.choice = await finalChoice(pipeline, entrants, round.facts(either), scoring, seed, (tokens) => {
      round.choiceTokens += tokens
    })
  } catch (error) {
    signal.throwIfAborted()
    if (!patience.over.aborted) throw error
  } finally {
    release()
    patience.release()
    round.seconds.score += (performance.now() - startedAt) / 1000
  }
}
