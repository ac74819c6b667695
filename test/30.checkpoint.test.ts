import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { at, doubling, every, never } from '../src/checkpoint.js'

const counts = fc.array(fc.integer({ min: 1, max: 5000 }), { maxLength: 20 })
const kinds = fc.oneof(
  counts.map((list) => at(list)),
  fc.integer({ min: 1, max: 500 }).map((interval) => every(interval)),
  fc.integer({ min: 1, max: 500 }).map((from) => doubling(from))
)

describe('checkpoints', () => {
  it('come at the counts given, in order, each once', () => {
    const checkpoints = at([64, 16, 64])
    expect([checkpoints.next(0), checkpoints.next(16), checkpoints.next(64)]).toEqual([16, 64, null])
  })

  it('come every so many tokens', () => {
    const checkpoints = every(32)
    expect([0, 31, 32, 100].map((after) => checkpoints.next(after))).toEqual([32, 32, 64, 128])
  })

  it('double from the first', () => {
    const checkpoints = doubling(16)
    expect([0, 16, 17, 32, 1000].map((after) => checkpoints.next(after))).toEqual([16, 32, 32, 64, 1024])
  })

  it('never come when there are none', () => {
    expect(never.next(0)).toBeNull()
  })

  it('always lie ahead, and no earlier one is passed over', () => {
    fc.assert(
      fc.property(kinds, fc.integer({ min: 0, max: 6000 }), (checkpoints, after) => {
        const next = checkpoints.next(after)
        if (next === null) return
        expect(next).toBeGreaterThan(after)
        expect(checkpoints.next(next - 1)).toBe(next)
      })
    )
  })

  it.each([0, -1, 1.5, Number.NaN, 1e300])('refuse %s tokens', (count) => {
    expect(() => at([count])).toThrow(
      `Expected a whole number of tokens, at least 1, for a checkpoint but received ${count}`
    )
    expect(() => every(count)).toThrow('Expected a whole number of tokens')
    expect(() => doubling(count)).toThrow('Expected a whole number of tokens')
  })
})
