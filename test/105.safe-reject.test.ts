import { beforeAll, describe, expect, it } from 'vitest'
import { at, doubling, every } from '../src/checkpoint.js'
import { expectedMaximum, normalCdf, normalQuantile } from '../src/measures/normal.js'
import { cutShares, safeReject } from '../src/policies/safe-reject.js'
import { type Safety, type SafetyRule, safeShares } from '../src/policies/safety.js'
import type { View } from '../src/policy.js'
import { learnSafety } from '../src/traces/learn-safety.js'
import { replay } from '../src/traces/replay.js'
import { type MadeOptions, madeTraces } from './fakes/traces.js'

// Scores that know sqrt(tokens / length) of the reward, as rewards that add up do.
const made = { n: 64, grid: 8, rho: (tokens: number) => Math.sqrt(Math.min(1, tokens / 100)) } as const
const learnt = (changes: Partial<MadeOptions> = {}) => madeTraces({ ...made, prompts: 600, seed: 11, ...changes })

const others = madeTraces({ ...made, prompts: 800, seed: 12 })

let safety: Safety
beforeAll(async () => {
  const { header, traces } = learnt()
  safety = await learnSafety(header, traces)
})

/** How often a policy loses best-of-N’s pick on traces, and the share of best-of-N’s tokens it writes. */
function realised(delta: number, rule: SafetyRule, checkpoints = doubling(8)) {
  const { header, traces } = others
  const policy = safeReject({ safety, delta, rule, checkpoints })
  let [lost, tokens, all] = [0, 0, 0]
  for (const trace of traces) {
    const done = replay(header, trace, policy)
    lost += done.killedAt[done.best] === -1 ? 0 : 1
    tokens += done.work.generatedTokens
    all += trace.lengths.reduce((sum, length) => sum + length, 0)
  }
  return { lost: lost / traces.length, tokens: tokens / all, prompts: traces.length }
}

describe('the normal distribution', () => {
  // scipy 1.17.1: stats.norm.cdf, stats.norm.ppf, and integrate.quad of n x pdf(x) cdf(x)^(n - 1).
  it('is scipy’s', () => {
    for (const [x, p] of [
      [-6, 9.865876450376946e-10],
      [-3.2, 0.0006871379379158471],
      [-1, 0.15865525393145707],
      [-0.1, 0.460172162722971],
      [0, 0.5],
      [0.7, 0.758036347776927],
      [2.5, 0.9937903346742238],
      [5, 0.9999997133484281]
    ] as const) {
      expect(Math.abs(normalCdf(x) - p)).toBeLessThan(1e-14)
    }
    for (const [p, x] of [
      [1e-6, -4.753424308822899],
      [0.01, -2.3263478740408408],
      [0.3, -0.5244005127080409],
      [0.5, 0.0],
      [0.975, 1.959963984540054],
      [0.9999, 3.719016485455709]
    ] as const) {
      expect(Math.abs(normalQuantile(p) - x)).toBeLessThan(1e-9)
    }
    for (const [n, m] of [
      [1, 0.0],
      [2, 0.5641895835477562],
      [16, 1.7659913930547886],
      [64, 2.34373346507944],
      [256, 2.82686327893922],
      [1000, 3.2414357691334312]
    ] as const) {
      expect(Math.abs(expectedMaximum(n) - m)).toBeLessThan(1e-8)
    }
    expect([normalQuantile(0), normalQuantile(1)]).toEqual([Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY])
  })
})

