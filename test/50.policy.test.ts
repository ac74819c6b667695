import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { at, every } from '../src/checkpoint.js'
import { bestOfN } from '../src/policies/best-of-n.js'
import { keepEnough } from '../src/policies/keep-enough.js'
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

  it('spares whoever is nearer than the margin to the best live branch, however large the share', () => {
    const branches = [1, 0.95, 0.9, 0.2, 0.1].map((score, id) => standing(id, { score }))
    expect(specReject({ alpha: 0.9, margin: 0.11 }).decide(view(branches)).kill).toEqual([3, 4])
    expect(specReject({ alpha: 0.9, margin: 0.02 }).decide(view(branches)).kill).toEqual([1, 2, 3, 4])
    expect(specReject({ alpha: 0.2, margin: 0.11 }).decide(view(branches)).kill).toEqual([4])
  })

  it('measures the margin from the best live branch, not from a finished one', () => {
    const finished = standing(0, { score: 9, state: 'finished', reason: 'end' })
    const branches = [finished, standing(1, { score: 0 }), standing(2, { score: 0.05 })]
    expect(specReject({ alpha: 0.9, margin: 0.1 }).decide(view(branches)).kill).toEqual([])
  })

  it('kills, with a margin, the branches it would kill without one except the near ones', () => {
    const margins = fc.oneof(fc.constant(0), fc.double({ min: 0, max: 8, noNaN: true }))
    fc.assert(
      fc.property(tables, alphas, margins, (branches, alpha, margin) => {
        const scores = live(branches).map((branch) => branch.score as number)
        const best = Math.max(...scores)
        const near = (score: number) => margin > 0 && (score === best || best - score < margin)
        const without = specReject({ alpha }).decide(view(branches)).kill
        const expected = without.filter((id) => !near(branches[id]?.score as number))
        expect(specReject({ alpha, margin }).decide(view(branches)).kill).toEqual(expected)
      })
    )
  })

  it('refuses a margin that is none, and one beside the rule of the paper', () => {
    for (const margin of [-0.1, Number.NaN, Number.POSITIVE_INFINITY, '1' as unknown as number]) {
      expect(() => specReject({ margin })).toThrow('Expected a number from 0 for margin')
    }
    expect(() => specReject({ margin: 0.1, paper: true })).toThrow(
      "Expected no margin for the paper's rule but received 0.1"
    )
  })

  it('promises how many it keeps only where the scores have no say in it', () => {
    expect(specReject({ alpha: 0.5 }).keeps?.(10)).toBe(5)
    expect(specReject({ alpha: 0.5, margin: 0.1 }).keeps).toBeUndefined()
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

describe('keepEnough', () => {
  const logit = (chance: number) => Math.log(chance / (1 - chance))
  const chances = (...all: number[]) => all.map((chance, id) => standing(id, { score: logit(chance) }))

  it('keeps the best until enough right answers are to be expected', () => {
    const branches = chances(0.2, 0.9, 0.5, 0.7, 0.4)
    expect(keepEnough({ right: 1.5 }).decide(view(branches)).kill).toEqual([2, 4, 0])
    expect(keepEnough({ right: 1.7 }).decide(view(branches)).kill).toEqual([4, 0])
    expect(keepEnough({ right: 3 }).decide(view(branches)).kill).toEqual([])
  })

  it('keeps few of an easy prompt and nearly all of a hard one', () => {
    const easy = keepEnough({ right: 4 }).decide(view(chances(...Array(64).fill(0.8)))).kill
    const hard = keepEnough({ right: 4 }).decide(view(chances(...Array(64).fill(0.07)))).kill
    expect([easy.length, hard.length]).toEqual([59, 6])
  })

  it('kills the hopeless, however few are left, but never the last live branch', () => {
    expect(keepEnough({ hopeless: 0.1 }).decide(view(chances(0.09, 0.11, 0.01))).kill).toEqual([0, 2])
    expect(keepEnough({ hopeless: 0.1 }).decide(view(chances(0.02, 0.03, 0.01))).kill).toEqual([0, 2])
    const minus = [Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY].map((score, id) => standing(id, { score }))
    expect(keepEnough().decide(view(minus)).kill).toEqual([1])
    expect(keepEnough().decide(view([])).kill).toEqual([])
  })

  it('kills only live branches, none that scores above a survivor, and leaves enough where there is enough', () => {
    const rights = fc.double({ min: 0.01, max: 20, noNaN: true })
    const shares = fc.double({ min: 0, max: 0.5, noNaN: true })
    fc.assert(
      fc.property(tables, rights, shares, (branches, right, hopeless) => {
        const killed = new Set(keepEnough({ right, hopeless }).decide(view(branches)).kill)
        const [dead, alive] = [true, false].map((is) => live(branches).filter(({ id }) => killed.has(id) === is)) as [
          Standing[],
          Standing[]
        ]
        expect(dead.length).toBe(killed.size)
        expect(alive.length > 0).toBe(live(branches).length > 0)
        const chance = (branch: Standing) => 1 / (1 + Math.exp(-(branch.score as number)))
        expect(Math.max(...dead.map(chance))).toBeLessThanOrEqual(Math.min(...alive.map(chance)))
        const left = alive.reduce((sum, branch) => sum + chance(branch), 0)
        if (dead.some((branch) => chance(branch) >= hopeless)) expect(left).toBeGreaterThanOrEqual(right - 1e-9)
      })
    )
  })

  it.each([
    [{ right: 0 }, 'Expected a number above 0 for right but received 0'],
    [{ right: Number.POSITIVE_INFINITY }, 'Expected a number above 0 for right'],
    [{ hopeless: 1 }, 'Expected a number from 0 to below 1 for hopeless but received 1'],
    [{ hopeless: -0.1 }, 'for hopeless']
  ])('refuses %j', (options, sentence) => {
    expect(() => keepEnough(options)).toThrow(sentence)
  })

  it('refuses a branch without a score', () => {
    expect(() => keepEnough().decide(view([standing(0, { score: null })]))).toThrow('Expected a score for branch 0')
  })
})

describe('randomKill', () => {
  it('kills as many as another race did at the same tokens, and leaves one', () => {
    const branches = [5, 4, 3, 2, 1].map((score, id) => standing(id, { score }))
    const policy = randomKill({
      like: [
        { tokens: 32, killed: 2 },
        { tokens: 64, killed: 9 }
      ]
    })
    expect(policy.checkpoints.name).toBe('at:32+64')
    expect(policy.decide(view(branches)).kill).toHaveLength(2)
    expect(policy.decide(view(branches, { tokens: 64 })).kill).toHaveLength(4)
    expect(policy.decide(view(branches, { tokens: 40 })).kill).toEqual([])
    expect(policy.decide(view([], { tokens: 64 })).kill).toEqual([])
  })

  it('chooses by lot, not by score, whom it kills instead of another race', () => {
    const like = [{ tokens: 32, killed: 3 }]
    const branches = Array.from({ length: 6 }, (_, id) => standing(id, { score: id }))
    const choices = [...Array(40).keys()].map((seed) =>
      randomKill({ like }).decide(view(branches, { seed })).kill.join()
    )
    expect(new Set(choices).size).toBeGreaterThan(10)
  })

  it('refuses kills that are no counts', () => {
    expect(() => randomKill({ like: [{ tokens: 8, killed: -1 }] })).toThrow(
      'Expected a whole number from 0 for the kills at 8 tokens but received -1'
    )
  })

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
