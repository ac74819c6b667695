import type { Contender } from '../contender.js'
import { WinnowError } from '../errors.js'
import type { Judge } from '../judge.js'
import { choiceKnob, countKnob, readKnobs } from '../knob.js'
import { callAll } from '../verifiers/calls.js'
import type { CallOutcome, Crew } from '../verifiers/crew.js'
import type { Routine } from '../verifiers/routine.js'

export interface RoutineJudgeOptions {
  /** What one call may take, milliseconds. Default 1000. */
  readonly limitMs?: number | undefined
  /** The verdict on a call that took longer, or `fail`. Default `reject`. */
  readonly onTimeout?: 'accept' | 'reject' | 'fail' | undefined
  /** The verdict on a call that threw or returned no number, or `fail`. Default `fail`. */
  readonly onError?: 'accept' | 'reject' | 'fail' | undefined
}

/** A routine as a judge: true, or a number above 0, accepts. A module that does not load always fails, JUDGE_FAILED. */
export function routineJudge(crew: Crew, routine: Routine, options: RoutineJudgeOptions = {}): Judge {
  const knobs = {
    limitMs: countKnob(1000, 1, 'milliseconds'),
    onTimeout: choiceKnob('reject', 'accept', 'reject', 'fail'),
    onError: choiceKnob('fail', 'accept', 'reject', 'fail')
  }
  const { limitMs, onTimeout, onError } = readKnobs('routineJudge', knobs, options)
  const verdictOf = (outcome: CallOutcome, { id }: Contender) => {
    if (outcome.kind === 'value') return outcome.value > 0
    const verdict = outcome.kind === 'timeout' ? onTimeout : outcome.kind === 'failed' ? onError : 'fail'
    if (verdict !== 'fail') return verdict === 'accept'
    const how = outcome.kind === 'timeout' ? `took longer than ${limitMs} ms` : `failed: ${outcome.message}`
    throw new WinnowError('JUDGE_FAILED', `The judge ${routine.name} ${how} (branch ${id})`)
  }
  return {
    name: routine.name,
    judge(contenders, { prompt, signal }) {
      const inputs = contenders.map(({ id, text, tokens }) => ({
        id,
        state: 'finished' as const,
        text,
        prompt,
        tokens
      }))
      return callAll(crew, routine, inputs, { limitMs, signal }, (outcome, i) =>
        verdictOf(outcome, contenders[i] as Contender)
      )
    }
  }
}