describe('calibrated rejection', () => {
  it('learns correlations and depths from traces', () => {
    expect(safety).toMatchObject({ n: 64, scorer: 'made', prompts: 600 })
    for (const { tokens, correlation, depths, live } of safety.places.slice(0, 8)) {
      expect(Math.abs(correlation - Math.sqrt(tokens / 100))).toBeLessThan(0.03)
      expect(depths).toHaveLength(600)
      expect(live).toBeGreaterThan(10)
    }
  })

  it('has the shares of the published table by the normal rule', () => {
    // reference: N = 1000, delta = .05, one look: rho .3 -> .275, .5 -> .58, .7 -> .86, .8 -> .95.
    for (const [correlation, share] of [
      [0.3, 0.275],
      [0.5, 0.58],
      [0.7, 0.86],
      [0.8, 0.95]
    ] as const) {
      const one = { n: 1000, scorer: 's', prompts: 1, places: [{ tokens: 8, live: 1000, correlation, depths: [1] }] }
      expect(Math.abs((safeShares(one, 0.05, at([8]), 'normal')[0]?.share as number) - share)).toBeLessThan(0.006)
    }
  })

  for (const rule of ['ranks', 'normal'] as const) {
    it(`loses best-of-N’s pick no more often than promised, by ${rule}`, () => {
      let before = 1
      for (const delta of [0.2, 0.1, 0.05, 0.01]) {
        const { lost, tokens, prompts } = realised(delta, rule)
        // Three standard errors of what was promised.
        expect(lost).toBeLessThan(delta + 3 * Math.sqrt((delta * (1 - delta)) / prompts))
        expect(tokens).toBeLessThan(delta > 0.01 ? 0.85 : 0.99)
        // Who promises less writes more.
        expect(1 - tokens).toBeLessThanOrEqual(before)
        before = 1 - tokens
      }
    })
  }

  it('spends a good part of what it may: the bound counts whoever was killed before as lost to the cut', () => {
    expect(realised(0.2, 'ranks').lost).toBeGreaterThan(0.06)
    expect(realised(0.1, 'ranks', every(16)).lost).toBeGreaterThan(0.03)
  })

  it('asks for nothing normal by ranks: heavy tails and another scale keep the promise', async () => {
    const warped = (options: Partial<MadeOptions>) => {
      const { header, traces } = madeTraces({ ...made, prompts: 600, ...options })
      const cubed = traces.map((trace) => {
        const scores = trace.scores(0).map((score) => Math.sign(score) * Math.abs(score) ** 5 - 100)
        return { ...trace, scores: () => scores }
      })
      return { header, traces: cubed }
    }
    const { header, traces } = warped({ seed: 21 })
    const own = await learnSafety(header, traces)
    const policy = safeReject({ safety: own, delta: 0.1 })
    const unseen = warped({ seed: 22 })
    const lost = unseen.traces.filter((trace) => {
      const { killedAt, best } = replay(header, trace, policy)
      return killedAt[best] !== -1
    })
    expect(lost.length / 600).toBeLessThan(0.1 + 3 * Math.sqrt(0.09 / 600))
    expect(lost.length / 600).toBeGreaterThan(0.02)
  })

  it('kills nobody where too few prompts were recorded to promise anything', async () => {
    const { header, traces } = learnt({ prompts: 30 })
    const few = await learnSafety(header, traces)
    expect(safeShares(few, 0.05, doubling(8), 'ranks').every(({ share }) => share === 0)).toBe(true)
  })

  it('never kills the last one, nor more than the share with those killed before', () => {
    const policy = cutShares('cut', every(8), [
      { tokens: 8, share: 0.5 },
      { tokens: 16, share: 1 }
    ])
    const branch = (id: number, state: 'live' | 'killed' | 'finished') => {
      return { id, state, reason: null, score: id, scores: [], tokens: 8, fresh: false }
    }
    const view = (tokens: number, states: readonly ('live' | 'killed' | 'finished')[]): View => {
      return {
        index: 0,
        tokens,
        last: false,
        branches: states.map((state, id) => branch(id, state)),
        seed: 0,
        memory: undefined
      }
    }
    expect(policy.decide(view(8, ['live', 'killed', 'live', 'finished'])).kill).toEqual([0])
    expect(policy.decide(view(8, ['killed', 'killed', 'live', 'live'])).kill).toEqual([])
    expect(policy.decide(view(16, ['live', 'live', 'live', 'live'])).kill).toEqual([2, 1, 0])
    expect(policy.decide(view(4, ['live', 'live'])).kill).toEqual([])
  })

  it('refuses what it cannot calibrate', () => {
    expect(() => safeReject({ safety, checkpoints: every(5) })).toThrow('looks at places that were recorded')
    expect(() => safeReject({ safety, delta: 0 })).toThrow('above 0 and below 1')
    expect(() => safeReject({ safety, rule: 'guess' as SafetyRule })).toThrow('one of "ranks", "normal"')
    expect(() => safeReject({ safety: {} as Safety })).toThrow('what learnSafety found')
  })
})
