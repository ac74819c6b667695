import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { every } from '../src/checkpoint.js'
import { specReject } from '../src/policies/spec-reject.js'
import { Shadow } from '../src/server/shadow.js'
import { sparing } from '../src/server/spare.js'
import { fakeEngine } from './fakes/engine.js'

const harsh = () => specReject({ alpha: 0.9, checkpoints: every(4) })

describe('a policy that spares n', () => {
  it('is itself where one answer is wanted', () => {
    const policy = harsh()
    expect(sparing(policy, 1)).toBe(policy)
  })

  it('leaves n answers, the best of those there were', async () => {
    const { engine } = fakeEngine({ length: () => 20 })
    const { branches } = await engine.bestOf(16, 'hi', { policy: sparing(harsh(), 5) })
    const left = branches.filter(({ status }) => status.state === 'finished').map(({ id }) => id)
    // The scores of the script are the ids.
    expect(left).toEqual([11, 12, 13, 14, 15])
  })

  it('never leaves fewer, whatever the scores and lengths', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 12 }),
        fc.integer({ min: 1, max: 12 }),
        fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 12, maxLength: 12 }),
        async (n, more, numbers) => {
          const script = {
            length: (id: number) => numbers[id % 12] as number,
            score: (id: number) => (numbers[(id + 5) % 12] as number) % 4
          }
          const { branches } = await fakeEngine(script).engine.bestOf(n + more, 'hi', { policy: sparing(harsh(), n) })
          const left = branches.filter(({ status }) => status.state === 'finished').length
          expect(left).toBeGreaterThanOrEqual(n)
        }
      ),
      { numRuns: 60 }
    )
  })
})

describe('a shadow', () => {
  // Everybody's score is its id, until late: then the first is the best of all.
  const late = { length: () => 20, score: (id: number, tokens: number) => (id === 0 && tokens > 10 ? 99 : id) }

  it('lives on unseen, and says that rejection cost the best answer', async () => {
    const { engine } = fakeEngine(late)
    const plain = await engine.bestOf(8, 'hi', { policy: harsh() })
    const shadow = new Shadow(0)
    const shadowed = await engine.bestOf(8, 'hi', { policy: shadow.over(harsh()) })
    expect(shadowed.winner?.id).toBe(plain.winner?.id)
    expect(shadowed.branches[0]?.score).toBe(99)
    expect([...shadow.hidden]).toEqual([0])
    expect(shadow.outcome(shadowed)).toBe('better')
    const others = ({ branches }: typeof plain) => branches.slice(1).map(({ status }) => status)
    expect(others(shadowed)).toEqual(others(plain))
  })

  it('says that it would have lost, and nothing of one that was not rejected', async () => {
    const { engine } = fakeEngine(late)
    const loser = new Shadow(1)
    expect(loser.outcome(await engine.bestOf(8, 'hi', { policy: loser.over(harsh()) }))).toBe('worse')
    const winner = new Shadow(7)
    expect(winner.outcome(await engine.bestOf(8, 'hi', { policy: winner.over(harsh()) }))).toBeNull()
    expect(winner.hidden.size).toBe(0)
  })
})
