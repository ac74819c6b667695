import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { every } from '../src/checkpoint.js'
import type { Contender } from '../src/contender.js'
import { bestOfN } from '../src/policies/best-of-n.js'
import { specReject } from '../src/policies/spec-reject.js'
import { stopWhenDecided } from '../src/policies/stop-when-decided.js'
import type { Policy, Standing, View } from '../src/policy.js'
import { type Shaper, undecided } from '../src/shaper.js'
import { budgetLength, lengthBudget } from '../src/shapers/budget-length.js'
import { cosineLength } from '../src/shapers/cosine-length.js'
import { groupLength } from '../src/shapers/group-length.js'
import { lengthPenalty } from '../src/shapers/length-penalty.js'
import { overlongPenalty } from '../src/shapers/overlong-penalty.js'
import { relativeLength } from '../src/shapers/relative-length.js'
import { sigmoidLength } from '../src/shapers/sigmoid-length.js'

/** [right, tokens, raw] in short. */
type Row = readonly [right: boolean | null, tokens: number, raw?: number]

function contenders(rows: readonly Row[]): Contender[] {
  return rows.map(([right, tokens, raw = 0], id) => ({ id, text: '', tokens, reason: 'end', raw, rewards: [], right }))
}

const rows = fc.array(
  fc.tuple(fc.boolean(), fc.nat(3000), fc.double({ min: -50, max: 50, noNaN: true })) as fc.Arbitrary<Row>,
  { minLength: 1, maxLength: 20 }
)
const unverified = rows.map((all) => all.map(([, tokens, raw]): Row => [null, tokens, raw ?? 0]))
const close = (shaped: readonly number[], wanted: readonly number[]) => {
  expect(shaped).toHaveLength(wanted.length)
  for (const [i, value] of shaped.entries()) expect(value).toBeCloseTo(wanted[i] as number, 6)
}

/** Each formula with values worked out by hand. */
const table: readonly [name: string, shaper: Shaper, rows: readonly Row[], shaped: readonly number[]][] = [
  // 1 - 0.001 L and 0 - 0.001 L; without a verifier raw - 0.001 L.
  [
    'length penalty',
    lengthPenalty({ alpha: 0.001 }),
    [
      [true, 200],
      [false, 200],
      [null, 500, 2]
    ],
    [0.8, -0.2, 1.5]
  ],
  // max 100, cache 20: nothing to 80, then (80 - L) / 20, then -1.
  [
    'overlong penalty',
    overlongPenalty({ max: 100, cache: 20 }),
    [
      [true, 80],
      [true, 90],
      [true, 100],
      [true, 101],
      [false, 95],
      [null, 90, 7]
    ],
    [1, 0.5, 0, 0, -0.75, 6.5]
  ],
  // Right lengths 100 and 300: mean 200, deviation 100, z = -1 and 1; sigmoid(-1) = 0.26894142, sigmoid(1) = 0.73105858.
  [
    'sigmoid length',
    sigmoidLength({ alpha: 0.1 }),
    [
      [true, 100],
      [true, 300],
      [false, 50]
    ],
    [0.973105858, 0.926894142, 0]
  ],
  // lambda = 0.5 - (L - 100) / 200: 0.5, 0, -0.5. A wrong answer gains nothing by being short.
  [
    'group length',
    groupLength(),
    [
      [true, 100],
      [true, 200],
      [true, 300],
      [false, 100],
      [false, 300]
    ],
    [1.5, 1, 0.5, 0, -0.5]
  ],
  // Mean length 200, mean accuracy 0.5: 200/100 - 1 + 5/2 = 3.5; 200/300 - 1 - 5/2 = -2.83, cut to -2.
  [
    'relative length',
    relativeLength(),
    [
      [true, 100],
      [false, 300]
    ],
    [3.5, -2]
  ],
  // Mean length 170, mean accuracy 0.5: 170/40 - 1 + 0.5 = 3.75; 170/300 - 1 - 0.5 = -0.933333.
  [
    'relative length with lambda 1',
    relativeLength({ lambda: 1 }),
    [
      [true, 40],
      [false, 300]
    ],
    [3.75, -0.933333333]
  ],
  // L_max 100: cos 0 = 1, cos(pi / 2) = 0, cos pi = -1; beyond, -10.
  [
    'cosine length',
    cosineLength({ max: 100 }),
    [
      [true, 0],
      [true, 50],
      [true, 100],
      [false, 0],
      [false, 50],
      [false, 100],
      [true, 101],
      [false, 101]
    ],
    [1, 0.5, 0, -1, -0.5, 0, -10, -10]
  ],
  // The authors' example: wrong -10..0, right 1..2, exceeded -10.
  [
    'cosine length with the authors’ example',
    cosineLength({ max: 100, right: [1, 2], wrong: [-10, 0] }),
    [
      [true, 0],
      [true, 100],
      [false, 0],
      [false, 100]
    ],
    [2, 1, -10, 0]
  ],
  // |1000 - L| / 3000 off.
  [
    'exact budget',
    budgetLength({ kind: 'exact', budget: 1000 }),
    [
      [true, 1300],
      [false, 700]
    ],
    [0.9, -0.1]
  ],
  // (clip((1000 - L) / 500, -1, 1) + 1) / 2.
  [
    'largest budget',
    budgetLength({ budget: 1000 }),
    [
      [true, 400],
      [true, 750],
      [true, 1000],
      [true, 1250],
      [true, 1600],
      [false, 400]
    ],
    [1, 0.75, 0.5, 0.25, 0, 0]
  ]
]

