import { WinnowError } from '../errors.js'
import { countKnob, type Knob, readKnobs } from '../knob.js'
import type { Candidate, PlainScorer } from '../scorer.js'
import { callAll } from '../verifiers/calls.js'
import type { CallOutcome, Crew } from '../verifiers/crew.js'
import type { Routine } from '../verifiers/routine.js'

export interface RoutineScorerOptions {
  /** What one call may take, milliseconds. Default 1000. */
  readonly limitMs?: number | undefined
  /** The score of a branch whose call took longer, or `fail` to end the race's scoring. Default minus infinity. */
  readonly onTimeout?: number | 'fail' | undefined
  /** The score of a branch whose call threw or returned no number, or `fail`. Default `fail`. */
  readonly onError?: number | 'fail' | undefined
}

const orFail = (fallback: number | 'fail'): Knob<number | 'fail'> => ({
  text: 'a number or "fail"',
  test: (value): value is number | 'fail' => value === 'fail' || (typeof value === 'number' && !Number.isNaN(value)),
  fallback
})

/**
 * A routine as a scorer: one call for each candidate in the crew's threads, side by side. A module that does not load
 * always fails, with SCORER_FAILED. The crew stays the caller's to close.
 */
export function routineScorer(crew: Crew, routine: Routine, options: RoutineScorerOptions = {}): PlainScorer {
  const knobs = {
    limitMs: countKnob(1000, 1, 'milliseconds'),
    onTimeout: orFail(Number.NEGATIVE_INFINITY),
    onError: orFail('fail')
  }
  const { limitMs, onTimeout, onError } = readKnobs('routineScorer', knobs, options)
  const scoreOf = (outcome: CallOutcome, { id }: Candidate) => {
    if (outcome.kind === 'value') return outcome.value
    if (outcome.kind === 'timeout' && onTimeout !== 'fail') return onTimeout
    if (outcome.kind === 'failed' && onError !== 'fail') return onError
    const how = outcome.kind === 'timeout' ? `took longer than ${limitMs} ms` : `failed: ${outcome.message}`
    throw new WinnowError('SCORER_FAILED', `The scorer ${routine.name} ${how} (branch ${id})`)
  }
  return {
    name: routine.name,
    needs: ['text'],
    score(candidates, { prompt, signal }) {
      const inputs = candidates.map(({ id, state, text, tokens }) => ({
        id,
        state,
        text,
        prompt,
        tokens: tokens.length
      }))
      return callAll(crew, routine, inputs, { limitMs, signal }, (outcome, i) =>
        scoreOf(outcome, candidates[i] as Candidate)
      )
    }
  }
}
