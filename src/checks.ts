/** Checks that options are made of. The text of a check is the "X" of "Expected X for Y but received Z". */
import { z } from 'zod'
import { expected, WinnowError } from './errors.js'
import { nearest } from './nearest.js'

export const isNumber = (value: unknown): value is number => typeof value === 'number'
/** Not an empty one. */
export const isText = (value: unknown): value is string => typeof value === 'string' && value !== ''

export const check = <T>(test: (value: unknown) => boolean, what: string) =>
  z.custom<T>((value) => test(value), { error: what })
export const whole = (low: number, high: number, what = `a whole number from ${low} to ${high}`) =>
  check<number>((value) => Number.isSafeInteger(value) && (value as number) >= low && (value as number) <= high, what)
export const range = (low: number, high: number) =>
  check<number>((value) => isNumber(value) && value >= low && value <= high, `a number from ${low} to ${high}`)
export const flag = check<boolean>((value) => typeof value === 'boolean', 'true or false')
export const text = (what: string) => check<string>(isText, what)
export const one = <T extends string>(...names: readonly T[]) =>
  check<T>((value) => names.includes(value as T), `one of ${names.map((name) => `"${name}"`).join(', ')}`)
export const callback = <T>() => check<T>((value) => typeof value === 'function', 'a function')
/** An object with these methods. */
export const having = <T>(what: string, ...methods: readonly string[]) =>
  check<T>(
    (value) => methods.every((name) => typeof (value as Record<string, unknown> | null)?.[name] === 'function'),
    what
  )
export const abortSignal = having<AbortSignal>('an AbortSignal', 'addEventListener', 'throwIfAborted')
export const list = <T>(item: (value: unknown) => boolean, what: string) =>
  check<readonly T[]>((value) => Array.isArray(value) && value.every(item), what)

/** Validates against a strict schema; the first thing wrong becomes the sentence. `what` names the options. */
export function parse<S extends z.ZodType>(schema: S, value: unknown, what: string): z.output<S> {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const issue = result.error.issues[0] as z.core.$ZodIssue
  const path = issue.path.map(String)
  const where = path.length === 0 ? `the options of ${what}` : path.join('.')
  if (issue.code === 'unrecognized_keys') {
    const key = issue.keys[0] as string
    const known = knownKeys(schema, path)
    const near = nearest(key, known)
    const hint = near === null ? `; known are ${known.join(', ')}` : `; did you mean "${near}"?`
    const message = `Expected a known option for ${where} but received "${key}"${hint}`
    throw new WinnowError('OPTION_UNKNOWN', message, { field: [...path, key].join('.') })
  }
  const received = path.reduce<unknown>((inner, key) => (inner as Record<string, unknown> | undefined)?.[key], value)
  const container = issue.code === 'invalid_type' && issue.expected === 'array' ? 'an array' : 'an object'
  const wanted = issue.code === 'custom' ? issue.message : container
  throw expected('OPTION_INVALID', wanted, where, received, path.length === 0 ? {} : { field: where })
}

function knownKeys(schema: z.ZodType, path: readonly string[]): string[] {
  let inner: unknown = schema
  for (const key of path) {
    const outer = unwrap(inner)
    inner = outer instanceof z.ZodArray ? outer.element : (outer as z.ZodObject).shape[key]
  }
  return Object.keys((unwrap(inner) as z.ZodObject).shape)
}

function unwrap(schema: unknown): unknown {
  const inner = (schema as { def?: { innerType?: unknown } }).def?.innerType
  return inner === undefined ? schema : unwrap(inner)
}
