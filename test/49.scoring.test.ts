import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { every } from '../src/checkpoint.js'
import { choiceKnob, countKnob, numberKnob, readKnobs } from '../src/knob.js'
import { bestOfN } from '../src/policies/best-of-n.js'
import { specReject } from '../src/policies/spec-reject.js'
import { stopWhenDecided } from '../src/policies/stop-when-decided.js'
import { scorerOf } from '../src/scorer.js'
import { blend } from '../src/scorers/blend.js'
import { lowestGroupConfidence } from '../src/scorers/confidence.js'
import { meanLogprob } from '../src/scorers/mean-logprob.js'
import { perplexity } from '../src/scorers/perplexity.js'
import { lengthPenalty } from '../src/shapers/length-penalty.js'
import { fakeEngine } from './fakes/engine.js'

const script = { length: (id: number) => 5 + ((id * 13) % 40) }

describe('in a race', () => {
  it('perplexity kills whom the mean log-probability kills', async () => {
    const { engine } = fakeEngine(script)
    const policy = specReject({ checkpoints: every(8) })
    const [a, b] = [
      await engine.bestOf(16, 'x', { policy, scorer: perplexity() }),
      await engine.bestOf(16, 'x', { policy, scorer: meanLogprob() })
    ]
    expect(a.scorer).toBe('perplexity')
    expect(a.branches.map(({ status }) => status)).toEqual(b.branches.map(({ status }) => status))
    expect(a.winner?.id).toBe(b.winner?.id)
    await engine.close()
  })

  it('a blend with one part of fixed scale kills whom that part kills', async () => {
    const { engine } = fakeEngine(script)
    const policy = specReject({ checkpoints: every(8) })
    const lone = lowestGroupConfidence({ window: 4 })
    const scorer = blend([{ scorer: lone, weight: 3, scale: { mean: -1, deviation: 2 } }])
    const [a, b] = [
      await engine.bestOf(16, 'x', { policy, scorer }),
      await engine.bestOf(16, 'x', { policy, scorer: lone })
    ]
    expect(a.branches.map(({ killedAt }) => killedAt)).toEqual(b.branches.map(({ killedAt }) => killedAt))
    expect(a.score).toBeCloseTo(((b.score as number) + 1) * 1.5, 9)
    await engine.close()
  })

  it('the early stop of a length penalty has the winner of decoding to the end, with fewer tokens', async () => {
    const shape = lengthPenalty({ alpha: 0.02 })
    // A probability that is known at the end only: before, everybody looks equally good.
    const scorer = scorerOf(
      (all) => all.map(({ id, state }) => (state === 'finished' ? ((id * 7) % 10) / 10 : 0.5)),
      'late'
    )
    const { engine } = fakeEngine(script)
    const stopping = stopWhenDecided({ policy: { ...bestOfN(), checkpoints: every(2) }, shape, ceiling: 1 })
    const stopped = await engine.bestOf(32, 'x', { policy: stopping, scorer })
    const whole = await engine.bestOf(32, 'x', { policy: { ...bestOfN(), choose: stopping.choose }, scorer } as object)
    expect(stopped.winner?.id).toBe(whole.winner?.id)
    expect(stopped.usage.generatedTokens).toBeLessThan(whole.usage.generatedTokens)
    expect(
      stopped.branches.some(({ status }) => status.state === 'killed' && status.why === 'cannot win any more')
    ).toBe(true)
    await engine.close()
  })
})

describe('the knobs of an option', () => {
  const knobs = {
    size: countKnob(4, 1, 'tokens'),
    share: numberKnob(0.5, 0, 1, 'a share'),
    kind: choiceKnob('a', 'a', 'b')
  }

  it('have their defaults, and what is undefined counts as not given', () => {
    expect(readKnobs('it', knobs, {})).toEqual({ size: 4, share: 0.5, kind: 'a' })
    expect(readKnobs('it', knobs, { size: undefined, kind: 'b' })).toEqual({ size: 4, share: 0.5, kind: 'b' })
  })

  it('take what is in their range and refuse the rest with a sentence', () => {
    fc.assert(
      fc.property(fc.anything(), (value) => {
        fc.pre(value !== undefined && value !== null)
        const fits = Number.isSafeInteger(value) && (value as number) >= 1
        const read = () => readKnobs('it', knobs, { size: value })
        if (fits) expect(read().size).toBe(value)
        else expect(read).toThrow('Expected a whole number of tokens, at least 1, for size of it but received')
      })
    )
  })

  it('are all the keys there are', () => {
    expect(() => readKnobs('it', knobs, { sise: 1 })).toThrow(
      'Expected a known option for it but received "sise"; did you mean "size"?'
    )
    expect(() => readKnobs('it', knobs, { zzzzzz: 1 })).toThrow('known are size, share, kind')
    expect(() => readKnobs('it', { must: numberKnob(undefined, 0, 1, 'a share') }, {})).toThrow(
      'Expected a share for must of it but received nothing'
    )
  })
})
