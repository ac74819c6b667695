import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { ShapedContender } from '../src/contender.js'
import type { Selection } from '../src/selection.js'
import { argmax } from '../src/selections/argmax.js'
import { rankMean } from '../src/selections/rank-mean.js'
import { softBestOfN, softmax } from '../src/selections/soft-best-of-n.js'
import { bordaVote, majorityVote, weightedVote } from '../src/selections/vote.js'

/** Texts are answers; "-" is none. */
function contender(id: number, shaped: number, text = '-', rewards: readonly number[] = []): ShapedContender {
  return { id, text, tokens: 1, reason: 'end', raw: shaped, rewards, right: null, shaped }
}
const extract = (text: string) => (text === '-' ? null : text)
const scores = fc.oneof(fc.integer({ min: -4, max: 4 }), fc.constant(Number.NEGATIVE_INFINITY))
const fields = fc
  .array(fc.tuple(scores, fc.constantFrom('a', 'b', 'c', '-'), scores), { minLength: 1, maxLength: 15 })
  .map((rows) => rows.map(([shaped, text, reward], id) => contender(id, shaped, text, [reward])))

const selections: readonly Selection[] = [
  argmax(),
  softBestOfN({ temperature: 0.5 }),
  majorityVote({ extract }),
  weightedVote({ extract }),
  weightedVote({ extract, weight: 'score' }),
  bordaVote({ extract }),
  rankMean()
]

/** The best by a list of values, compared one after another; the last of all is the lower id. */
function bestBy(all: readonly ShapedContender[], ...keys: ((one: ShapedContender) => number)[]): number {
  const sorted = [...all].sort((a, b) => {
    for (const key of keys) if (key(a) !== key(b)) return key(b) > key(a) ? 1 : -1
    return a.id - b.id
  })
  return (sorted[0] as ShapedContender).id
}

describe.each(selections.map((selection) => [selection.name, selection] as const))('%s', (_name, selection) => {
  it('chooses a contender, the same one for the same seed, and says why', () => {
    fc.assert(
      fc.property(fields, fc.nat(), (all, seed) => {
        const { id, why } = selection.select(all, seed)
        expect(all.map((one) => one.id)).toContain(id)
        expect(selection.select(all, seed)).toEqual({ id, why })
        expect(why).not.toBe('')
      })
    )
  })

  it('does not depend on the order it is given them in', () => {
    fc.assert(
      fc.property(fields, fc.nat(), (all, seed) => {
        // The draw of soft best-of-N goes through them in order, and its sums may round differently.
        if (selection.name.startsWith('soft')) return
        expect(selection.select([...all].reverse(), seed).id).toBe(selection.select(all, seed).id)
      })
    )
  })

  it('chooses nobody out of nobody', () => {
    expect(selection.select([], 1).id).toBeNull()
  })
})

it('argmax takes the highest score, ties to the lower id', () => {
  fc.assert(
    fc.property(fields, (all) => {
      expect(argmax().select(all, 0).id).toBe(bestBy(all, ({ shaped }) => shaped))
    })
  )
})

describe('soft best-of-N', () => {
  it('has the shares of a softmax', () => {
    const finite = fc.array(fc.double({ min: -20, max: 20, noNaN: true }), { minLength: 1, maxLength: 9 })
    fc.assert(
      fc.property(finite, fc.double({ min: 0.1, max: 10, noNaN: true }), (values, temperature) => {
        const exponentials = values.map((value) => Math.exp(value / temperature))
        const total = exponentials.reduce((a, b) => a + b, 0)
        for (const [i, share] of softmax(
          values.map((shaped) => ({ shaped })),
          temperature
        ).entries()) {
          expect(share).toBeCloseTo((exponentials[i] as number) / total, 9)
        }
      })
    )
  })

  it('draws as often as the shares say', () => {
    const all = [contender(0, 0), contender(1, Math.log(2)), contender(2, Math.log(5))]
    const drawn = [0, 0, 0]
    for (let seed = 0; seed < 8000; seed++) {
      const id = softBestOfN().select(all, seed).id as number
      drawn[id] = (drawn[id] as number) + 1
    }
    const wanted = [1000, 2000, 5000]
    const chi = drawn.reduce((sum, count, i) => sum + (count - (wanted[i] as number)) ** 2 / (wanted[i] as number), 0)
    // The 99.99th percentile at 2 degrees of freedom.
    expect(chi).toBeLessThan(18.4)
  })

  it('is nearly argmax when cold, and has a share for everybody when nothing is known', () => {
    const all = [contender(0, 1), contender(1, 1.5), contender(2, Number.NEGATIVE_INFINITY)]
    for (let seed = 0; seed < 50; seed++) expect(softBestOfN({ temperature: 0.01 }).select(all, seed).id).toBe(1)
    const low = { shaped: Number.NEGATIVE_INFINITY }
    expect(softmax([low, low], 1)).toEqual([0.5, 0.5])
    expect(softmax([low, { shaped: Number.POSITIVE_INFINITY }], 1)).toEqual([0, 1])
  })
})

