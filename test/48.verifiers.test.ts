import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { jsonIn, verify as verifyJson } from '../src/verifiers/json-schema.js'
import { choiceIn, verify as verifyChoice } from '../src/verifiers/multiple-choice.js'
import { numberIn, verify as verifyNumber } from '../src/verifiers/numeric.js'
import { verify as verifyPattern } from '../src/verifiers/pattern.js'

describe('a numeric answer', () => {
  it.each([
    ['The answer is 12.', 12],
    ['In May: 3 + 4 = 7. The answer is 7.', 7],
    ['The answer is 7. No. The answer is 8.', 8],
    ['The answer is -12', -12],
    ['the answer is \u221212', -12],
    ['Answer: $1,250.50', 1250.5],
    ['The answer is 1,25', 1],
    ['3 * 4 = 12\n#### 12', 12],
    ['so \\boxed{42} and not 43', 42],
    ['\\boxed{x = 5}', 5],
    ['\\boxed{\\frac{3}{4}}', 0.75],
    ['\\boxed{-\\dfrac{1}{8}}', -0.125],
    ['The answer is 3/4.', 0.75],
    ['it is 3/4', 0.75],
    ['they have 5 and 1e3', 1000],
    ['about .5', 0.5],
    ['50%', 50],
    ['1/0', null],
    ['The answer is unknown', null],
    ['none', null],
    ['', null]
  ])('reads %j as %s', (text, number) => {
    expect(numberIn(text)).toBe(number)
  })

  it('reads back every number that was written', () => {
    fc.assert(
      fc.property(
        fc.double({ min: -1e9, max: 1e9, noNaN: true }),
        fc.string({ unit: fc.constantFrom('a', ' ', '\n') }),
        (value, before) => {
          // Without the minus of a zero, which no spelling keeps.
          const number = value + 0
          expect(numberIn(`${before} The answer is ${number}.`)).toBe(number)
          expect(numberIn(`${before} ${number}`)).toBe(number)
          expect(numberIn(`7 \\boxed{${number}} 9`)).toBe(number)
        }
      )
    )
  })

  it('is right within the tolerance, and never without a number', () => {
    const is = (text: string, answer: number, tolerance = 1e-9) => verifyNumber({ text }, { answer, tolerance })
    expect(is('The answer is 0.3333.', 1 / 3)).toBe(false)
    expect(is('The answer is 0.3333.', 1 / 3, 1e-3)).toBe(true)
    expect(is('The answer is 1000001.', 1e6, 1e-5)).toBe(true)
    expect(is('The answer is 120.', 12)).toBe(false)
    expect(is('no answer', 0)).toBe(false)
  })
})

describe('a multiple choice', () => {
  it.each([
    ['The answer is (B).', 'B'],
    ['The answer is (b).', 'B'],
    ['The answer is B', 'B'],
    ['Answer: C', 'C'],
    ['The correct answer is option D, since I', 'D'],
    ['A is wrong. The answer is A. No, the answer is C.', 'C'],
    ['so \\boxed{A}', 'A'],
    ['so \\boxed{\\text{D}}', 'D'],
    ['Thinking.\nB', 'B'],
    ['Thinking.\n**C.**\n', 'C'],
    ['The answer is an apple', null],
    ["The answer isn't A's", null],
    ['The answer is E', null],
    ['A or B?', null],
    ['', null]
  ])('%j chooses %s', (text, letter) => {
    expect(choiceIn(text)).toBe(letter)
  })

  it('knows the letters it is given', () => {
    expect(choiceIn('The answer is E', 'ABCDE')).toBe('E')
    expect(verifyChoice({ text: 'The answer is E' }, { answer: 'E', choices: 'ABCDE' })).toBe(true)
    expect(verifyChoice({ text: 'The answer is D' }, { answer: 'E', choices: 'ABCDE' })).toBe(false)
    expect(verifyChoice({ text: '' }, { answer: 'E', choices: 'ABCDE' })).toBe(false)
  })
})

