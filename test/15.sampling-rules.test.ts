import { describe, expect, it } from 'vitest'
import { parse } from '../src/checks.js'
import { WinnowError } from '../src/errors.js'
import { nativeRules, samplingRulesSchema } from '../src/sampling-rules.js'

const resolve = (options: unknown) => parse(samplingRulesSchema, options, 'sampling')
const refusal = (options: unknown) => {
  try {
    resolve(options)
  } catch (error) {
    if (WinnowError.is(error)) return `${error.code}: ${error.message}`
  }
  return 'accepted'
}

describe('sampling rules', () => {
  it('ask for nothing by default', async () => {
    expect(await nativeRules(resolve({}))).toEqual({
      penalties: { lastN: 64, repeat: 1, frequency: 0, presence: 0 },
      dry: { multiplier: 0, base: 1.75, allowedLength: 2, lastN: 1024, breakers: ['\n', ':', '"', '*'] },
      biases: { tokens: new Int32Array(), values: new Float32Array() },
      grammar: '',
      stop: []
    })
  })

  it('reach the addon as numbers by token and one grammar', async () => {
    const native = await nativeRules(
      resolve({ logitBias: { 5: -1.5, 7: false }, jsonSchema: { type: 'boolean' }, stop: '\n\n', dryMultiplier: 0.8 })
    )
    expect([...native.biases.tokens]).toEqual([5, 7])
    expect([...native.biases.values]).toEqual([-1.5, Number.NEGATIVE_INFINITY])
    expect(native.grammar).toContain('"true" | "false"')
    expect(native.stop).toEqual(['\n\n'])
    expect(native.dry.multiplier).toBe(0.8)
    expect((await nativeRules(resolve({ grammar: 'root ::= "a"', stop: ['a', 'b'] }))).grammar).toBe('root ::= "a"')
  })

  it('are refused with a sentence', () => {
    expect(refusal({ repeatPenalty: 0 })).toBe(
      'OPTION_INVALID: Expected a number from 0.01 to 100 for repeatPenalty but received 0'
    )
    expect(refusal({ frequencyPenality: 1 })).toContain('did you mean "frequencyPenalty"?')
    expect(refusal({ grammar: 'root ::= "a"', jsonSchema: { type: 'null' } })).toBe(
      'OPTION_INVALID: Expected either a grammar or a JSON schema, not both, for jsonSchema but received an object'
    )
    for (const options of [
      { presencePenalty: Number.NaN },
      { frequencyPenalty: 101 },
      { repeatLastN: -1 },
      { repeatLastN: 1.5 },
      { dryBase: 0.5 },
      { dryMultiplier: -1 },
      { drySequenceBreakers: [''] },
      { drySequenceBreakers: ['x'.repeat(41)] },
      { logitBias: { a: 1 } },
      { logitBias: { '-1': 1 } },
      { logitBias: { 4294967296: 1 } },
      { logitBias: { 1: true } },
      { logitBias: { 1: Number.NaN } },
      { logitBias: null },
      { logitBias: [1, 2] },
      { logitBias: new Map([[1, 2]]) },
      { logitBias: { '01': 1 } },
      { logitBias: { '1e1': 1 } },
      { grammar: '' },
      { jsonSchema: [] },
      { stop: '' },
      { stop: ['a', ''] },
      { stop: Array.from({ length: 1025 }, () => 'a') },
      { stop: ['é'.repeat(32769)] }
    ]) {
      expect(refusal(options), JSON.stringify(options)).toMatch(/^OPTION_INVALID: Expected /)
    }
  })
})
