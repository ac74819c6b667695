import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Candidate, PlainScorer, RaceFacts, Scoring, SessionScorer } from '../src/scorer.js'
import { blend } from '../src/scorers/blend.js'
import {
  bottomGroupConfidence,
  lowestGroupConfidence,
  meanConfidence,
  selfCertainty,
  tailConfidence
} from '../src/scorers/confidence.js'
import { meanLogprob } from '../src/scorers/mean-logprob.js'
import { confidenceNamed, confidenceNames } from '../src/scorers/named.js'
import { perplexity } from '../src/scorers/perplexity.js'
import { midranks, type Scale, scaled } from '../src/scorers/scale.js'

const scoring = { prompt: '', signal: new AbortController().signal } as Scoring
const race = {} as RaceFacts

function candidate(logprobs: readonly number[], more: Partial<Candidate> = {}): Candidate {
  const entropies = Float32Array.from(logprobs, (value) => -value / 2)
  const tokens = new Int32Array(logprobs.length)
  return { id: 0, state: 'live', tokens, logprobs: Float32Array.from(logprobs), entropies, text: '', ...more }
}
const scoreOf = async (scorer: PlainScorer, one: Candidate) => (await scorer.score([one], scoring))[0] as number

const logprobs = fc.array(fc.float({ min: -20, max: 0, noNaN: true }), { maxLength: 200 })
const windows = fc.integer({ min: 1, max: 50 })

