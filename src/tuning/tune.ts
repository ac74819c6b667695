/** The search for a policy on traces: every candidate on every prompt, and a choice that is tested on prompts it did not see. */
import { expected } from '../errors.js'
import type { Safety } from '../policies/safety.js'
import { policyOf } from '../policy-file.js'
import { SafetyLearner } from '../traces/learn-safety.js'
import { replay } from '../traces/replay.js'
import type { Traces } from '../traces/trace-file.js'
import { type TuningCandidate, tuningCandidates } from './candidates.js'
import { type Outcome, Outcomes, outcomeOf, type TunedPoint, type TuningGoal } from './outcomes.js'

export interface TuneOptions {
  readonly goal: TuningGoal
  /** The first so many candidates. Default: all. */
  readonly n?: number | undefined
  /** Place of the scorer in the header. Default 0. */
  readonly scorer?: number | undefined
  /** Parts the prompts are cut into for cross-validation. Default 5. */
  readonly folds?: number | undefined
  /** Of the intervals. Default 0. */
  readonly seed?: number | undefined
  readonly signal?: AbortSignal | undefined
  readonly onPrompt?: ((done: number) => void) | undefined
}

export interface Tuned {
  readonly chosen: TuningCandidate
  /** Learnt from all prompts: what the choice's settings are derived from. */
  readonly safety: Safety
  readonly prompts: number
  /** Of the choice. It was chosen for these numbers, so they flatter it a little. */
  readonly promised: TunedPoint
  /** Of a choice made anew without each fold, on that fold: what the choosing is worth on prompts to come. */
  readonly heldOut: TunedPoint
  /** Folds whose choice is the final one. */
  readonly agreeing: number
  readonly folds: number
  /** Candidates that no other beats in survival and tokens both, the cheapest first. */
  readonly front: readonly TunedPoint[]
}

/**
 * Searches policies and schedules. Memory grows with prompts x candidates x a few numbers; the traces are read twice.
 *
 * A bound on survival or regret has to hold with one standard error to spare. Throws OPTION_INVALID for a goal that nothing
 * reaches or is none, and what reading the traces does.
 */
export async function tune({ header, all }: Traces, options: TuneOptions): Promise<Tuned> {
  const { goal, n = header.n, scorer = 0, folds = 5, seed = 0, signal, onPrompt } = options
  checkGoal(goal)
  if (!Number.isSafeInteger(folds) || folds < 2)
    throw expected('OPTION_INVALID', 'a whole number from 2', 'folds', folds)
  const learners = Array.from({ length: folds + 1 }, () => new SafetyLearner(header, n, scorer))
  let prompts = 0
  for await (const trace of all()) {
    signal?.throwIfAborted()
    for (const [fold, learner] of learners.entries()) if (fold !== prompts % folds) learner.add(trace)
    prompts++
  }
  if (prompts < 2 * folds) {
    throw expected('OPTION_INVALID', `traces of ${2 * folds} prompts at least`, `${folds} folds`, prompts)
  }
  const known = learners.map((learner) => learner.safety())
  const candidates = tuningCandidates(header.grid)
  const policies = known.map((safety) =>
    candidates.map((candidate) => {
      const settings = candidate.settings(safety)
      return settings === null ? null : policyOf(settings)
    })
  )
  // Only what can be had from every part of the prompts is compared.
  const places = candidates.flatMap((_, c) => (policies.every((each) => each[c] !== null) ? [c] : []))
  const rows: Outcome[][] = places.map(() => [])
  const baseline: number[] = []
  for await (const trace of all()) {
    signal?.throwIfAborted()
    const own = policies[baseline.length % folds] ?? []
    for (const [row, c] of places.entries()) {
      const policy = own[c]
      if (policy) rows[row]?.push(outcomeOf(trace, replay(header, trace, policy, { n, scorer }), scorer))
    }
    baseline.push(trace.lengths.subarray(0, n).reduce((sum, length) => sum + length, 0))
    onPrompt?.(baseline.length)
  }
  const table = new Outcomes(
    places.map((c) => (candidates[c] as TuningCandidate).name),
    rows,
    baseline,
    seed
  )
  const every = baseline.map((_, prompt) => prompt)
  const best = table.choose(every, goal)
  const choices = Array.from({ length: folds }, (_, fold) => {
    return table.choose(
      every.filter((prompt) => prompt % folds !== fold),
      goal,
      true
    )
  })
  return {
    chosen: candidates[places[best] as number] as TuningCandidate,
    safety: known[folds] as Safety,
    prompts,
    promised: table.point(() => best),
    heldOut: table.point((prompt) => choices[prompt % folds] as number, 'held out'),
    agreeing: choices.filter((choice) => choice === best).length,
    folds,
    front: table.front()
  }
}

function checkGoal(goal: TuningGoal): void {
  const [[key, value] = [], ...others] = Object.entries(goal ?? {}) as [string, unknown][]
  const known = key === 'keep' || key === 'tokens' || key === 'regret'
  const share = typeof value === 'number' && value >= 0 && value <= 1
  if (known && share && others.length === 0) return
  throw expected('OPTION_INVALID', 'one of keep, tokens and regret, from 0 to 1,', 'the goal of tuning', value)
}
