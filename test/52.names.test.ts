import { describe, expect, it } from 'vitest'
import { doubling } from '../src/checkpoint.js'
import { parseCheckpoints, policyNamed, policyNames, scorerNamed, scorerNames } from '../src/names.js'

const schedule = { alpha: 0.5, checkpoints: doubling(32) }

describe('a name on the command line', () => {
  it('stands for one policy or one scorer', () => {
    for (const name of policyNames) expect(policyNamed(name, schedule).name).toBe(name)
    expect(new Set(scorerNames.map((name) => scorerNamed(name).name)).size).toBe(scorerNames.length)
  })

  it('may be one that only the caller knows', () => {
    const own = { ...scorerNamed('head'), name: 'own' }
    expect(scorerNamed('own', (name) => (name === 'own' ? own : null))).toBe(own)
    expect(scorerNamed('perplexity', () => null).name).toBe('perplexity')
  })

  it('that is unknown is refused with those there are', () => {
    expect(() => policyNamed('keep-enuogh', schedule)).toThrow(
      `Expected one of ${policyNames.join(', ')} for the policy but received "keep-enuogh"; did you mean "keep-enough"?`
    )
    expect(() => scorerNamed('zzz')).toThrow(
      expect.objectContaining({
        code: 'OPTION_UNKNOWN',
        message: `Expected one of ${scorerNames.join(', ')} for the scorer but received "zzz"`
      })
    )
  })
})

describe('a policy of a name', () => {
  it('of the paper has no margin, which is refused where one is asked for', () => {
    const sentence = "Expected no margin for the paper's rule but received 1"
    expect(() => policyNamed('spec-reject-paper', { ...schedule, margin: 1 })).toThrow(sentence)
    expect(policyNamed('spec-reject-paper', { ...schedule, margin: 0 }).name).toBe('spec-reject-paper')
  })
})

describe('checkpoints on the command line', () => {
  it.each([
    ['64,128', 'at:64+128'],
    ['128+64', 'at:64+128'],
    ['at:64+128', 'at:64+128'],
    ['every:32', 'every:32'],
    ['doubling:16', 'doubling:16']
  ])('%s are %s', (text, name) => {
    expect(parseCheckpoints(text).name).toBe(name)
  })

  it.each([
    ...['', 'x', '0', '1.5', '64,', 'each:3', 'at', 'at:', 'every', 'every:', 'every:0', 'doubling:x'],
    ...['every:8:9', 'every:8,9', 'doubling:8:9', 'doubling:8+9', 'at:8:9', 'at:every:8', ':8']
  ])('%j are refused', (text) => {
    expect(() => parseCheckpoints(text)).toThrow(
      `Expected token counts such as "64,128", or "every:32", or "doubling:16", for checkpoints but received "${text}"`
    )
  })
})
