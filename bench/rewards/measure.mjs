// What is measured on one problem: all scorers on the same candidates in one race; live races for what they cost; and a reward
// model that reads everything again at each checkpoint beside one that does not.
import { every } from '../../dist/checkpoint.js'
import { bestOfN } from '../../dist/policies/best-of-n.js'
import { randomKill } from '../../dist/policies/random-kill.js'
import { specReject } from '../../dist/policies/spec-reject.js'
import { candidatesFor } from '../../dist/trial.js'
import { isRight } from '../../dist/verifier.js'
import { Panel } from './panel.mjs'

/**
 * Appends to the journal what it lacks of a problem. `bench`: { engine, scorers, reading, n, grid, schedule, race, live, ratio,
 * alphas }: `scorers` a list of { name, scorer }; `schedule` { alpha, checkpoints }; `race` the options all races share; `live`
 * and `ratio` how many of the first problems get those; `reading` { mirror, reencode }, or null without a reward model.
 */
export async function measure(bench, problem, prompt, journal) {
  if (!journal.has({ type: 'candidates', prompt })) journal.append(await candidates(bench, problem, prompt))
  if (prompt < bench.live) await races(bench, problem, prompt, journal)
  if (prompt < bench.ratio && bench.reading !== null) await readings(bench, problem, prompt, journal)
}

/** Every candidate written to its end, with what each scorer says of it every `grid` tokens. */
async function candidates({ engine, scorers, n, grid, race }, problem, prompt) {
  const panel = new Panel(scorers, grid)
  let seed = 0
  const decide = (view) => {
    seed = view.seed
    return { kill: [] }
  }
  const watched = { name: 'watched', checkpoints: every(grid), decide }
  const result = await run(engine, n, problem, { ...race, policy: watched, scorer: panel })
  const texts = result.branches.map(({ text }) => text)
  return {
    type: 'candidates',
    prompt,
    seed,
    lengths: result.branches.map(({ tokens }) => tokens.length),
    right: texts.map((text) => isRight(text, problem.answer)),
    // The first candidate with the same text.
    same: texts.map((text) => texts.indexOf(text)),
    scores: panel.record
  }
}

/** Best-of-N, speculative rejection by each scorer, then what equals the cost of that by the first. */
async function races({ engine, scorers, reading, n, schedule, race }, problem, prompt, journal) {
  const [first] = scorers
  const policy = bestOfN()
  const arms = [
    { arm: `best-of-n ${first.name}`, scorer: first.scorer, policy },
    ...(reading === null ? [] : [{ arm: 'best-of-n reward-model', scorer: reading.mirror, policy }]),
    ...scorers.map(({ name, scorer }) => ({ arm: `spec-reject ${name}`, scorer, policy: specReject(schedule) })),
    { arm: `random-kill ${first.name}`, scorer: first.scorer, policy: randomKill(schedule) }
  ]
  const turn = prompt % arms.length
  const measured = async ({ arm, ...how }, count) => {
    if (journal.has({ type: 'race', prompt, arm })) return
    const result = await run(engine, count, problem, { ...race, ...how })
    journal.append({ type: 'race', prompt, arm, ...rowOf(result, problem) })
  }
  // Taking turns at who begins, so that the machine's moods meet all alike.
  for (const arm of [...arms.slice(turn), ...arms.slice(0, turn)]) await measured(arm, n)
  const { generatedTokens } = journal.find({ type: 'race', prompt, arm: `spec-reject ${first.name}` })
  const count = candidatesFor(generatedTokens, journal.find({ type: 'candidates', prompt }).lengths)
  await measured({ arm: `equal-tokens ${first.name}`, scorer: first.scorer, policy }, count)
}

/** Speculative rejection by the reward model at each alpha, reading only what is new and reading everything again. */
async function readings({ engine, reading, n, schedule, alphas, race }, problem, prompt, journal) {
  for (const alpha of alphas) {
    const policy = specReject({ ...schedule, alpha })
    const kinds = Object.entries(reading)
    for (const [kind, scorer] of prompt % 2 === 0 ? kinds : kinds.reverse()) {
      const arm = `${kind} ${alpha}`
      if (journal.has({ type: 'reading', prompt, arm })) continue
      const result = await run(engine, n, problem, { ...race, policy, scorer })
      journal.append({ type: 'reading', prompt, arm, alpha, kind, ...rowOf(result, problem) })
    }
  }
}

async function run(engine, n, problem, options) {
  const result = await engine.bestOf(n, problem.prompt, options)
  // A row must be about the scorer, not about where it broke.
  if (result.failure !== null) throw result.failure
  return result
}

function rowOf({ winner, text, branches, usage }, problem) {
  const { promptTokens, generatedTokens, processedTokens, rewardTokens, wallSeconds, seconds } = usage
  return {
    n: branches.length,
    winner: winner?.id ?? null,
    right: isRight(text, problem.answer),
    killedAt: branches.map(({ killedAt }) => killedAt),
    promptTokens,
    generatedTokens,
    processedTokens,
    rewardTokens,
    wallSeconds,
    scoreSeconds: seconds.score
  }
}
