import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { BranchCode } from '../src/binding.js'
import { Branches, type Taken } from '../src/branch.js'

function moved(rows: readonly (readonly [id: number, tokens: readonly number[], status?: number])[]): Taken {
  const tokens = rows.flatMap(([, written]) => written)
  return {
    branches: Int32Array.from(rows, ([id]) => id),
    counts: Int32Array.from(rows, ([, written]) => written.length),
    status: Uint8Array.from(rows, ([, , status]) => status ?? BranchCode.live),
    cuts: new Int32Array(rows.length),
    cutTokens: new Int32Array(rows.length),
    tokens: Int32Array.from(tokens),
    logprobs: Float32Array.from(tokens, (token) => -token),
    entropies: Float32Array.from(tokens, (token) => token / 2),
    certainties: new Float32Array(0),
    topConfidences: new Float32Array(0)
  }
}

describe('branches', () => {
  it('take their own slices of what was written', () => {
    const branches = new Branches(3)
    branches.apply(
      moved([
        [0, [1, 2]],
        [1, [3]],
        [2, []]
      ])
    )
    branches.apply(
      moved([
        [0, [4]],
        [2, [5, 6]]
      ])
    )
    expect(branches.all.map(({ tokens }) => [...tokens])).toEqual([[1, 2, 4], [3], [5, 6]])
    expect([...(branches.all[2]?.logprobs ?? [])]).toEqual([-5, -6])
    expect([...(branches.all[0]?.entropies ?? [])]).toEqual([0.5, 1, 2])
    expect(branches.tokens).toBe(6)
  })

  it('finish with the reason the pool gives', () => {
    const branches = new Branches(4)
    branches.apply(
      moved([
        [0, [], BranchCode.end],
        [1, [], BranchCode.stop],
        [2, [1], BranchCode.length],
        [3, [1]]
      ])
    )
    expect(branches.all.map(({ status }) => status)).toEqual([
      { state: 'finished', reason: 'end' },
      { state: 'finished', reason: 'stop' },
      { state: 'finished', reason: 'length' },
      { state: 'live' }
    ])
    expect(branches.settled).toBe(false)
    branches.finishLive('full')
    expect(branches.all[3]?.status).toEqual({ state: 'finished', reason: 'full' })
    expect(branches.settled).toBe(true)
  })

  it('call length "context" where the context cut it short', () => {
    const branches = new Branches(1, 'context')
    branches.apply(moved([[0, [1], BranchCode.length]]))
    expect(branches.all[0]?.status).toEqual({ state: 'finished', reason: 'context' })
  })

  it('refuse to kill, or to write to, one that is not live', () => {
    const branches = new Branches(2)
    branches.kill([0], 5, 'rejected')
    expect(branches.all[0]?.status).toEqual({ state: 'killed', at: 5, why: 'rejected' })
    expect(() => branches.kill([0], 6, 'again')).toThrow('Expected a live branch but received branch 0, which is not')
    expect(() => branches.kill([9], 6, 'who')).toThrow('branch 9')
    expect(() => branches.apply(moved([[0, [1]]]))).toThrow('branch 0')
  })

  it('keep every token through growth, and always partition into live, finished and killed', () => {
    const action = fc.oneof(
      fc.record({ kind: fc.constant('write' as const), count: fc.integer({ min: 0, max: 200 }), id: fc.nat(5) }),
      fc.record({ kind: fc.constantFrom('kill' as const, 'end' as const), count: fc.constant(0), id: fc.nat(5) })
    )
    fc.assert(
      fc.property(fc.array(action, { maxLength: 40 }), (actions) => {
        const branches = new Branches(6)
        const written: number[][] = [[], [], [], [], [], []]
        for (const { kind, id, count } of actions) {
          if (branches.all[id]?.status.state !== 'live') continue
          const tokens = Array.from({ length: count }, (_, i) => i + id)
          if (kind === 'kill') branches.kill([id], 0, 'x')
          else branches.apply(moved([[id, tokens, kind === 'end' ? BranchCode.end : BranchCode.live]]))
          if (kind !== 'kill') written[id]?.push(...tokens)
        }
        expect(branches.all.map(({ tokens }) => [...tokens])).toEqual(written)
        const parts = [...branches.live, ...branches.finished, ...branches.killed].map(({ id }) => id)
        expect(parts.sort()).toEqual([0, 1, 2, 3, 4, 5])
      })
    )
  })
})
