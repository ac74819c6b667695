/**
 * A JSON schema as a GBNF grammar, by the converter of node-llama-cpp (its `dist/utils/gbnfJson`, which needs no
 * binding; the pinned release is why its files can be named here).
 *
 * That converter passes over keywords it does not know, which would make answers that break the schema. Here they are
 * refused, so whatever a grammar lets through fits its schema; but an integer may have an exponent, of `oneOf` more than one
 * may fit, and lengths count what is written: an escape is one, and two of them may stand for one character. It is narrower
 * than the schema: every property is written, in the order given, and none that is not named; only an object that names none
 * has others, unless `additionalProperties` is false.
 */
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { expected } from './errors.js'

export type JsonSchema = { readonly [keyword: string]: unknown }

interface Converter {
  readonly getGbnfJsonTerminalForGbnfJsonSchema: (
    schema: JsonSchema,
    generator: Generator,
    scope: object
  ) => { resolve(generator: Generator, root: boolean): string }
  readonly GbnfGrammarGenerator: new () => Generator
  readonly GbnfJsonScopeState: new (settings: { allowNewLines: boolean; scopePadSpaces: number }) => object
}

interface Generator {
  generateGbnfFile(root: string): string
}

const files = ['utils/getGbnfJsonTerminalForGbnfJsonSchema', 'GbnfGrammarGenerator', 'utils/GbnfJsonScopeState']
let loaded: Promise<Converter> | undefined

async function load(): Promise<Converter> {
  const folder = join(dirname(createRequire(import.meta.url).resolve('node-llama-cpp')), 'utils', 'gbnfJson')
  const modules = await Promise.all(files.map((file) => import(pathToFileURL(join(folder, `${file}.js`)).href)))
  return Object.assign({}, ...modules) as Converter
}

/**
 * GBNF whose texts are JSON on one line that fits `schema`. Supported: `type` (for several: of string, number, integer,
 * boolean, null), `const`, `enum`, `oneOf`, `anyOf`, `$ref` to `#/$defs/..`; `properties`, `additionalProperties`,
 * `minProperties`, `maxProperties`, `required`; `items`, `prefixItems`, `minItems`, `maxItems`; `minLength`, `maxLength`,
 * `format` (`date-time`, `time`, `date`). Throws OPTION_INVALID for anything else, and for what a grammar cannot keep: a
 * grammar cannot see that a key is written twice, so other properties beside named ones, or more than one of them at least,
 * are refused.
 */
export async function grammarOf(schema: JsonSchema): Promise<string> {
  const accepted = accept(schema, [], {})
  loaded ??= load()
  const { getGbnfJsonTerminalForGbnfJsonSchema, GbnfGrammarGenerator, GbnfJsonScopeState } = await loaded
  const generator = new GbnfGrammarGenerator()
  const scope = new GbnfJsonScopeState({ allowNewLines: false, scopePadSpaces: 0 })
  const root = getGbnfJsonTerminalForGbnfJsonSchema(accepted, generator, scope)
  return generator.generateGbnfFile(root.resolve(generator, true))
}

type Place = readonly (string | number)[]
type Definitions = Readonly<Record<string, unknown>>

const deepest = 128
const notes = ['title', 'description', 'default', 'examples', '$schema', '$comment', '$defs']
const bounds = ['minProperties', 'maxProperties', 'minItems', 'maxItems', 'minLength', 'maxLength']
const basic = ['string', 'number', 'integer', 'boolean', 'null']
const formats = ['date-time', 'time', 'date']
const prefix = '#/$defs/'

function refuse(wanted: string, place: Place, received: unknown): never {
  throw expected('OPTION_INVALID', wanted, ['jsonSchema', ...place].join('.'), received)
}

/** The schema as the converter wants it. */
function accept(schema: unknown, place: Place, outer: Definitions): JsonSchema {
  if (typeof schema !== 'object' || schema === null || Array.isArray(schema)) {
    return refuse('a JSON schema that is an object', place, schema)
  }
  if (place.length > deepest) return refuse(`a schema at most ${deepest} keywords deep`, [], 'a deeper one')
  const given = schema as JsonSchema
  const defs = given.$defs === undefined ? {} : record(given.$defs, [...place, '$defs'])
  const scope = { ...outer, ...defs }
  const inner = (value: unknown, ...path: Place) => accept(value, [...place, ...path], scope)
  const result = only(given, place, scope, inner)
  if (given.$defs === undefined) return result
  return { ...result, $defs: mapped(defs, (value, key) => inner(value, '$defs', key)) }
}

type Inner = (value: unknown, ...path: Place) => JsonSchema