describe('a pattern', () => {
  it('agrees with the regular expression, call after call also with the flag g', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        for (const flags of ['', 'i', 'g', 'u']) {
          expect(verifyPattern({ text }, { pattern: '[a-f]\\d?', flags })).toBe(
            /[a-f]/.test(text) || (flags === 'i' && /[A-F]/.test(text))
          )
        }
      })
    )
  })
})

describe('a JSON schema', () => {
  const is = (text: string, schema: object | boolean) => verifyJson({ text }, { schema })

  it('finds the JSON of any text that is JSON, or ends in a block of it', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const json = JSON.stringify(value)
        const parsed = JSON.parse(json)
        expect(jsonIn(json)).toEqual(parsed)
        if (json.includes('```')) return
        expect(jsonIn(`First {1}:\n\`\`\`json\n[\n\`\`\`\nthen\n\`\`\`json\n${json}\n\`\`\`\nDone.`)).toEqual(parsed)
        expect(jsonIn(`\`\`\`\n${json}\n\`\`\``)).toEqual(parsed)
      })
    )
  })

  it.each(['', 'yes', '{"a": 1', '```json\n{"a": 1}', 'a ``` b ``` c'])('finds none in %j', (text) => {
    expect(jsonIn(text)).toBeUndefined()
    expect(is(text, true)).toBe(false)
  })

  it('of the newest draft unless the schema names another', () => {
    const schema = { type: 'object', properties: { a: { type: 'integer' } }, unevaluatedProperties: false }
    expect(is('{"a": 1}', schema)).toBe(true)
    expect(is('{"a": 1, "b": 2}', schema)).toBe(false)
    const pair = { prefixItems: [{ type: 'string' }, { type: 'number' }] }
    expect(is('[1, "a"]', pair)).toBe(false)
    const items = { items: [{ type: 'string' }] }
    expect(is('[1]', { ...items, $schema: 'http://json-schema.org/draft-07/schema#' })).toBe(false)
    expect(is('["a"]', { ...items, $schema: 'https://json-schema.org/draft/2019-09/schema' })).toBe(true)
  })

  it('reads not, if, dependentRequired and local references', () => {
    const schema = {
      $defs: { day: { type: 'integer', minimum: 1, maximum: 31 } },
      properties: { day: { $ref: '#/$defs/day' }, kind: { not: { const: 'none' } } },
      dependentRequired: { month: ['day'] },
      if: { properties: { leap: { const: true } }, required: ['leap'] },
      // biome-ignore lint/suspicious/noThenProperty: a keyword of JSON schema
      then: { required: ['year'] }
    }
    expect(is('{"day": 31, "month": 5}', schema)).toBe(true)
    for (const text of ['{"day": 32}', '{"kind": "none"}', '{"month": 5}', '{"leap": true}']) {
      expect(is(text, schema)).toBe(false)
    }
  })

  it('takes format for an annotation, and unknown keywords for nothing', () => {
    expect(is('"x"', { type: 'string', format: 'email', example: 1 })).toBe(true)
  })

  it('with an id may come again, changed', () => {
    expect(is('1', { $id: 'https://example.org/one', type: 'number' })).toBe(true)
    expect(is('1', { $id: 'https://example.org/one', type: 'string' })).toBe(false)
  })

  it('that is wrong is an error, and nothing is fetched for it', () => {
    expect(() => is('1', { type: 'text' })).toThrow('schema is invalid')
    expect(() => is('1', { $ref: 'https://example.org/schema.json' })).toThrow("can't resolve reference")
  })

  it('refuses what is nested too deep for it instead of failing', () => {
    const list = { $ref: '#/$defs/list', $defs: { list: { type: 'array', items: { $ref: '#/$defs/list' } } } }
    expect(is('[[[]]]', list)).toBe(true)
    expect(is(`${'['.repeat(200_000)}${']'.repeat(200_000)}`, list)).toBe(false)
  })
})
