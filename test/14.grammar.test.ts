import { describe, expect, it, vi } from 'vitest'
import { grammarOf, type JsonSchema } from '../src/grammar.js'

/** A grammar without recursion as a regular expression: rules in place of their names. */
function patternOf(grammar: string): RegExp {
  const rules = new Map(grammar.split('\n').map((line) => line.split(/ ::= (.*)/s, 2) as [string, string]))
  const part = /"((?:[^"\\]|\\.)*)"|(\[(?:[^\]\\]|\\.)*\])|([a-zA-Z][a-zA-Z0-9-]*)|([|()*+?]|\{[^}]*\})|\s+/gy
  const written = (name: string): string =>
    (rules.get(name) as string).replace(part, (_all, literal, characters, rule, operator) => {
      if (literal !== undefined) return `(?:${JSON.parse(`"${literal}"`).replace(/[^\w ]/g, '\\$&')})`
      if (characters !== undefined) return characters
      return rule === undefined ? (operator ?? '') : `(?:${written(rule)})`
    })
  return new RegExp(`^(?:${written('root')})$`, 's')
}

const fits = async (schema: JsonSchema, value: unknown) =>
  patternOf(await grammarOf(schema)).test(typeof value === 'string' ? value : JSON.stringify(value))

describe('a grammar of a JSON schema', () => {
  it('lets through what fits and nothing else', async () => {
    const person = {
      type: 'object',
      title: 'a note, which changes nothing',
      properties: {
        name: { type: 'string', minLength: 1, maxLength: 5 },
        age: { type: 'integer' },
        role: { enum: ['admin "root"', 'user', 3, null] }
      },
      required: ['name']
    }
    expect(await fits(person, { name: 'Ada', age: 36, role: 'admin "root"' })).toBe(true)
    expect(await fits(person, { name: 'Ada', age: 36, role: 3 })).toBe(true)
    expect(await fits(person, { name: '', age: 36, role: 'user' })).toBe(false)
    expect(await fits(person, { name: 'Adelaide', age: 36, role: 'user' })).toBe(false)
    expect(await fits(person, { name: 'Ada', age: 1.5, role: 'user' })).toBe(false)
    expect(await fits(person, { name: 'Ada', age: 36, role: 'guest' })).toBe(false)
    expect(await fits(person, { name: 'Ada', age: 36, role: 'user', more: 1 })).toBe(false)
    expect(await fits(person, '{"name": "Ada", "age": 36, "role": null}')).toBe(true)
    expect(await fits(person, '{"name": "Ada", "age": 36, "role": null}\n\n\n\n')).toBe(false)
  })

  it('bounds arrays and takes choices by either name', async () => {
    for (const key of ['oneOf', 'anyOf']) {
      const list = { type: 'array', items: { [key]: [{ type: 'boolean' }, { const: 'x' }] }, minItems: 1, maxItems: 2 }
      expect(await fits(list, [true])).toBe(true)
      expect(await fits(list, ['x', false])).toBe(true)
      expect(await fits(list, [])).toBe(false)
      expect(await fits(list, [true, true, true])).toBe(false)
      expect(await fits(list, ['y'])).toBe(false)
    }
    const pair = {
      type: 'array',
      prefixItems: [{ type: 'null' }, { type: ['string', 'number'] }],
      maxItems: 2,
      minItems: 2
    }
    expect(await fits(pair, [null, 2.5])).toBe(true)
    expect(await fits(pair, [null, 'a'])).toBe(true)
    expect(await fits(pair, [null, null])).toBe(false)
  })

  it('takes other properties only where the schema says so', async () => {
    const counts = { type: 'object', additionalProperties: { type: 'number' } }
    expect(await fits(counts, { a: 1, 'b c': -2.5 })).toBe(true)
    expect(await fits(counts, { a: 'x' })).toBe(false)
    expect(await fits({ type: 'object', properties: {}, additionalProperties: false }, {})).toBe(true)
    expect(await fits({ type: 'object', properties: {}, additionalProperties: false }, { a: 1 })).toBe(false)
  })

  it('takes values beside their type, tabs and ends of lines among them', async () => {
    expect(await fits({ const: 3, type: 'integer' }, 3)).toBe(true)
    expect(await fits({ enum: [1.5, null], type: ['number', 'null'] }, 1.5)).toBe(true)
    const text = 'a\tb\r\n\u2028\u007f'
    expect(await fits({ const: text, type: 'string' }, JSON.stringify(text))).toBe(true)
    expect(await fits({ type: 'object', properties: { [text]: { type: 'null' } } }, { [text]: null })).toBe(true)
  })

  it('follows definitions, themselves included', async () => {
    const point = {
      $ref: '#/$defs/point',
      $defs: { point: { type: 'array', items: { type: 'integer' }, maxItems: 2 } }
    }
    expect(await fits(point, [1, 2])).toBe(true)
    expect(await fits(point, ['a'])).toBe(false)
    const tree = {
      $ref: '#/$defs/tree',
      $defs: {
        tree: { type: 'object', properties: { left: { oneOf: [{ type: 'null' }, { $ref: '#/$defs/tree' }] } } }
      }
    }
    expect(await grammarOf(tree)).toMatch(/^root ::= def0$/m)
  })

  it('says nothing and names what it cannot keep', async () => {
    const warned = vi.spyOn(console, 'warn')
    const refused = async (schema: unknown, sentence: string) => {
      await expect(grammarOf(schema as JsonSchema)).rejects.toMatchObject({
        code: 'OPTION_INVALID',
        message: expect.stringContaining(sentence)
      })
    }
    await refused({ type: 'string', pattern: 'a+' }, 'for jsonSchema but received "pattern"')
    await refused(
      { type: 'object', properties: { n: { type: 'number', minimum: 1 } } },
      'for jsonSchema.properties.n but received "minimum"'
    )
    await refused({ allOf: [] }, 'received "allOf"')
    await refused({}, 'for jsonSchema.type but received nothing')
    await refused({ type: ['object', 'null'] }, 'for jsonSchema.type')
    await refused({ type: [] }, 'for jsonSchema.type')
    await refused(true, 'Expected a JSON schema that is an object for jsonSchema but received true')
    await refused({ type: 'array', items: [] }, 'for jsonSchema.items')
    await refused({ enum: [] }, 'an array with something in it for jsonSchema.enum')
    await refused({ enum: [{}] }, 'for jsonSchema.enum')
    await refused({ oneOf: [] }, 'for jsonSchema.oneOf')
    await refused({ const: [1] }, 'for jsonSchema.const')
    await refused({ $ref: '#/definitions/a' }, 'for jsonSchema.$ref')
    await refused({ $ref: '#/$defs/a', $defs: { b: {} } }, 'for jsonSchema.$ref')
    await refused({ $ref: '#/$defs/toString' }, 'for jsonSchema.$ref')
    await refused({ type: 'string', minLength: 3, maxLength: 2 }, 'at least minLength, 3, for jsonSchema.maxLength')
    await refused({ type: 'string', maxLength: -1 }, 'for jsonSchema.maxLength')
    await refused({ type: 'string', format: 'email' }, 'for jsonSchema.format')
    await refused({ type: 'object', required: ['a'] }, 'for jsonSchema.required but received "a"')
    await refused(
      { type: 'object', properties: { a: { type: 'null' } }, maxProperties: 0 },
      'for jsonSchema.maxProperties'
    )
    await refused(
      { type: 'object', properties: { a: { type: 'null' } }, minProperties: 2 },
      'for jsonSchema.minProperties'
    )
    const named = { type: 'object', properties: { a: { type: 'null' } } }
    await refused({ ...named, additionalProperties: true }, 'for jsonSchema.additionalProperties but received true')
    await refused({ oneOf: [{ ...named, additionalProperties: { type: 'null' } }] }, 'oneOf.0.additionalProperties')
    await refused({ type: 'object', minProperties: 2 }, 'for jsonSchema.minProperties but received 2')
    for (const text of ['\u0000', 'a\u001b', '\b', '\ud800', 'a\udc00b']) {
      await refused({ const: text }, 'for jsonSchema.const')
      await refused({ enum: ['a', text] }, 'for jsonSchema.enum')
      await refused({ type: 'object', properties: { [text]: { type: 'null' } } }, 'for jsonSchema.properties')
    }
    await refused({ type: 'string', const: 1 }, 'Expected a value of type string for jsonSchema.const but received 1')
    await refused({ type: ['integer', 'null'], enum: [null, 1.5] }, 'for jsonSchema.enum but received 1.5')
    await refused({ type: 'object', enum: [null] }, 'for jsonSchema.enum')
    await refused({ type: 'array', prefixItems: [{ type: 'null' }], maxItems: 0 }, 'for jsonSchema.maxItems')
    let deep: JsonSchema = { type: 'null' }
    for (let i = 0; i < 100_000; i++) deep = { type: 'array', items: deep }
    await refused(deep, 'a schema at most 128 keywords deep')
    expect(warned).not.toHaveBeenCalled()
  })
})