function only(given: JsonSchema, place: Place, scope: Definitions, inner: Inner): JsonSchema {
  const known = (...keywords: readonly string[]) => {
    for (const key of Object.keys(given)) {
      if (!keywords.includes(key) && !notes.includes(key)) {
        refuse(`only keywords a grammar can keep (${keywords.join(', ')})`, place, key)
      }
    }
  }
  if ('$ref' in given) {
    known('$ref')
    const name = typeof given.$ref === 'string' && given.$ref.startsWith(prefix) ? given.$ref.slice(prefix.length) : ''
    if (!Object.hasOwn(scope, name))
      return refuse(`the name of a definition, ${prefix}..`, [...place, '$ref'], given.$ref)
    return { $ref: given.$ref }
  }
  for (const key of ['oneOf', 'anyOf'] as const) {
    if (!(key in given)) continue
    known(key)
    const choices = filled(given[key], [...place, key])
    return { oneOf: choices.map((choice, index) => inner(choice, key, index)) }
  }
  if ('const' in given) {
    known('const', 'type')
    return { const: literal(given.const, given, [...place, 'const']) }
  }
  if ('enum' in given) {
    known('enum', 'type')
    return { enum: filled(given.enum, [...place, 'enum']).map((each) => literal(each, given, [...place, 'enum'])) }
  }
  const limits = bounded(given, place)
  if (given.type === 'object') {
    known('type', 'properties', 'additionalProperties', 'required', 'minProperties', 'maxProperties')
    return { type: 'object', ...limits, ...members(given, place, inner) }
  }
  if (given.type === 'array') {
    known('type', 'items', 'prefixItems', 'minItems', 'maxItems')
    const parts: Record<string, unknown> = {}
    if (given.items !== undefined) parts.items = inner(given.items, 'items')
    if (given.prefixItems !== undefined) {
      const first = filled(given.prefixItems, [...place, 'prefixItems'])
      parts.prefixItems = first.map((each, index) => inner(each, 'prefixItems', index))
      if (first.length > (limits.maxItems ?? Number.POSITIVE_INFINITY)) {
        refuse('at least as many items as prefixItems', [...place, 'maxItems'], limits.maxItems)
      }
    }
    return { type: 'array', ...limits, ...parts }
  }
  if (given.type === 'string' && 'format' in given) {
    known('type', 'format')
    if (formats.includes(given.format as string)) return { type: 'string', format: given.format }
    return refuse(`one of ${formats.join(', ')}`, [...place, 'format'], given.format)
  }
  if (given.type === 'string') {
    known('type', 'minLength', 'maxLength', 'format')
    return { type: 'string', ...limits }
  }
  known('type')
  const types = Array.isArray(given.type) ? given.type : [given.type]
  if (types.length > 0 && types.every((type) => basic.includes(type))) return { type: given.type }
  return refuse(
    `one of object, array, ${basic.join(', ')}, or several of the last five`,
    [...place, 'type'],
    given.type
  )
}

function members(given: JsonSchema, place: Place, inner: Inner): Record<string, unknown> {
  const properties = given.properties === undefined ? {} : record(given.properties, [...place, 'properties'])
  for (const name of Array.isArray(given.required) ? given.required : []) {
    if (!Object.hasOwn(properties, name)) refuse('names among its properties', [...place, 'required'], name)
  }
  for (const name of Object.keys(properties)) writable(name, [...place, 'properties'])
  const count = Object.keys(properties).length
  const { additionalProperties = count === 0 } = given
  if (additionalProperties !== false && count > 0) {
    refuse('false, beside named properties,', [...place, 'additionalProperties'], additionalProperties)
  }
  if (additionalProperties !== false && ((given.minProperties as number | undefined) ?? 0) > 1) {
    refuse('at most 1 where any name will do', [...place, 'minProperties'], given.minProperties)
  }
  if ((given.maxProperties as number | undefined) !== undefined && (given.maxProperties as number) < count) {
    refuse(`at least ${count}, its properties,`, [...place, 'maxProperties'], given.maxProperties)
  }
  if (additionalProperties === false && ((given.minProperties as number | undefined) ?? 0) > count) {
    refuse(`at most ${count}, its properties,`, [...place, 'minProperties'], given.minProperties)
  }
  return {
    properties: mapped(properties, (value, key) => inner(value, 'properties', key)),
    additionalProperties:
      typeof additionalProperties === 'boolean'
        ? additionalProperties
        : inner(additionalProperties, 'additionalProperties')
  }
}

function bounded(given: JsonSchema, place: Place): Readonly<Record<string, number>> {
  const limits: Record<string, number> = {}
  for (const name of bounds) {
    const value = given[name]
    if (value === undefined) continue
    if (!Number.isSafeInteger(value) || (value as number) < 0) refuse('a whole number from 0', [...place, name], value)
    limits[name] = value as number
  }
  for (const what of ['Properties', 'Items', 'Length']) {
    const least = limits[`min${what}`] ?? 0
    const most = limits[`max${what}`] ?? least
    if (most < least) refuse(`at least min${what}, ${least},`, [...place, `max${what}`], most)
  }
  return limits
}

/** One value of `const` or `enum`, which must be of the type given beside it. */
function literal(value: unknown, { type }: JsonSchema, place: Place): unknown {
  const isLiteral = value === null || ['string', 'boolean'].includes(typeof value) || Number.isFinite(value)
  if (!isLiteral) return refuse('a text, a number, true, false or null', place, value)
  const types = Array.isArray(type) ? type : [type]
  const own = value === null ? 'null' : typeof value
  const isOfType = types.includes(own) || (Number.isInteger(value) && types.includes('integer'))
  if (type !== undefined && !isOfType) refuse(`a value of type ${types.join(' or ')}`, place, value)
  return typeof value === 'string' ? writable(value, place) : value
}

/** The converter escapes tabs and ends of lines; JSON has nothing else of the kind as it is, and UTF-8 no half of a pair. */
function writable(text: string, place: Place): string {
  if (!/[^\P{Cc}\t\n\r\x7f-\x9f]|\p{Cs}/u.test(text)) return text
  return refuse('text without control characters and lone surrogates', place, text)
}

function filled(value: unknown, place: Place): readonly unknown[] {
  return Array.isArray(value) && value.length > 0 ? value : refuse('an array with something in it', place, value)
}

function record(value: unknown, place: Place): Definitions {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return refuse('an object', place, value)
  return value as Definitions
}

function mapped(record: Definitions, change: (value: unknown, key: string) => unknown): Definitions {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, change(value, key)]))
}
