import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { StudyArm } from '../src/report/study.js'
import { fewestPrompts, verdictsOf } from '../src/report/verdict.js'
import type { Interval } from '../src/statistics.js'
import { about, fakeArm, fakeStudy } from './fakes/study.js'

const random = 'random-kill:like=spec-reject'
const fewer = 'best-of-n:equal-tokens=spec-reject'

interface Figures {
  readonly tokens?: Interval
  readonly seconds?: Interval
  /** Of shares of right answers, against best-of-N, random kills and fewer candidates; null: no such arm. */
  readonly gain?: Interval
  readonly control?: Interval | null
  readonly few?: Interval | null
  readonly arm?: Partial<StudyArm>
  readonly others?: Partial<StudyArm>
}

function verdict({
  tokens = about(0.39, 0.01),
  seconds = about(0.4, 0.01),
  gain = about(-0.012, 0.02),
  control = about(0.2, 0.04),
  few = about(0.02, 0.03),
  arm = {},
  others = {}
}: Figures) {
  const against = {
    'best-of-n': { gain, tokens, seconds },
    ...(control !== null && { [random]: { gain: control } }),
    ...(few !== null && { [fewer]: { gain: few } })
  }
  const study = fakeStudy([
    fakeArm('best-of-n', others),
    fakeArm('spec-reject', arm, against),
    ...(control === null ? [] : [fakeArm(random, others)]),
    ...(few === null ? [] : [fakeArm(fewer, { n: 27.5, ...others })])
  ])
  const [first] = verdictsOf(study)
  if (first === undefined) throw new Error('no verdict')
  return first
}

const said = (figures: Figures) => verdict(figures).headline