describe.each(table)('%s', (_name, shaper, given, wanted) => {
  it('gives the values worked out by hand', () => {
    close(shaper.shape(contenders(given)), wanted)
  })

  it('is pure and never NaN', () => {
    const any = fc.array(fc.tuple(fc.constantFrom(true, false, null), fc.nat(5000), fc.double({ noNaN: true })), {
      maxLength: 12
    }) as fc.Arbitrary<Row[]>
    fc.assert(
      fc.property(any, (all) => {
        const shaped = shaper.shape(contenders(all))
        expect(shaped).toHaveLength(all.length)
        expect(shaped.some(Number.isNaN)).toBe(false)
        expect(shaper.shape(contenders(all))).toEqual(shaped)
      })
    )
  })
})

describe('the formulas, written down a second time', () => {
  const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length

  it('sigmoid length', () => {
    fc.assert(
      fc.property(rows, (all) => {
        const right = all.filter(([ok]) => ok).map(([, tokens]) => tokens)
        const deviation = Math.sqrt(mean(right.map((tokens) => tokens ** 2)) - mean(right) ** 2)
        fc.pre(right.length === 0 || deviation > 1)
        const wanted = all.map(([ok, tokens]) => {
          const z = (tokens - mean(right)) / (deviation + 1e-7)
          return ok ? 1 - (0.3 * Math.exp(z)) / (1 + Math.exp(z)) : 0
        })
        close(sigmoidLength({ alpha: 0.3 }).shape(contenders(all)), wanted)
      })
    )
  })

  it('group length', () => {
    fc.assert(
      fc.property(rows, (all) => {
        const sorted = all.map(([, tokens]) => tokens).sort((a, b) => a - b)
        const [low, high] = [sorted[0] as number, sorted.at(-1) as number]
        const wanted = all.map(([ok, tokens]) => {
          if (low === high) return ok ? 1 : 0
          const lambda = (high - tokens) / (high - low) - 0.5
          return ok ? 1 + 2 * lambda : 2 * Math.min(lambda, 0)
        })
        close(groupLength({ weight: 2 }).shape(contenders(all)), wanted)
      })
    )
  })

  it('relative length', () => {
    fc.assert(
      fc.property(rows, (all) => {
        const lengths = all.map(([, tokens]) => tokens || 1)
        const share = all.filter(([ok]) => ok).length / all.length
        const wanted = all.map(([ok], i) => {
          const reward = (mean(lengths) - (lengths[i] as number)) / (lengths[i] as number) + 5 * (Number(ok) - share)
          return [-2, reward, 4].sort((a, b) => a - b)[1] as number
        })
        close(relativeLength().shape(contenders(all)), wanted)
      })
    )
  })

  it('cosine length, by the half-angle', () => {
    fc.assert(
      fc.property(rows, (all) => {
        const wanted = all.map(([ok, tokens]) => {
          if (tokens > 1000) return -3
          const half = Math.cos((Math.PI * tokens) / 2000) ** 2
          return ok ? half : -half
        })
        close(cosineLength({ max: 1000, exceed: -3 }).shape(contenders(all)), wanted)
      })
    )
  })
})

