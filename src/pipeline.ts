import type { Judge } from './judge.js'
import { type Knob, readKnobs } from './knob.js'
import type { Need, Scorer } from './scorer.js'
import type { Selection } from './selection.js'
import { argmax } from './selections/argmax.js'
import type { Shaper } from './shaper.js'

export interface PipelineOptions {
  /** Further scorers, asked once, of the finished answers; selections such as `rankMean` use them. Default none. */
  readonly rewards?: readonly Scorer[] | undefined
  /** Says which answers are right, for the shapers' formulas. It does not gate: a judge does. Default none. */
  readonly verifier?: Judge | undefined
  /** Default: scores stay as they are. */
  readonly shape?: Shaper | undefined
  /** Gates, each asked about what the ones before it accepted. Default none. */
  readonly judges?: readonly Judge[] | undefined
  /** Default `argmax()`. */
  readonly select?: Selection | undefined
}

/** How a race's winner is chosen once its answers are finished; `finalChoice` does it. */
export interface Pipeline {
  readonly name: string
  /** What its rewards need of the pool. */
  readonly needs: readonly Need[]
  readonly rewards: readonly Scorer[]
  readonly verifier: Judge | null
  readonly shape: Shaper | null
  readonly judges: readonly Judge[]
  readonly select: Selection
}

const having = <T>(what: string, method: string): Knob<T | null> => ({
  text: what,
  test: (value): value is T | null =>
    value === null || typeof (value as Record<string, unknown> | null)?.[method] === 'function',
  fallback: null
})
const listOf = <T>(what: string, ...methods: readonly string[]): Knob<readonly T[]> => ({
  text: what,
  test: (value): value is readonly T[] =>
    Array.isArray(value) && value.every((item) => methods.some((method) => typeof item?.[method] === 'function')),
  fallback: []
})

/** Throws OPTION_INVALID and OPTION_UNKNOWN. */
export function pipeline(options: PipelineOptions = {}): Pipeline {
  const knobs = {
    rewards: listOf<Scorer>('an array of scorers', 'score', 'begin'),
    verifier: having<Judge>('a judge', 'judge'),
    shape: having<Shaper>('a shaper such as lengthPenalty({ alpha })', 'shape'),
    judges: listOf<Judge>('an array of judges', 'judge'),
    select: having<Selection>('a selection such as argmax()', 'select')
  }
  const { rewards, verifier, shape, judges, select } = readKnobs('pipeline', knobs, options)
  const selection = select ?? argmax()
  const names = [...rewards, verifier, shape, ...judges, selection].flatMap((part) => part?.name ?? [])
  const needs = [...new Set(rewards.flatMap((scorer) => scorer.needs))]
  return { name: names.join(' > '), needs, rewards, verifier, shape, judges, select: selection }
}