/** The definitions, as slowly as they can be written down. */
const naive = {
  mean: (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length,
  groups(values: readonly number[], window: number): number[] {
    if (values.length < window) return [naive.mean(values)]
    return values.slice(window - 1).map((_, i) => naive.mean(values.slice(i, i + window)))
  }
}

describe('perplexity', () => {
  it('is minus the exponential of minus the mean log-probability', async () => {
    expect(await scoreOf(perplexity(), candidate([Math.log(0.5), Math.log(0.125)]))).toBeCloseTo(-4, 5)
  })

  it('is minus one over the geometric mean of the probabilities, and ranks as the mean log-probability does', async () => {
    await fc.assert(
      fc.asyncProperty(logprobs, logprobs, async (a, b) => {
        fc.pre(a.length > 0 && b.length > 0)
        const [x, y] = [candidate(a), candidate(b)]
        const product = a.reduce((all, value) => all * Math.exp(value) ** (1 / a.length), 1)
        expect((await scoreOf(perplexity(), x)) * product).toBeCloseTo(-1, 6)
        const gap = (await scoreOf(meanLogprob(), x)) - (await scoreOf(meanLogprob(), y))
        const order = Math.sign((await scoreOf(perplexity(), x)) - (await scoreOf(perplexity(), y)))
        if (Math.abs(gap) > 1e-6) expect(order).toBe(Math.sign(gap))
      })
    )
  })
})

describe('confidence', () => {
  it('over all tokens is the mean log-probability', async () => {
    await fc.assert(
      fc.asyncProperty(logprobs, async (values) => {
        expect(await scoreOf(meanConfidence(), candidate(values))).toBe(await scoreOf(meanLogprob(), candidate(values)))
      })
    )
  })

  it('of the tail is the mean of the last tokens', async () => {
    await fc.assert(
      fc.asyncProperty(logprobs, windows, async (values, window) => {
        fc.pre(values.length > 0)
        expect(await scoreOf(tailConfidence({ window }), candidate(values))).toBeCloseTo(
          naive.mean(values.slice(-window)),
          6
        )
      })
    )
  })

  it('of the lowest group is the least mean of all full windows', async () => {
    await fc.assert(
      fc.asyncProperty(logprobs, windows, async (values, window) => {
        fc.pre(values.length > 0)
        const least = Math.min(...naive.groups(values, window))
        expect(await scoreOf(lowestGroupConfidence({ window }), candidate(values))).toBeCloseTo(least, 6)
      })
    )
  })

  it('of the bottom groups is the mean of their lowest share, one at least', async () => {
    const shares = fc.double({ min: 0.01, max: 1, noNaN: true })
    await fc.assert(
      fc.asyncProperty(logprobs, windows, shares, async (values, window, share) => {
        fc.pre(values.length > 0)
        const groups = naive.groups(values, window).sort((a, b) => a - b)
        const lowest = groups.slice(0, Math.max(1, Math.floor(share * groups.length)))
        const score = await scoreOf(bottomGroupConfidence({ window, share }), candidate(values))
        expect(score).toBeCloseTo(naive.mean(lowest), 6)
      })
    )
  })

  it('stays exact over long texts with values of very different size', async () => {
    const values = Array.from({ length: 5000 }, (_, i) => (i === 10 ? -1e30 : -0.001 * (i % 7)))
    const score = await scoreOf(bottomGroupConfidence({ window: 4, share: 1 }), candidate(values.slice(1030)))
    const all = candidate(values)
    expect(score).toBeCloseTo(naive.mean(naive.groups(values.slice(1030), 4)), 9)
    expect(await scoreOf(tailConfidence({ window: 7 }), all)).toBeCloseTo(-0.003, 6)
    expect(await scoreOf(lowestGroupConfidence({ window: 7 }), all)).toBeLessThan(-1e29)
  })

  it('may be read from entropies: the surer, the higher', async () => {
    const one = candidate([-1, -1], { entropies: Float32Array.of(0.25, 0.75) })
    expect(await scoreOf(meanConfidence({ of: 'entropy' }), one)).toBe(-0.5)
    expect(await scoreOf(lowestGroupConfidence({ of: 'entropy', window: 1 }), one)).toBe(-0.75)
  })

  it.each([meanConfidence(), tailConfidence(), lowestGroupConfidence(), bottomGroupConfidence(), perplexity()])(
    'of an empty branch is minus infinity',
    async (scorer) => {
      expect(await scoreOf(scorer, candidate([]))).toBe(Number.NEGATIVE_INFINITY)
    }
  )

  it('puts nothing in the place of distributions the engine did not read', async () => {
    const missing = { code: 'SIGNAL_MISSING' }
    expect(() => selfCertainty().score([candidate([-1])], scoring)).toThrow(expect.objectContaining(missing))
    expect(() => tailConfidence({ of: 'top' }).score([candidate([-1])], scoring)).toThrow(
      'Expected the log-probabilities of the likeliest tokens at every token for the signal "top" but received none'
    )
  })

  it('reads self-certainty and the top confidences where they are', async () => {
    const distributions = { certainties: Float32Array.of(1, 3), topConfidences: Float32Array.of(8, 2, 5) }
    const one = candidate([-1, -1], distributions) as Candidate
    expect(await scoreOf(selfCertainty(), one)).toBe(2)
    expect(await scoreOf(lowestGroupConfidence({ of: 'top', window: 2 }), one)).toBe(3.5)
  })

  it.each([
    [() => tailConfidence({ window: 0 }), 'a whole number of tokens, at least 1, for window of tailConfidence'],
    [() => tailConfidence({ of: 'logits' as 'logprob' }), 'one of "logprob", "entropy", "top", "certainty"'],
    [() => bottomGroupConfidence({ share: 0 }), 'a share above 0 and at most 1 for share of bottomGroupConfidence'],
    [() => tailConfidence({ windw: 3 } as object), 'did you mean "window"?']
  ])('refuses wrong options: %#', (make, sentence) => {
    expect(make).toThrow(sentence)
  })
})

describe('a name on the command line', () => {
  it.each(confidenceNames)('%s is a scorer', async (name) => {
    const distributions = { certainties: Float32Array.of(-1, -2), topConfidences: Float32Array.of(-3, -4) }
    expect(await scoreOf(confidenceNamed(name) as PlainScorer, candidate([-1, -1], distributions))).toBeLessThan(0)
  })

  it('may give the window', () => {
    expect(confidenceNamed('tail-logprob:64')?.name).toBe('tail-confidence(logprob,64)')
    expect(() => confidenceNamed('tail-logprob:0')).toThrow('at least 1')
    expect(() => confidenceNamed('tail-logprob:1:2')).toThrow('Expected a number of tokens behind the colon')
    expect(confidenceNamed('head')).toBeNull()
    expect(confidenceNamed('mean-logprob:3')).toBeNull()
  })
})

describe('a scale', () => {
  const scores = fc.array(fc.double({ min: -1e6, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 40 })
  const any = fc.array(fc.double({ noNaN: true }), { maxLength: 20 })
  const scales = fc.constantFrom<Scale>('none', 'z', 'min-max', 'rank', { mean: 2, deviation: 3 })

  it('z has mean 0 and deviation 1', () => {
    fc.assert(
      fc.property(scores, (values) => {
        const spread = Math.max(...values) - Math.min(...values)
        fc.pre(spread > 1e-3)
        const z = scaled(values, 'z')
        expect(naive.mean(z)).toBeCloseTo(0, 5)
        expect(naive.mean(z.map((value) => value ** 2))).toBeCloseTo(1, 5)
      })
    )
  })

  it('min-max goes from 0 to 1', () => {
    expect(scaled([3, 1, 2], 'min-max')).toEqual([1, 0, 0.5])
  })

  it('rank counts the others that are lower, ties half', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 5 }), { minLength: 2, maxLength: 20 }), (values) => {
        const expected = values.map((value) => {
          const lower = values.filter((other) => other < value).length
          const ties = values.filter((other) => other === value).length - 1
          return (lower + ties / 2) / (values.length - 1)
        })
        for (const [i, share] of scaled(values, 'rank').entries()) expect(share).toBeCloseTo(expected[i] as number, 12)
      })
    )
  })

  it('fixed takes numbers known beforehand', () => {
    expect(scaled([5, 2], { mean: 2, deviation: 3 })).toEqual([1, 0])
  })

  it('never makes NaN, and never turns an order round', () => {
    fc.assert(
      fc.property(any, scales, (values, scale) => {
        const after = scaled(values, scale)
        expect(after.some(Number.isNaN)).toBe(false)
        for (const [i, a] of values.entries()) {
          for (const [j, b] of values.entries()) {
            if (a <= b) expect(after[i]).toBeLessThanOrEqual(after[j] as number)
          }
        }
      })
    )
  })

  it('makes equal scores 0, and ranks equal ones alike', () => {
    expect(scaled([0.1, 0.1, 0.1], 'z')).toEqual([0, 0, 0])
    expect(midranks([2, 5, 2, Number.NEGATIVE_INFINITY])).toEqual([2.5, 1, 2.5, 4])
    expect(scaled([7], 'rank')).toEqual([0.5])
  })
})