describe('without a verifier', () => {
  const alphas = fc.double({ min: 0, max: 1, noNaN: true })

  it.each([
    ['length penalty', (alpha: number) => lengthPenalty({ alpha })],
    ['sigmoid length', (alpha: number) => sigmoidLength({ alpha })],
    ['group length', (alpha: number) => groupLength({ weight: alpha })],
    ['exact budget', (alpha: number) => budgetLength({ kind: 'exact', budget: 100, alpha })]
  ])('a weight of 0 changes nothing: %s', (_name, shaper) => {
    fc.assert(
      fc.property(unverified, (all) => {
        const same = all.map(([, , raw]) => raw as number)
        close(shaper(0).shape(contenders(all)), same)
      })
    )
  })

  it('the answer chosen is never longer under a larger penalty', () => {
    const chosen = (all: readonly Row[], alpha: number) => {
      const shaped = lengthPenalty({ alpha }).shape(contenders(all))
      return (all[shaped.indexOf(Math.max(...shaped))] as Row)[1]
    }
    const whole = fc.array(fc.tuple(fc.constant(null), fc.nat(2000), fc.integer({ min: -9, max: 9 })), { minLength: 1 })
    fc.assert(
      fc.property(whole, fc.nat(64), fc.nat(64), (all, a, b) => {
        fc.pre(a < b)
        // Powers of two: the products are exact, and so are ties.
        expect(chosen(all, b / 64)).toBeLessThanOrEqual(chosen(all, a / 64))
      })
    )
  })

  it('a raw score of minus infinity stays one', () => {
    for (const [, shaper] of table) {
      const shaped = shaper.shape(
        contenders([
          [null, 10, Number.NEGATIVE_INFINITY],
          [null, 20, 1]
        ])
      )
      expect(shaped[0]).toBe(Number.NEGATIVE_INFINITY)
      expect(shaped[1]).toBeGreaterThan(-20)
    }
  })

  it('a bound holds for every longer candidate and is reached by one', () => {
    const bounded: Shaper[] = [
      lengthPenalty({ alpha: 0.01 }),
      overlongPenalty({ max: 300, cache: 100 }),
      cosineLength({ max: 400 }),
      budgetLength({ budget: 250 }),
      budgetLength({ kind: 'exact', budget: 250 })
    ]
    fc.assert(
      fc.property(fc.constantFrom(...bounded), fc.nat(600), alphas, (shaper, tokens, ceiling) => {
        const later = Array.from({ length: 700 }, (_, i): Row => [null, tokens + i, ceiling])
        const bound = shaper.bound?.(ceiling, tokens) as number
        expect(Math.max(...shaper.shape(contenders(later)))).toBeCloseTo(bound, 12)
      })
    )
  })

  it('what depends on the others has no bound', () => {
    const dependent = [sigmoidLength(), groupLength(), relativeLength(), budgetLength({ budget: () => 1 })]
    for (const shaper of dependent) {
      expect(shaper.bound).toBeUndefined()
      expect(() => stopWhenDecided({ policy: bestOfN(), shape: shaper, ceiling: 1 })).toThrow('a shaper with a bound')
    }
  })
})

describe('the budget of DAST', () => {
  it('lies between the right answers’ mean length and the longest, by the share of right ones', () => {
    expect(
      lengthBudget(
        contenders([
          [true, 100],
          [true, 200],
          [false, 900],
          [false, 5]
        ]),
        1000
      )
    ).toBe(575)
    expect(lengthBudget(contenders([[false, 100]]), 1000)).toBe(1000)
    expect(lengthBudget(contenders([[null, 100]]), 1000)).toBe(1000)
  })

  it('can be the budget of a length reward', () => {
    const budget = (all: readonly Contender[]) => lengthBudget(all, 1000)
    const shaper = budgetLength({ kind: 'exact', budget, alpha: 0.001 })
    close(
      shaper.shape(
        contenders([
          [true, 100],
          [true, 200],
          [false, 900],
          [false, 5]
        ])
      ),
      [0.525, 0.625, -0.325, -0.57]
    )
  })
})

