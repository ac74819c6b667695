import { createHash } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parseArm, parseArms } from '../src/arm.js'
import { splitArms } from '../src/arm-text.js'
import { referenceOf } from '../src/bench.js'
import { doubling } from '../src/checkpoint.js'
import { meanLogprob } from '../src/scorers/mean-logprob.js'

const defaults = { alpha: 0.5, checkpoints: doubling(32) }

describe('a policy on the command line', () => {
  it('takes what it does not set from the defaults', () => {
    const arm = parseArm('spec-reject', defaults)
    expect(arm).toMatchObject({ name: 'spec-reject', n: null, scorer: null, equalTokens: null })
    expect(arm.policy.checkpoints.name).toBe('doubling:32')
  })

  it('may set alpha, checkpoints and scorer', () => {
    const arm = parseArm('spec-reject:alpha=0.75:checkpoints=8+16:scorer=min-logprob', defaults)
    expect(arm.scorer?.name).toBe('min-logprob')
    expect(arm.policy.checkpoints.name).toBe('at:8+16')
    const branches = [1, 2, 3, 4].map((score, id) => {
      return { id, state: 'live' as const, reason: null, score, scores: [], tokens: 8, fresh: false }
    })
    const view = { index: 0, tokens: 8, last: false, branches, seed: 0, memory: undefined }
    expect(arm.policy.decide(view).kill).toEqual([2, 1, 0])
  })

  it('may set its number of candidates, its interval and its name', () => {
    expect(parseArm('best-of-n:n=1', defaults).n).toBe(1)
    expect(parseArm('random-kill:every=16:name=lots', defaults)).toMatchObject({ name: 'lots' })
    expect(parseArm('spec-reject-paper:doubling=4', defaults).policy.checkpoints.name).toBe('doubling:4')
    expect(parseArm('spec-reject:checkpoints=every:8:alpha=0.1', defaults).policy.checkpoints.name).toBe('every:8')
  })

  it('is the reference where it is best-of-N by the scorer of arms that set none, whichever that is', () => {
    const texts = ['best-of-n:scorer=min-logprob', 'best-of-n:name=all', 'best-of-n:equal-tokens=all']
    expect(referenceOf(parseArms(texts, { ...defaults, scorer: meanLogprob() }))?.name).toBe('all')
    expect(referenceOf(parseArms(texts, defaults))?.name).toBe('all')
  })

  it('may have a margin of spec-reject, which other policies take no notice of', () => {
    const branches = [1, 0.95, 0.2].map((score, id) => {
      return { id, state: 'live' as const, reason: null, score, scores: [], tokens: 8, fresh: false }
    })
    const view = { index: 0, tokens: 8, last: false, branches, seed: 0, memory: undefined }
    const harsh = { ...defaults, alpha: 0.9, margin: 0.1 }
    expect(parseArm('spec-reject', harsh).policy.decide(view).kill).toEqual([2])
    expect(parseArm('spec-reject:margin=0', harsh).policy.decide(view).kill).toEqual([1, 2])
    expect(parseArm('spec-reject-paper', harsh).policy.decide(view).kill).toHaveLength(3)
    expect(parseArm('random-kill', harsh).policy.decide(view).kill).toHaveLength(2)
    expect(parseArm('spec-reject', harsh).definition).toBe('spec-reject:alpha=0.9:checkpoints=doubling:32:margin=0.1')
    expect(parseArm('random-kill', harsh).definition).toBe('random-kill:alpha=0.9:checkpoints=doubling:32')
  })

  it('may say how many right answers keep-enough is to expect, and who is hopeless', () => {
    const definitionOf = (text: string) => parseArm(text, defaults).definition
    expect(definitionOf('keep-enough')).toBe('keep-enough:right=8:hopeless=0.05:checkpoints=doubling:32')
    expect(definitionOf('keep-enough:right=4:every=8:hopeless=0')).toBe(
      'keep-enough:right=4:hopeless=0:checkpoints=every:8'
    )
    expect(definitionOf(definitionOf('keep-enough:right=4'))).toBe(definitionOf('keep-enough:right=4'))
  })

  it('has a definition that spells out what it means, whatever its name', () => {
    const definitionOf = (text: string) => parseArm(text, defaults).definition
    expect(definitionOf('spec-reject')).toBe('spec-reject:alpha=0.5:checkpoints=doubling:32')
    expect(definitionOf('spec-reject:doubling=32:name=x:alpha=.50')).toBe(definitionOf('spec-reject'))
    expect(definitionOf('random-kill:alpha=0.1:checkpoints=16+8:scorer=min-logprob:n=3')).toBe(
      'random-kill:alpha=0.1:checkpoints=at:8+16:n=3:scorer=min-logprob'
    )
    expect(definitionOf('best-of-n:name=all')).toBe('best-of-n')
    expect(definitionOf('best-of-n:equal-tokens=x')).toBe('best-of-n:equal-tokens=x')
    const spelled = definitionOf('random-kill:every=7:n=3')
    expect(definitionOf(spelled)).toBe(spelled)
  })

  it('may have a budget, and must where its policy decides by memory', () => {
    const arm = parseArm('spec-reject-memory:alpha=0.3:budget=1.5GiB', defaults)
    expect(arm).toMatchObject({ budget: 1.5 * 2 ** 30, policy: { name: 'spec-reject-memory', onFull: true } })
    expect(arm.definition).toBe('spec-reject-memory:alpha=0.3:budget=1610612736')
    expect(parseArm(arm.definition, defaults).definition).toBe(arm.definition)
    expect(parseArm('memory-pressure:budget=5MB', defaults).definition).toBe('memory-pressure:budget=5000000')
    expect(parseArm('best-of-n:budget=5MB:n=9', defaults).definition).toBe('best-of-n:n=9:budget=5000000')
    expect(parseArm('best-of-n', defaults).budget).toBeNull()
  })

  it('may have a head in a file whose path has colons and commas, in quotes', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'winnow-arm-'))
    const path = join(folder, 'a:b,c.gguf')
    await writeFile(path, 'weights')
    const list = `best-of-n, spec-reject:scorer=head@"${path}":every=8:name=x`
    const [, arm] = parseArms(splitArms(list), defaults)
    await rm(folder, { recursive: true })
    expect(arm?.scorer?.name).toBe(`head@${path}`)
    expect(arm).toMatchObject({ name: 'x', headSha256: createHash('sha256').update('weights').digest('hex') })
    expect(arm?.definition).toBe(`spec-reject:alpha=0.5:checkpoints=every:8:scorer=head@"${path}"`)
  })

  it('stands in a list between commas', () => {
    expect(splitArms('best-of-n, spec-reject:checkpoints=8+16')).toEqual(['best-of-n', 'spec-reject:checkpoints=8+16'])
    expect(() => splitArms('best-of-n,,x')).toThrow('Expected policies separated by commas for --policies')
    expect(() => splitArms('spec-reject:scorer=head@"a,b')).toThrow('Expected an end to each double quote')
  })

  it.each([
    ['memory-pressure', 'OPTION_INVALID', 'Expected a budget for a policy that decides by memory'],
    ['spec-reject-memory:budget=1GB:every=8', 'OPTION_INVALID', 'Expected no checkpoints for a policy that decides by'],
    ['best-of-n:budget=much', 'OPTION_INVALID', 'for budget of best-of-n:budget=much but received "much"'],
    ['spec-reject:alpha=0.1:alpha=0.2', 'OPTION_INVALID', 'Expected each key once for the policy'],
    ['spec-reject:every=8:doubling=8', 'OPTION_INVALID', 'Expected one of every and doubling for the policy'],
    ['spec-reject:every=8:9', 'OPTION_INVALID', 'for checkpoints but received "every:8:9"'],
    ['spec-rejct', 'OPTION_UNKNOWN', 'did you mean "spec-reject"?'],
    ['spec-reject:alfa=1', 'OPTION_UNKNOWN', 'did you mean "alpha"?'],
    ['spec-reject:alpha', 'OPTION_INVALID', 'Expected key=value after each colon for the policy spec-reject:alpha'],
    ['spec-reject:alpha=1.5', 'OPTION_INVALID', 'Expected a number from 0 to below 1 for alpha but received 1.5'],
    ['spec-reject:alpha=x', 'OPTION_INVALID', 'Expected a number for alpha of spec-reject:alpha=x but received "x"'],
    ['spec-reject:scorer=heads', 'OPTION_UNKNOWN', 'did you mean "head"?'],
    ['spec-reject:scorer=head@"none.gguf', 'OPTION_INVALID', 'Expected an end to each double quote for the policy'],
    ['spec-reject:scorer=head@none.gguf', 'HEAD_NOT_FOUND', 'Expected a reward head in none.gguf but received'],
    ['best-of-n:n=0', 'OPTION_INVALID', 'Expected a whole number from 1 to 4096 for n but received 0'],
    ['spec-reject:equal-tokens=best-of-n', 'OPTION_INVALID', 'Expected equal-tokens on best-of-n without n'],
    ['spec-reject:margin=-1', 'OPTION_INVALID', 'Expected a number from 0 for margin but received -1'],
    ['random-kill:margin=1', 'OPTION_INVALID', 'Expected margin on spec-reject but received'],
    ['spec-reject:right=4', 'OPTION_INVALID', 'Expected right and hopeless on keep-enough but received'],
    ['keep-enough:right=0', 'OPTION_INVALID', 'Expected a number above 0 for right but received 0'],
    ['keep-enough:hopeless=x', 'OPTION_INVALID', 'Expected a number for hopeless of keep-enough:hopeless=x'],
    ['spec-reject:like=spec-reject', 'OPTION_INVALID', 'Expected like on random-kill without a schedule'],
    ['random-kill:like=spec-reject:every=8', 'OPTION_INVALID', 'Expected like on random-kill without a schedule']
  ])('is refused as %s', (text, code, sentence) => {
    expect(() => parseArm(text, defaults)).toThrow(
      expect.objectContaining({ code, message: expect.stringContaining(sentence) })
    )
  })

  it('comes once, and equal-tokens names another', () => {
    expect(() => parseArms(['best-of-n', 'best-of-n'], defaults)).toThrow('Expected each policy once')
    expect(() => parseArms(['best-of-n', 'best-of-n:equal-tokens=spec-reject'], defaults)).toThrow(
      'Expected the name of another policy (best-of-n) for equal-tokens of best-of-n:equal-tokens=spec-reject'
    )
    expect(parseArms(['best-of-n', 'spec-reject', 'best-of-n:equal-tokens=spec-reject'], defaults)).toHaveLength(3)
  })

  it('dies by lot like another arm, whose name it gives', () => {
    const [, , arm] = parseArms(['best-of-n', 'spec-reject', 'random-kill:like=spec-reject'], defaults)
    expect(arm).toMatchObject({ like: 'spec-reject', definition: 'random-kill:like=spec-reject' })
    expect(() => parseArms(['random-kill:like=x'], defaults)).toThrow('for like of random-kill:like=x but received "x"')
    expect(() =>
      parseArms(['spec-reject', 'random-kill:like=spec-reject:name=a', 'random-kill:like=a'], defaults)
    ).toThrow('Expected the name of another policy')
  })
})

describe('a policy measured against another', () => {
  const parse = (...texts: string[]) => parseArms(texts, defaults)

  it('names a best-of-n on all candidates, by whichever scorer', () => {
    const [, , arm] = parse('best-of-n', 'best-of-n:scorer=min-logprob:name=least', 'spec-reject:against=least')
    expect(arm).toMatchObject({
      against: 'least',
      definition: 'spec-reject:alpha=0.5:checkpoints=doubling:32:against=least'
    })
  })

  it.each([
    [['best-of-n', 'spec-reject:against=nobody'], '(best-of-n) for against of spec-reject:against=nobody'],
    [['best-of-n', 'random-kill', 'spec-reject:against=random-kill'], '(best-of-n) for against of'],
    [['best-of-n:n=3:name=few', 'spec-reject:against=few'], '(none here) for against of'],
    [['best-of-n:name=all:against=all'], '(none here) for against of all but received "all"'],
    [['best-of-n', 'best-of-n:against=best-of-n:name=b', 'spec-reject:against=b'], 'received "b"']
  ])('%j is refused', (texts, sentence) => {
    expect(() => parse(...texts)).toThrow(
      expect.objectContaining({ code: 'OPTION_INVALID', message: expect.stringContaining(sentence) })
    )
  })
})