describe('a blend', () => {
  const fixed = (name: string, ...scores: number[]): PlainScorer => ({ name, needs: ['text'], score: () => scores })
  const two = [candidate([-1]), candidate([-2])]
  const keeps: SessionScorer = { name: 'keeps', needs: [], begin: async () => ({ needs: [], score: () => [1, 2] }) }

  it('adds weighted scores, each on its own scale', async () => {
    const scorer = blend(
      [
        { scorer: fixed('a', 0, 10), weight: 2 },
        { scorer: fixed('b', 3, 1), scale: 'none' }
      ],
      {
        scale: 'min-max'
      }
    )
    const session = await scorer.begin(race)
    expect([...((await session.score(two, scoring)) as Float64Array)]).toEqual([3, 3])
    expect(scorer).toMatchObject({ name: 'blend(2*a+1*b)', needs: ['text'] })
  })

  it('keeps minus infinity, whatever the others say', async () => {
    const low = fixed('low', Number.NEGATIVE_INFINITY, 0)
    const session = await blend([{ scorer: low }, { scorer: fixed('high', Number.POSITIVE_INFINITY, 0) }]).begin(race)
    expect((await session.score(two, scoring))[0]).toBe(Number.NEGATIVE_INFINITY)
  })

  it('opens, informs and ends the sessions of its parts, also when one cannot begin', async () => {
    const diary: string[] = []
    const keeping: SessionScorer = {
      name: 'keeping',
      needs: [],
      async begin() {
        return {
          needs: ['states'],
          score: () => [1, 2],
          kill: async (ids) => void diary.push(`kill ${ids}`),
          end: async () => void diary.push('end'),
          processedTokens: 7
        }
      }
    }
    const session = await blend([{ scorer: keeping }, { scorer: fixed('a', 1, 1) }]).begin(race)
    await session.kill?.([1])
    expect(session).toMatchObject({ needs: ['states', 'text'], processedTokens: 7 })
    await session.end?.()
    const failing: SessionScorer = { name: 'failing', needs: [], begin: () => Promise.reject(new Error('no room')) }
    await expect(blend([{ scorer: keeping }, { scorer: failing }]).begin(race)).rejects.toMatchObject({
      code: 'SCORER_FAILED'
    })
    expect(diary).toEqual(['kill 1', 'end', 'end'])
  })

  it('of two that share scorers, in whatever order and depth, never waits for the other for good', async () => {
    // Each lends itself to one race at a time, as a reward model does.
    const lending = (name: string): SessionScorer => {
      let last = Promise.resolve()
      return {
        name,
        needs: [],
        async begin() {
          const before = last
          let free = () => {}
          last = new Promise((resolve) => {
            free = resolve
          })
          await before
          return { needs: [], score: () => [1, 2], end: async () => free() }
        }
      }
    }
    const [a, b, c] = ['a', 'b', 'c'].map(lending) as [SessionScorer, SessionScorer, SessionScorer]
    const orders = [
      [a, b, c],
      [c, b, a],
      [b, blend([{ scorer: c }, { scorer: a }])]
    ]
    let done = 0
    const races = Array.from({ length: 12 }, async (_, i) => {
      const own = blend((orders[i % 3] as SessionScorer[]).map((scorer) => ({ scorer })))
      const session = await own.begin(race)
      await new Promise((resolve) => setTimeout(resolve, 1))
      expect(await session.score(two, scoring)).toHaveLength(2)
      await session.end?.()
      done++
    })
    await Promise.race([Promise.all(races), new Promise((resolve) => setTimeout(resolve, 4000))])
    expect(done).toBe(12)
  })

  it('scales what a blend inside it says like any other part', async () => {
    const inner = blend([{ scorer: fixed('a', 0, 10) }, { scorer: fixed('b', 2, 4) }], { scale: 'none' })
    const session = await blend([{ scorer: inner, weight: 2 }, { scorer: fixed('c', 1, 0) }], {
      scale: 'min-max'
    }).begin(race)
    expect([...((await session.score(two, scoring)) as Float64Array)]).toEqual([1, 2])
  })

  it.each([
    [() => blend([]), 'Expected scorers for blend'],
    [() => blend([{ scorer: fixed('a'), weight: 0 }]), 'Expected a number above 0 for the weight of part 0 of blend'],
    [() => blend([{ scorer: fixed('a'), scale: 'zz' as 'z' }]), 'or { mean, deviation } for the scale of part 0'],
    [() => blend([{ scorer: null as unknown as PlainScorer }]), 'Expected a scorer for part 0 of blend'],
    [() => blend([{ scorer: keeps }, { scorer: blend([{ scorer: keeps }]) }]), 'Expected each scorer once for blend']
  ])('refuses what is not one: %#', (make, sentence) => {
    expect(make).toThrow(sentence)
  })
})
