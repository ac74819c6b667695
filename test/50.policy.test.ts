import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { at, every } from '../src/checkpoint.js'
import { bestOfN } from '../src/policies/best-of-n.js'
import { randomKill } from '../src/policies/random-kill.js'
import { specReject } from '../src/policies/spec-reject.js'
import { highest, roundHalfEven, type Standing, type View } from '../src/policy.js'

function standing(id: number, changes: Partial<Standing> = {}): Standing {
  return { id, state: 'live', reason: null, score: 0, scores: [], tokens: 32, fresh: false, ...changes }
}

function view(branches: readonly Standing[], changes: Partial<View> = {}): View {
  return { index: 0, tokens: 32, last: false, branches, seed: 7, memory: undefined, ...changes }
}

const tables = fc
  .array(
    fc.record({
      state: fc.constantFrom('live', 'live', 'finished', 'killed') as fc.Arbitrary<Standing['state']>,
      score: fc.oneof(fc.integer({ min: -3, max: 3 }), fc.double({ noNaN: true }))
    }),
    { minLength: 1, maxLength: 80 }
  )
  .map((rows) =>
    rows.map(({ state, score }, id) => standing(id, { state, score, reason: state === 'finished' ? 'end' : null }))
  )
const alphas = fc.double({ min: 0, max: 0.999, noNaN: true })
const live = (branches: readonly Standing[]) => branches.filter((branch) => branch.state === 'live')

describe('bestOfN', () => {
  it('kills nobody', () => {
    fc.assert(
      fc.property(tables, (branches) => {
        expect(bestOfN().decide(view(branches)).kill).toEqual([])
      })
    )
  })
})

describe('specReject', () => {
  it('rejects the lower half of the live branches', () => {
    const branches = [3, 1, 2, 4].map((score, id) => standing(id, { score }))
    expect(specReject().decide(view(branches)).kill).toEqual([2, 1])
  })

  it('lets the lower id live among equal scores', () => {
    const branches = [1, 1, 1, 1].map((score, id) => standing(id, { score }))
    expect(specReject().decide(view(branches)).kill).toEqual([2, 3])
  })

  it('takes no notice of finished branches', () => {
    const finished = [9, 8, 7].map((score, i) => standing(i + 2, { score, state: 'finished', reason: 'end' }))
    const branches = [standing(0, { score: 1 }), standing(1, { score: 2 }), ...finished]
    expect(specReject().decide(view(branches)).kill).toEqual([0])
  })

  it('kills only live branches, never the last one, and keeps round-half-even((1 - alpha) live)', () => {
    fc.assert(
      fc.property(tables, alphas, (branches, alpha) => {
        const { kill } = specReject({ alpha }).decide(view(branches))
        const candidates = live(branches)
        expect(new Set(kill).size).toBe(kill.length)
        for (const id of kill) expect(branches[id]?.state).toBe('live')
        const kept = candidates.length - kill.length
        expect(kept).toBe(Math.min(candidates.length, Math.max(1, roundHalfEven((1 - alpha) * candidates.length))))
      })
    )
  })

  it('kills nobody who scores above a survivor', () => {
    fc.assert(
      fc.property(tables, alphas, (branches, alpha) => {
        const killed = new Set(specReject({ alpha }).decide(view(branches)).kill)
        const scores = (dead: boolean) =>
          live(branches)
            .filter((branch) => killed.has(branch.id) === dead)
            .map((branch) => branch.score as number)
        expect(Math.max(...scores(true))).toBeLessThanOrEqual(Math.min(...scores(false)))
      })
    )
  })

  it('kills more with a larger alpha, and the same ones among them', () => {
    fc.assert(
      fc.property(tables, alphas, alphas, (branches, a, b) => {
        const [less, more] = a < b ? [a, b] : [b, a]
        const gentle = specReject({ alpha: less }).decide(view(branches)).kill
        const harsh = new Set(specReject({ alpha: more }).decide(view(branches)).kill)
        for (const id of gentle) expect(harsh).toContain(id)
      })
    )
  })

  it('refuses a score that is not a number', () => {
    const branches = [standing(0, { score: Number.NaN }), standing(1)]
    expect(() => specReject().decide(view(branches))).toThrow('Expected a score for branch 0 but received NaN')
  })

  it.each([1.5, 1, -0.1, Number.NaN])('refuses alpha of %s', (alpha) => {
    const sentence = `Expected a number from 0 to below 1 for alpha but received ${alpha}`
    expect(() => specReject({ alpha })).toThrow(sentence)
    expect(() => randomKill({ alpha })).toThrow(sentence)
  })

  it('brings its own checkpoints', () => {
    expect(specReject({ checkpoints: at([5]) }).checkpoints.next(0)).toBe(5)
    expect(specReject({ paper: true, checkpoints: every(9) }).checkpoints.next(0)).toBe(9)
    expect(specReject().checkpoints.next(0)).toBe(32)
  })
})

describe('randomKill', () => {
  it('kills as many as specReject, the same ones for the same seed', () => {
    fc.assert(
      fc.property(tables, alphas, fc.nat(), (branches, alpha, seed) => {
        const kill = () => randomKill({ alpha }).decide(view(branches, { seed })).kill
        expect(kill().length).toBe(specReject({ alpha }).decide(view(branches)).kill.length)
        expect(kill()).toEqual(kill())
        for (const id of kill()) expect(branches[id]?.state).toBe('live')
      })
    )
  })

  it('chooses others at another seed or checkpoint, and each about equally often', () => {
    const branches = Array.from({ length: 8 }, (_, id) => standing(id))
    const deaths = new Array<number>(8).fill(0)
    for (let seed = 0; seed < 4000; seed++) {
      for (const id of randomKill().decide(view(branches, { seed, index: seed % 3 })).kill) {
        deaths[id] = (deaths[id] as number) + 1
      }
    }
    for (const count of deaths) expect(Math.abs(count - 2000)).toBeLessThan(160)
  })
})

describe('the winner', () => {
  it('is the finished branch with the highest score, the lower id among equals', () => {
    const branches = [2, 5, 5].map((score, id) => standing(id, { score, state: 'finished', reason: 'end' }))
    expect(highest(branches)).toBe(1)
  })

  it('is never a killed one', () => {
    const branches = [standing(0, { score: 9, state: 'killed' }), standing(1, { state: 'finished', reason: 'stop' })]
    expect(highest(branches)).toBe(1)
  })

  it('is a cut-off answer only where no whole one exists', () => {
    const cut = standing(0, { score: 9, state: 'finished', reason: 'deadline' })
    const whole = standing(1, { score: 1, state: 'finished', reason: 'length' })
    expect(highest([cut, whole])).toBe(1)
    expect(highest([cut])).toBe(0)
    expect(highest([{ ...cut, tokens: 0 }])).toBeNull()
  })
})

it('rounds halves to the even neighbour', () => {
  expect([0.5, 1.5, 2.5, 3.5, 2.4999, 2.5001].map(roundHalfEven)).toEqual([0, 2, 2, 4, 2, 3])
})
