import { expected, WinnowError } from './errors.js'
import { nearest } from './nearest.js'

/** One option of a scorer, shaper, judge or selection. `text` is the "X" of "Expected X for Y but received Z". */
export interface Knob<T> {
  readonly text: string
  readonly test: (value: unknown) => value is T
  /** Without one the option must be given. */
  readonly fallback?: T
}

type Read<K> = { readonly [P in keyof K]: K[P] extends Knob<infer T> ? T : never }

/**
 * The options of `what`: each read from its knob, and none besides. Throws OPTION_INVALID, and OPTION_UNKNOWN with
 * a suggestion for a key that is no knob's.
 */
export function readKnobs<K extends Record<string, Knob<unknown>>>(what: string, knobs: K, options: object): Read<K> {
  if (typeof options !== 'object' || options === null) {
    throw expected('OPTION_INVALID', 'an object', `the options of ${what}`, options)
  }
  const names = Object.keys(knobs)
  for (const key of Object.keys(options)) {
    if (names.includes(key)) continue
    const near = nearest(key, names)
    const hint = near === null ? `; known are ${names.join(', ')}` : `; did you mean "${near}"?`
    throw new WinnowError('OPTION_UNKNOWN', `Expected a known option for ${what} but received "${key}"${hint}`)
  }
  const values = names.map((name) => {
    const { text, test, fallback } = knobs[name] as Knob<unknown>
    const value = (options as Record<string, unknown>)[name] ?? fallback
    if (!test(value)) throw expected('OPTION_INVALID', text, `${name} of ${what}`, value)
    return [name, value]
  })
  return Object.fromEntries(values) as Read<K>
}

/** A finite number within `low` <= value <= `high`. */
export function numberKnob(fallback: number | undefined, low: number, high: number, text: string): Knob<number> {
  const test = (value: unknown): value is number =>
    typeof value === 'number' && Number.isFinite(value) && value >= low && value <= high
  return { text, test, ...(fallback !== undefined && { fallback }) }
}

/** A whole number of at least `low`. */
export function countKnob(fallback: number | undefined, low: number, unit: string): Knob<number> {
  const test = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= low
  return { text: `a whole number of ${unit}, at least ${low},`, test, ...(fallback !== undefined && { fallback }) }
}

export function choiceKnob<T extends string>(fallback: T, ...names: readonly T[]): Knob<T> {
  const test = (value: unknown): value is T => names.includes(value as T)
  return { text: `one of ${names.map((name) => `"${name}"`).join(', ')}`, test, fallback }
}
