import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { auroc, kendall, ranksOf } from '../src/ranking.js'

// Few values, so that ties are common.
const value = fc.integer({ min: -3, max: 3 })
const lists = fc.array(fc.tuple(value, value, fc.boolean()), { minLength: 2, maxLength: 40 })

describe('ranking', () => {
  it('has an AUROC that is the share of pairs in the right order', () =>
    fc.assert(
      fc.property(lists, (rows) => {
        let [pairs, won] = [0, 0]
        for (const [high, , right] of rows) {
          for (const [low, , other] of rows) {
            if (!right || other) continue
            pairs++
            won += high > low ? 1 : high === low ? 0.5 : 0
          }
        }
        const found = auroc(
          rows.map(([score]) => score),
          rows.map(([, , right]) => right)
        )
        if (pairs === 0) expect(found).toBeNull()
        else expect(found).toBeCloseTo(won / pairs, 10)
      })
    ))

  it("has Kendall's tau-b as its definition counts it", () =>
    fc.assert(
      fc.property(lists, (rows) => {
        let [sum, a, b] = [0, 0, 0]
        for (const [i, [x, y]] of rows.entries()) {
          for (const [u, v] of rows.slice(0, i)) {
            sum += Math.sign(x - u) * Math.sign(y - v)
            a += x === u ? 0 : 1
            b += y === v ? 0 : 1
          }
        }
        const found = kendall(
          rows.map(([x]) => x),
          rows.map(([, y]) => y)
        )
        if (a === 0 || b === 0) expect(found).toBeNull()
        else expect(found).toBeCloseTo(sum / Math.sqrt(a * b), 10)
      })
    ))

  it('gives equal values the mean of their ranks', () => {
    expect([...ranksOf([3, 1, 3, 2])]).toEqual([3.5, 1, 3.5, 2])
  })
})
