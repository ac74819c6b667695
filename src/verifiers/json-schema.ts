import { Ajv, type AnySchema, type Options, type ValidateFunction } from 'ajv'
import { Ajv2019 } from 'ajv/dist/2019.js'
import { Ajv2020 } from 'ajv/dist/2020.js'
import type { RoutineInput } from './routine.js'

export interface JsonSchemaSettings {
  /** Draft 2020-12, or what its `$schema` names: 2019-09 or draft-07. No schema is fetched from anywhere. */
  readonly schema: object | boolean
}

// `format` is an annotation, as draft 2020-12 has it; a keyword nobody knows is ignored, as all drafts have it.
const options: Options = { strict: false, validateFormats: false, logger: false, addUsedSchema: false }
const keptSchemas = 64
const compiled = new Map<string, ValidateFunction>()

// Compiling the draft itself takes a tenth of a second: at loading, which no call's time limit counts.
const usual = new Ajv2020(options)
usual.compile({})

/** Whether the text is JSON, or ends in a fenced block of JSON, that the schema allows. Throws for a wrong schema. */
export function verify({ text }: Pick<RoutineInput, 'text'>, { schema }: JsonSchemaSettings): boolean {
  const validate = compile(schema)
  const value = jsonIn(text)
  return value !== undefined && allows(validate, value)
}

function allows(validate: ValidateFunction, value: unknown): boolean {
  try {
    return validate(value)
  } catch (error) {
    // A recursive schema on a text nested deeper than the stack: the text's doing, so its answer is refused.
    if (error instanceof RangeError) return false
    throw error
  }
}

/** The JSON of a text: all of it, or its last fenced block. Undefined where there is none. */
export function jsonIn(text: string): unknown {
  const whole = parse(text)
  if (whole !== undefined) return whole
  const parts = text.split('```')
  // Of a split by fences, every second part is inside one; the last is closed when the number of parts is odd.
  const inside = parts.length % 2 === 1 ? parts.at(-2) : undefined
  return parts.length < 3 || inside === undefined ? undefined : parse(inside.replace(/^(?:json)?\s/i, ''))
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function compile(schema: object | boolean): ValidateFunction {
  const key = JSON.stringify(schema)
  const known = compiled.get(key)
  if (known !== undefined) return known
  const validate = ajvFor(schema).compile(schema as AnySchema)
  if (compiled.size >= keptSchemas) compiled.clear()
  compiled.set(key, validate)
  return validate
}

function ajvFor(schema: object | boolean): Ajv | Ajv2019 | Ajv2020 {
  const draft = String((schema as { $schema?: unknown }).$schema ?? '')
  if (draft.includes('draft-07')) return new Ajv(options)
  return draft.includes('2019-09') ? new Ajv2019(options) : usual
}
