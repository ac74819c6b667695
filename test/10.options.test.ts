import { describe, expect, it } from 'vitest'
import { every } from '../src/checkpoint.js'
import { nearest } from '../src/nearest.js'
import { resolveBestOf, resolveOpen } from '../src/options.js'
import { specReject } from '../src/policies/spec-reject.js'
import { meanLogprob } from '../src/scorers/mean-logprob.js'

describe('the options of bestOf', () => {
  it('have defaults, and come out frozen', () => {
    const options = resolveBestOf()
    expect(options).toMatchObject({ maxTokens: 512, raw: false, deterministic: false, seed: 0n, scorer: null })
    expect(options.sampling).toMatchObject({ temperature: 1, topK: 0, topP: 1, minP: 0, repeatPenalty: 1, stop: [] })
    expect(options.policy.name).toBe('best-of-n')
    expect(Object.isFrozen(options)).toBe(true)
  })

  it('take undefined for "not given"', () => {
    expect(resolveBestOf({ maxTokens: undefined, sampling: undefined, seed: undefined }).maxTokens).toBe(512)
  })

  it('turn a function into a scorer that bears its name', () => {
    expect(
      resolveBestOf({
        scorer: function longest() {
          return []
        }
      }).scorer?.name
    ).toBe('longest')
    expect(resolveBestOf({ scorer: meanLogprob() }).scorer?.name).toBe('mean-logprob')
  })

  it('take seeds to 2^64-1 and refuse what lies beyond', () => {
    expect(resolveBestOf({ seed: 2n ** 64n - 1n }).seed).toBe(2n ** 64n - 1n)
    expect(() => resolveBestOf({ seed: 2n ** 64n })).toThrow('Expected a whole number from 0 to 2^64-1 for seed')
    expect(() => resolveBestOf({ seed: -1 })).toThrow('for seed but received -1')
  })

  it.each([
    [{ maxTokens: 0 }, 'Expected a whole number of tokens, at least 1, for maxTokens but received 0'],
    [{ maxTokens: Number.NaN }, 'for maxTokens but received NaN'],
    [{ sampling: { temperature: -1 } }, 'Expected a number from 0 to 100 for sampling.temperature but received -1'],
    [{ sampling: { topP: 1.5 } }, 'Expected a number above 0 and at most 1 for sampling.topP but received 1.5'],
    [{ sampling: { topP: 0 } }, 'for sampling.topP but received 0'],
    [{ stopTokens: [2 ** 31] }, 'Expected an array of token ids for stopTokens'],
    [{ sampling: 3 }, 'Expected an object for sampling but received 3'],
    [{ deadlineMs: 0 }, 'Expected a number of milliseconds above 0 for deadlineMs but received 0'],
    [{ policy: 'best' }, 'Expected a policy such as specReject() for policy but received "best"'],
    [{ checkpoints: 32 }, 'Expected checkpoints such as every(32) for checkpoints but received 32'],
    [{ policy: { name: 'x', decide() {} } }, 'Expected checkpoints such as every(32) for policy.checkpoints but'],
    [{ policy: { checkpoints: every(8), decide() {} } }, 'Expected a name for policy.name but received nothing'],
    [{ policy: { ...specReject(), choose: 3 } }, 'Expected a function or nothing for policy.choose but received 3'],
    [{ policy: { ...specReject(), checkpoints: { next() {} } } }, 'for policy.checkpoints but received an object'],
    [{ checkpoints: { next() {} } }, 'Expected checkpoints such as every(32) for checkpoints but received an object'],
    [
      { scorer: { name: 'x', score() {} } },
      'Expected an array of "states", "text" and "distributions" for scorer.needs but received'
    ],
    [{ scorer: { name: 'x', needs: ['state'], score() {} } }, 'for scorer.needs but received an array of 1'],
    [{ scorer: { needs: [], score() {} } }, 'Expected a name for scorer.name but received nothing'],
    [{ scorer: { name: 'x', needs: [] } }, 'Expected a scorer or a function for scorer but received an object'],
    [{ scorer: 'head' }, 'Expected a scorer or a function for scorer but received "head"'],
    [{ signal: {} }, 'Expected an AbortSignal for signal but received an object'],
    [{ stopTokens: [-1] }, 'Expected an array of token ids for stopTokens but received an array of 1'],
    [null, 'Expected an object for the options of bestOf but received null']
  ])('refuse %j', (options, sentence) => {
    expect(() => resolveBestOf(options as never)).toThrow(sentence)
  })

  it('refuse an unknown key and suggest the one that was meant', () => {
    expect(() => resolveBestOf({ maxToken: 5 } as never)).toThrow(
      'Expected a known option for the options of bestOf but received "maxToken"; did you mean "maxTokens"?'
    )
    expect(() => resolveBestOf({ sampling: { temprature: 1 } } as never)).toThrow('did you mean "temperature"?')
    expect(() => resolveBestOf({ xyzzy: 1 } as never)).toThrow('; known are policy, checkpoints, scorer')
  })
})

describe('the options of open', () => {
  it('have defaults', () => {
    expect(resolveOpen()).toMatchObject({
      gpu: 'auto',
      gpuLayers: -1,
      threads: 0,
      batch: 512,
      kvType: 'f16',
      drawing: 'auto',
      mmap: true
    })
    expect(resolveOpen().head).toBeUndefined()
    expect(resolveOpen({ head: null }).head).toBeNull()
  })

  it('take threads to 512 and prompt tokens a call to 65536, and refuse what lies beyond', () => {
    expect(resolveOpen({ threads: 512, batch: 65_536 })).toMatchObject({ threads: 512, batch: 65_536 })
    expect(resolveOpen({ batch: 1 }).batch).toBe(1)
    for (const threads of [513, 1.5, Number.NaN]) {
      expect(() => resolveOpen({ threads })).toThrow(`from 0 to 512 for threads but received ${threads}`)
    }
    for (const batch of [0, 65_537, 1.5]) {
      expect(() => resolveOpen({ batch })).toThrow(`from 1 to 65536 for batch but received ${batch}`)
    }
  })

  it('refuse what is out of range, and name the choices', () => {
    expect(() => resolveOpen({ gpu: 'rocm' as never })).toThrow(
      'Expected one of "auto", "cuda", "vulkan", "metal", "cpu" for gpu'
    )
    expect(() => resolveOpen({ threads: -1 })).toThrow(
      'Expected a whole number from 0 to 512 for threads but received -1'
    )
    expect(() => resolveOpen({ gpuLayer: 3 } as never)).toThrow('did you mean "gpuLayers"?')
  })
})

it('suggests only names that are close', () => {
  expect(nearest('temprature', ['temperature', 'topK'])).toBe('temperature')
  expect(nearest('zzz', ['temperature', 'topK'])).toBeNull()
})