describe('the headline', () => {
  it('says what is paid and what is lost where rejection pays', () => {
    expect(said({})).toBe('Rejection pays here: 39% of the tokens for 1.2 points fewer right')
    expect(said({ gain: about(0.013, 0.02) })).toBe('Rejection pays here: 39% of the tokens and 1.3 points more right')
    expect(said({ gain: about(0.0001, 0.02) })).toBe('Rejection pays here: 39% of the tokens and as many right')
    expect(said({ tokens: about(0.072, 0.01) })).toContain('7.2% of the tokens')
  })

  it('says that it pays at a loss only where fewer candidates lose more for certain', () => {
    const gain = about(-0.08, 0.02)
    expect(said({ gain, few: about(0.05, 0.02) })).toBe(
      'Rejection pays here: 39% of the tokens for 8.0 points fewer right, where fewer candidates do worse'
    )
    expect(said({ gain, few: about(0.01, 0.02) })).toBe(
      'Rejection does not pay here: 39% of the tokens for 8.0 points fewer right'
    )
    expect(said({ gain: about(-0.06, 0.03), few: null })).toBe(
      'It is open whether rejection pays here: 39% of the tokens for 6.0 points fewer right, with an interval down to −9.0 points'
    )
  })

  it('denies it where nothing is saved', () => {
    expect(said({ tokens: about(1.02, 0.01) })).toBe('Rejection does not pay here: it writes 102% of the tokens')
    expect(said({ tokens: about(0.99, 0.02) })).toMatch(/^It is open/)
    expect(said({ seconds: about(1.3, 0.1) })).toBe(
      'Rejection does not pay here: 39% of the tokens, but 130% of the time'
    )
    expect(said({ seconds: about(0.97, 0.1) })).toMatch(/^It is open .* but 97% of the time$/)
  })

  it('denies it where random kills or fewer candidates do better', () => {
    expect(said({ control: about(-0.1, 0.05) })).toMatch(
      /^Rejection does not pay .* random kills at that cost do better$/
    )
    expect(said({ few: about(-0.1, 0.05) })).toMatch(
      /^Rejection does not pay .* fewer candidates .* do better at that cost$/
    )
  })

  it('leaves open what the intervals leave open', () => {
    expect(said({ control: about(0.02, 0.03) })).toMatch(/^It is open .* random kills at that cost may do as well$/)
    expect(said({ control: about(0.02, 0.03), gain: about(-0.1, 0.05) })).toMatch(/^Rejection does not pay/)
    expect(said({ few: about(-0.002, 0.03) })).toMatch(/^It is open .* fewer candidates .* do as well at that cost$/)
    expect(said({ gain: about(0, 0.1) })).toMatch(/^It is open .* with an interval down to −10.0 points$/)
  })

  it('leaves open what too few prompts say, however clear it looks', () => {
    expect(said({ arm: { prompts: fewestPrompts - 1 }, gain: about(0) })).toBe(
      'It is open whether rejection pays here: 29 prompts, too few to say (39% of the tokens and as many right)'
    )
    expect(said({ arm: { prompts: 1 } })).toContain('1 prompt, too few')
    expect(said({ arm: { prompts: fewestPrompts } })).toMatch(/^Rejection pays/)
  })

  it('goes by regret where right answers are not known', () => {
    const unknown = { accuracy: null, regret: about(0, 0) }
    const figures = (regret: number, others: Partial<StudyArm> = { ...unknown, regret: about(0.2, 0.01) }): Figures => {
      return { arm: { accuracy: null, regret: about(regret, 0.005) }, others }
    }
    // Controls have more regret, the reference none: here all others have the same.
    expect(said(figures(0.18))).toMatch(/ 39% of the tokens and nothing lost of the score$| for a regret of /)
    const alone = { control: null, few: null }
    expect(said({ ...figures(0.015, unknown), ...alone })).toBe(
      'Rejection pays here: 39% of the tokens for a regret of 1.5 points'
    )
    expect(said({ ...figures(0.3, unknown), ...alone })).toMatch(/^Rejection does not pay here/)
    expect(said({ ...figures(0.02, unknown) })).toMatch(/random kills at that cost do better$/)
  })

  it('says why nothing can be said', () => {
    const [first] = verdictsOf(fakeStudy([fakeArm('best-of-n')]))
    expect(first).toMatchObject({ answer: 'open', headline: expect.stringContaining('no policy here rejects anybody') })
    const [alone] = verdictsOf({ ...fakeStudy([fakeArm('spec-reject')]), reference: null })
    expect(alone?.headline).toBe('Whether rejection pays cannot be said: there is no best-of-N to compare it with')
    const neither = { arm: { accuracy: null, regret: null } }
    expect(said(neither)).toContain('neither right answers nor scores of best-of-N are known')
  })

  it('follows the figures in all cases', () => {
    const interval = (low: number, high: number) =>
      fc.tuple(fc.double({ min: low, max: high, noNaN: true }), fc.double({ min: 0, max: 0.2, noNaN: true }))
    const cases = fc.record({
      tokens: interval(0.05, 1.3),
      seconds: interval(0.05, 1.3),
      gain: interval(-0.4, 0.2),
      control: fc.option(interval(-0.3, 0.3)),
      few: fc.option(interval(-0.3, 0.3)),
      prompts: fc.integer({ min: 1, max: 300 })
    })
    fc.assert(
      fc.property(cases, ({ prompts, ...figures }) => {
        const of = (pair: [number, number] | null) => (pair === null ? null : about(...pair))
        const { tokens, seconds, gain } = figures
        const [control, few] = [of(figures.control), of(figures.few)]
        const { answer, headline } = verdict({
          tokens: about(...tokens),
          seconds: about(...seconds),
          gain: about(...gain),
          control,
          few,
          arm: { prompts }
        })
        const begins = { pays: 'Rejection pays here', open: 'It is open', no: 'Rejection does not pay here' }
        expect(headline.startsWith(begins[answer])).toBe(true)
        expect(headline).not.toMatch(/NaN|undefined|Infinity/)
        if (answer === 'pays') {
          expect(prompts).toBeGreaterThanOrEqual(fewestPrompts)
          expect(Math.max(about(...tokens).high, about(...seconds).high)).toBeLessThan(1)
          expect(control?.low ?? 1).toBeGreaterThan(0)
          expect(few === null || few.mean > 0).toBe(true)
          expect(about(...gain).low >= -0.05 || (few?.low ?? 0) > 0).toBe(true)
        }
        if (answer === 'no') {
          const worse = [control?.high, few?.high, about(...gain).high].some((high) => (high ?? 0) < 0)
          expect(worse || about(...tokens).low >= 1 || about(...seconds).low >= 1).toBe(true)
        }
      })
    )
  })
})

describe('the figures below it', () => {
  it('give intervals, and what controls are missing', () => {
    expect(verdict({}).details).toEqual([
      'Cost: 39.0% [38.0, 40.0] of the tokens and 40.0% [39.0, 41.0] of the time of best-of-64, on 100 prompts.',
      'Right: 80.0% against 80.0% of best-of-64: −1.2 points [−3.2, +0.8].',
      'Against random kills (100% of its tokens): +20.0 points [+16.0, +24.0], it is better.',
      'Against best-of-27.5, fewer candidates and no rejection (100% of its tokens): +2.0 points [−1.0, +5.0], not settled.'
    ])
    const { details } = verdict({ control: null, few: null })
    expect(details[2]).toContain('No random kills at that cost are here')
    expect(details[3]).toContain('No best-of-N at that cost is here')
  })

  it('take no control that ranks by another scorer or costs something else', () => {
    const other = 'spec-reject:scorer=min-logprob'
    const gain = about(-0.1, 0.02)
    const tokens = about(0.4, 0.01)
    const arm = fakeArm(
      other,
      {},
      { 'best-of-n': { gain, tokens }, 'random-kill': { gain }, 'best-of-n:n=8': { gain, tokens } }
    )
    const study = fakeStudy([fakeArm('best-of-n'), arm, fakeArm('random-kill'), fakeArm('best-of-n:n=8')])
    expect(verdictsOf(study)[0]?.details.filter((detail) => detail.startsWith('No '))).toHaveLength(2)
  })
})