describe('the early stop', () => {
  interface Scripted {
    readonly length: number
    readonly raw: number
  }
  const scripts = fc.array(
    fc.record({ length: fc.integer({ min: 1, max: 60 }), raw: fc.integer({ min: 0, max: 8 }).map((n) => n / 8) }),
    { minLength: 1, maxLength: 12 }
  )
  const penalties = fc.constantFrom(0, 1 / 256, 1 / 64, 1 / 16).map((alpha) => lengthPenalty({ alpha }))
  const shapers = fc.oneof(penalties, fc.constant(overlongPenalty({ max: 32, cache: 16 })))

  /** Runs a policy on branches whose lengths and final scores are known beforehand. */
  function play(scripted: readonly Scripted[], policy: Policy): { winner: number | null; tokens: number } {
    const killed = new Map<number, number>()
    let now = 0
    let view: View
    do {
      now = policy.checkpoints.next(now) ?? 1000
      const branches = scripted.map(({ length, raw }, id): Standing => {
        const at = killed.get(id)
        const state = at !== undefined ? 'killed' : length <= now ? 'finished' : 'live'
        const reason = state === 'finished' ? 'end' : null
        // A live branch's score is anything; only final ones are bounded by what they will be.
        const score = state === 'finished' ? raw : (7 * id + now) % 5
        return { id, state, reason, score, scores: [], tokens: Math.min(at ?? now, length), fresh: false }
      })
      const last = branches.every((branch) => branch.state !== 'live')
      view = { index: 0, tokens: now, last, branches, seed: 1, memory: undefined }
      for (const id of policy.decide(view).kill) killed.set(id, now)
    } while (!view.last && scripted.some(({ length }, id) => length > now && !killed.has(id)))
    const tokens = scripted.reduce((sum, { length }, id) => sum + Math.min(killed.get(id) ?? length, length), 0)
    return { winner: policy.choose?.(view) ?? null, tokens }
  }

  it('gives the winner of decoding to the end, with no more tokens', () => {
    let saved = 0
    fc.assert(
      fc.property(scripts, shapers, fc.integer({ min: 1, max: 9 }), (scripted, shape, step) => {
        const shaped = shape.shape(contenders(scripted.map(({ length, raw }) => [null, length, raw])))
        const exhaustive = shaped.indexOf(Math.max(...shaped))
        const policy = { ...bestOfN(), checkpoints: every(step) }
        const { winner, tokens } = play(scripted, stopWhenDecided({ policy, shape, ceiling: 1 }))
        expect(winner).toBe(exhaustive)
        const all = scripted.reduce((sum, { length }) => sum + length, 0)
        expect(tokens).toBeLessThanOrEqual(all)
        saved += all - tokens
      }),
      { numRuns: 2000, seed: 5 }
    )
    expect(saved).toBeGreaterThan(0)
  })

  it('never stops anything without a ceiling', () => {
    const shape = lengthPenalty({ alpha: 1 })
    expect(
      undecided(shape as Required<Shaper>, Number.POSITIVE_INFINITY, { id: 0, shaped: 5 }, [{ id: 1, tokens: 9 }])
    ).toEqual([1])
  })

  it('waits for a lower id that may still come out equal', () => {
    const shape = lengthPenalty({ alpha: 0.5 }) as Required<Shaper>
    const live = [
      { id: 0, tokens: 2 },
      { id: 2, tokens: 2 }
    ]
    expect(undecided(shape, 1, { id: 1, shaped: 0 }, live)).toEqual([0])
    expect(undecided(shape, 1, null, live)).toEqual([0, 2])
  })

  it('kills as its policy says until it is decided, and everybody then', () => {
    const live = (id: number): Standing => {
      return { id, state: 'live', reason: null, score: id, scores: [], tokens: 10, fresh: false }
    }
    const branches = [live(0), live(1), live(2), live(3)]
    const view: View = { index: 0, tokens: 10, last: false, branches, seed: 1, memory: undefined }
    const policy = stopWhenDecided({ policy: specReject(), shape: lengthPenalty({ alpha: 0.1 }), ceiling: 1 })
    expect(policy.decide(view)).toMatchObject({ kill: [1, 0], why: 'rejected' })
    const done: Standing = { ...live(0), state: 'finished', reason: 'end', score: 0.9, tokens: 2 }
    const decided = policy.decide({ ...view, branches: [done, ...branches.slice(1)] })
    expect([...decided.kill].sort()).toEqual([1, 2, 3])
    expect(decided.why).toBe('cannot win any more')
    const cut: Standing = { ...done, reason: 'deadline' }
    expect(policy.decide({ ...view, branches: [cut, ...branches.slice(1)] }).why).toBe('rejected')
    expect(policy.choose?.({ ...view, branches: [cut] })).toBe(0)
    expect(policy.choose?.({ ...view, branches: [live(0)] })).toBeNull()
  })
})

it.each([
  [() => lengthPenalty({ alpha: -1 }), 'Expected a number of at least 0 for alpha of lengthPenalty but received -1'],
  [() => lengthPenalty({} as { alpha: number }), 'alpha of lengthPenalty but received nothing'],
  [() => overlongPenalty({ max: 10, cache: 11 }), 'Expected at most max (10) tokens for cache of overlongPenalty'],
  [() => sigmoidLength({ alpha: 2 }), 'Expected a number from 0 to 1 for alpha of sigmoidLength but received 2'],
  [() => cosineLength({ max: 10, right: [1, 0] }), 'two finite numbers, the lower first, for right of cosineLength'],
  [() => cosineLength({ max: 10, exceed: 1 }), 'Expected at most 0 for exceed of cosineLength but received 1'],
  [() => budgetLength({ budget: -1 }), 'a number of tokens, at least 0, or a function for budget of budgetLength'],
  [() => budgetLength({ budget: 1, kind: 'min' as 'max' }), 'one of "exact", "max" for kind of budgetLength'],
  [() => budgetLength(null as never), 'Expected an object for the options of budgetLength but received null'],
  [() => groupLength({ wieght: 1 } as object), 'did you mean "weight"?']
])('refuses wrong options: %#', (make, sentence) => {
  expect(make).toThrow(sentence)
})
