/** The verifiers in the package, as routines for a crew. Each says 1 for right and 0 for wrong. */
import { expected } from '../errors.js'
import { type Knob, numberKnob, readKnobs } from '../knob.js'
import type { Routine } from './routine.js'

const text = (what: string, fallback?: string): Knob<string> => ({
  text: what,
  test: (value): value is string => typeof value === 'string',
  ...(fallback !== undefined && { fallback })
})

/** Right when the text's answer is this number; `numeric.ts` says how it is read. `tolerance` is relative, default 1e-9. */
export function numericAnswer(options: { readonly answer: number; readonly tolerance?: number | undefined }): Routine {
  const answer = numberKnob(undefined, -Number.MAX_VALUE, Number.MAX_VALUE, 'a finite number')
  const tolerance = numberKnob(1e-9, 0, Number.MAX_VALUE, 'a number of at least 0')
  return bundled('numeric', readKnobs('numericAnswer', { answer, tolerance }, options))
}

/** Right when the text chooses this letter out of `choices`, default "ABCD". */
export function multipleChoice(options: { readonly answer: string; readonly choices?: string | undefined }): Routine {
  const knobs = { answer: text('a letter'), choices: text('letters, upper case,', 'ABCD') }
  const settings = readKnobs('multipleChoice', knobs, options)
  const { answer, choices } = settings
  if (!/^\p{Lu}+$/u.test(choices)) {
    throw expected('OPTION_INVALID', 'letters, upper case,', 'choices of multipleChoice', choices)
  }
  if (answer.length !== 1 || !choices.includes(answer)) {
    throw expected('OPTION_INVALID', `one of the letters ${choices}`, 'answer of multipleChoice', answer)
  }
  return bundled('multiple-choice', settings)
}

/** Right when the text matches. Expressions that backtrack without end are ended by the time limit. */
export function matchesPattern(pattern: RegExp): Routine {
  if (!(pattern instanceof RegExp)) {
    throw expected('OPTION_INVALID', 'a regular expression', 'matchesPattern', pattern)
  }
  return bundled('pattern', { pattern: pattern.source, flags: pattern.flags })
}

/** Right when the text is JSON that the schema allows; `json-schema.ts` says which drafts. */
export function matchesJsonSchema(schema: object | boolean): Routine {
  if (typeof schema !== 'boolean' && (typeof schema !== 'object' || schema === null || Array.isArray(schema))) {
    throw expected('OPTION_INVALID', 'a JSON schema', 'matchesJsonSchema', schema)
  }
  return bundled('json-schema', { schema })
}

function bundled(name: string, settings: unknown): Routine {
  return { name, module: new URL(`./${name}.js`, import.meta.url).href, export: 'verify', settings }
}