describe('votes', () => {
  const votesOf = (all: readonly ShapedContender[], weight: (one: ShapedContender) => number) => {
    const sums = new Map<string, number>()
    const tops = new Map<string, number>()
    for (const one of all) {
      sums.set(one.text, (sums.get(one.text) ?? 0) + weight(one))
      tops.set(one.text, Math.max(tops.get(one.text) ?? Number.NEGATIVE_INFINITY, one.shaped))
    }
    return {
      sum: (one: ShapedContender) => sums.get(one.text) as number,
      top: (one: ShapedContender) => tops.get(one.text) as number
    }
  }
  const winner = (all: readonly ShapedContender[], weight: (one: ShapedContender) => number) => {
    const voters = all.filter(({ text }) => text !== '-')
    if (voters.length === 0) return bestBy(all, ({ shaped }) => shaped)
    const { sum, top } = votesOf(voters, weight)
    return bestBy(voters, sum, top, ({ shaped }) => shaped)
  }

  it('the majority agrees with counting', () => {
    fc.assert(
      fc.property(fields, (all) => {
        expect(majorityVote({ extract }).select(all, 0).id).toBe(winner(all, () => 1))
      })
    )
  })

  it('the weighted vote agrees with adding scores up', () => {
    fc.assert(
      fc.property(fields, (all) => {
        const selection = weightedVote({ extract, weight: 'score' })
        expect(selection.select(all, 0).id).toBe(winner(all, ({ shaped }) => Math.max(0, shaped)))
      })
    )
  })

  it('the Borda vote agrees with counting who is beaten', () => {
    fc.assert(
      fc.property(fields, (all) => {
        const points = (one: ShapedContender) => {
          const beaten = all.filter(({ shaped }) => shaped < one.shaped).length
          const equal = all.filter(({ shaped }) => shaped === one.shaped).length
          return (beaten + (equal + 1) / 2) ** 2
        }
        expect(bordaVote({ extract, power: 2 }).select(all, 0).id).toBe(winner(all, points))
      })
    )
  })

  it('many poor answers outvote a good one under a majority, and not under softmax weights', () => {
    const all = [contender(0, 0, 'a'), contender(1, 0, 'a'), contender(2, 3, 'b')]
    expect(majorityVote({ extract }).select(all, 0)).toEqual({ id: 0, why: '2 of 3 said "a"' })
    expect(weightedVote({ extract }).select(all, 0).id).toBe(2)
    expect(weightedVote({ extract, temperature: 100 }).select(all, 0).id).toBe(0)
  })

  it('a Borda power of 0 is a majority, a large one is argmax', () => {
    const all = [contender(0, 0, 'a'), contender(1, 1, 'a'), contender(2, 3, 'b')]
    expect(bordaVote({ extract, power: 0 }).select(all, 0).id).toBe(1)
    expect(bordaVote({ extract, power: 50 }).select(all, 0).id).toBe(2)
  })

  it('of those who gave the answer the highest score is shown, and without answers the highest of all', () => {
    const all = [contender(0, 1, 'a'), contender(1, 2, 'a'), contender(2, 9, 'b')]
    expect(majorityVote({ extract }).select(all, 0).id).toBe(1)
    expect(majorityVote({ extract }).select([contender(0, 1), contender(1, 2)], 0)).toEqual({
      id: 1,
      why: 'no answer in any; highest score'
    })
  })
})

describe('the rank mean', () => {
  it('agrees with counting how many are ahead under each reward', () => {
    fc.assert(
      fc.property(fields, (all) => {
        const rank = (value: (one: ShapedContender) => number) => (one: ShapedContender) =>
          all.filter((other) => value(other) > value(one)).length +
          all.filter((other) => value(other) === value(one)).length / 2
        const [first, second] = [rank(({ shaped }) => shaped), rank(({ rewards }) => rewards[0] as number)]
        expect(rankMean().select(all, 0).id).toBe(
          bestBy(
            all,
            (one) => -(first(one) + second(one)),
            (one) => -Math.max(first(one), second(one)),
            ({ shaped }) => shaped
          )
        )
      })
    )
  })

  it('prefers what pleases both to what games one', () => {
    const all = [
      contender(0, 99, '', [-5]),
      contender(1, 2, '', [2]),
      contender(2, 1, '', [3]),
      contender(3, 0, '', [-9])
    ]
    expect(rankMean().select(all, 0)).toMatchObject({ id: 1, why: 'mean rank 2.0 of 4 under 2 rewards' })
  })
})

it.each([
  [() => softBestOfN({ temperature: 0 }), 'Expected a number above 0 for temperature of softBestOfN but received 0'],
  [() => majorityVote({} as never), 'Expected a function for extract of majorityVote but received nothing'],
  [() => weightedVote({ extract, weight: 'rank' as 'score' }), 'one of "softmax", "score" for weight of weightedVote'],
  [() => bordaVote({ extract, power: -1 }), 'a number from 0 to 100 for power of bordaVote'],
  [() => bordaVote({ extract, powr: 1 } as never), 'did you mean "power"?']
])('refuses wrong options: %#', (make, sentence) => {
  expect(make).toThrow(sentence)
})
