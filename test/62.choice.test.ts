import { describe, expect, it } from 'vitest'
import { every } from '../src/checkpoint.js'
import { judgeOf } from '../src/judge.js'
import { ended } from '../src/judges/threshold.js'
import { pipeline } from '../src/pipeline.js'
import { specReject } from '../src/policies/spec-reject.js'
import { type SessionScorer, scorerOf } from '../src/scorer.js'
import { rewardHead } from '../src/scorers/head.js'
import { rankMean } from '../src/selections/rank-mean.js'
import { lengthPenalty } from '../src/shapers/length-penalty.js'
import { fakeEngine } from './fakes/engine.js'

const script = { length: (id: number) => 10 + id }
const byId = scorerOf((all) => all.map(({ id }) => id), 'id')

describe('the final choice of a race', () => {
  it('is the pipeline’s, over the finished answers and their texts', async () => {
    const { engine } = fakeEngine(script)
    const seen: string[] = []
    const judge = judgeOf(({ id, text, tokens }) => {
      seen.push(`${id} ${text.length} ${tokens}`)
      return id < 3
    }, 'small')
    const result = await engine.bestOf(5, 'x', { scorer: byId, pipeline: pipeline({ judges: [judge] }) })
    expect(seen).toEqual(['0 10 10', '1 11 11', '2 12 12', '3 13 13', '4 14 14'])
    expect(result.winner?.id).toBe(2)
    expect(result.choice).toMatchObject({ winner: 2, verdict: 'accepted', failure: null })
    await engine.close()
  })

  it('leaves killed branches out, and answers that were cut off while there are others', async () => {
    const { engine } = fakeEngine({ ...script, length: (id: number) => (id === 4 ? 900 : 10 + id) })
    const policy = specReject({ alpha: 0.25, checkpoints: every(5) })
    const result = await engine.bestOf(5, 'x', {
      policy,
      scorer: byId,
      maxTokens: 40,
      pipeline: pipeline({ judges: [ended()] })
    })
    const killed = result.branches.filter(({ killedAt }) => killedAt !== null).map(({ id }) => id)
    expect(killed.length).toBeGreaterThan(0)
    for (const { id } of result.choice?.contenders ?? []) expect(killed).not.toContain(id)
    expect(result.choice?.contenders.find(({ id }) => id === 4)?.rejectedBy).toBe('ended')
    expect(result.winner?.id).not.toBe(4)
    await engine.close()
  })

  it('shapes scores, without a change to who was killed', async () => {
    const { engine } = fakeEngine(script)
    const shape = lengthPenalty({ alpha: 2 })
    const [shaped, plain] = [
      await engine.bestOf(8, 'x', { scorer: byId, pipeline: pipeline({ shape }) }),
      await engine.bestOf(8, 'x', { scorer: byId })
    ]
    expect(shaped.winner?.id).toBe(0)
    expect(plain.winner?.id).toBe(7)
    expect(plain.choice).toBeNull()
    expect(shaped.branches.map(({ status }) => status)).toEqual(plain.branches.map(({ status }) => status))
    await engine.close()
  })

  it('may ask a reward head once more, with the states that needs', async () => {
    const { engine, pools } = fakeEngine({ ...script, score: (id) => -id })
    const result = await engine.bestOf(3, 'x', {
      scorer: byId,
      pipeline: pipeline({ rewards: [rewardHead()], select: rankMean() })
    })
    expect(pools[0]?.params.states).toBe(true)
    expect(result.choice?.contenders.map(({ raw, rewards }) => [raw, rewards])).toEqual([
      [0, [-0]],
      [1, [-1]],
      [2, [-2]]
    ])
    expect(result.winner?.id).toBe(1)
    await engine.close()
  })

  it('says what failed, and the highest score wins', async () => {
    const { engine } = fakeEngine(script)
    const broken = judgeOf(() => {
      throw new Error('broken')
    })
    const result = await engine.bestOf(3, 'x', { scorer: byId, pipeline: pipeline({ judges: [broken] }) })
    expect(result.winner?.id).toBe(2)
    expect(result.choice?.failure).toMatchObject({ code: 'PIPELINE_FAILED' })
    await engine.close()
  })

  it('gives up a pool that failed a reward, and no other', async () => {
    const { engine, pools } = fakeEngine({ ...script, fail: { operation: 'score', code: 'DECODE_FAILED' } })
    const rewarded = pipeline({ rewards: [rewardHead()] })
    const result = await engine.bestOf(3, 'x', { scorer: byId, pipeline: rewarded })
    expect(result).toMatchObject({ winner: { id: 2 }, choice: { failure: { code: 'DECODE_FAILED' } } })
    const broken = { name: 'broken', judge: () => [] }
    await engine.bestOf(3, 'x', { scorer: byId, pipeline: pipeline({ judges: [broken] }) })
    expect(pools.map(({ closed }) => closed)).toEqual([true, false])
    await engine.close()
  })

  it('does not outlast the caller’s patience: a judge that thinks for ever leaves the highest score', async () => {
    const { engine } = fakeEngine(script)
    const slow = { name: 'slow', judge: () => new Promise<boolean[]>(() => {}) }
    const startedAt = performance.now()
    const result = await engine.bestOf(3, 'x', {
      scorer: byId,
      deadlineMs: 200,
      pipeline: pipeline({ judges: [slow] })
    })
    expect(performance.now() - startedAt).toBeLessThan(5000)
    expect(result).toMatchObject({ winner: { id: 2 }, choice: null })
    await engine.close()
  })

  it('does not outlast the caller’s patience either when a reward thinks for ever', async () => {
    const { engine } = fakeEngine(script)
    const slow = { name: 'slow', needs: [], score: () => new Promise<number[]>(() => {}) }
    const result = await engine.bestOf(3, 'x', {
      scorer: byId,
      deadlineMs: 200,
      pipeline: pipeline({ rewards: [slow] })
    })
    expect(result).toMatchObject({ winner: { id: 2 }, choice: null })
    await engine.close()
  })

  it('may ask a scorer again that serves one session at a time, and counts what both decoded', async () => {
    const { engine } = fakeEngine(script)
    let free = Promise.resolve()
    const alone: SessionScorer = {
      name: 'alone',
      needs: [],
      async begin() {
        await free
        let end = () => {}
        free = new Promise((resolve) => {
          end = resolve
        })
        return { needs: [], score: (all) => all.map(({ id }) => id), processedTokens: 7, end: async () => end() }
      }
    }
    const result = await engine.bestOf(3, 'x', {
      scorer: alone,
      deadlineMs: 2000,
      pipeline: pipeline({ rewards: [alone], select: rankMean() })
    })
    expect(result.choice?.contenders.map(({ rewards }) => rewards)).toEqual([[0], [1], [2]])
    expect(result.usage.rewardTokens).toBe(14)
    await engine.close()
  })

  it('rejects when the race is aborted while a judge thinks', async () => {
    const { engine } = fakeEngine(script)
    const aborter = new AbortController()
    const slow = {
      name: 'slow',
      judge: () => new Promise<boolean[]>(() => setTimeout(() => aborter.abort(new Error('enough')), 20))
    }
    const race = engine.bestOf(3, 'x', { scorer: byId, signal: aborter.signal, pipeline: pipeline({ judges: [slow] }) })
    await expect(race).rejects.toThrow('enough')
    await engine.close()
  })

  it('refuses what is no pipeline', async () => {
    const { engine } = fakeEngine(script)
    await expect(engine.bestOf(3, 'x', { pipeline: {} as never })).rejects.toThrow(
      'Expected a pipeline such as pipeline({ select: argmax() }) for pipeline but received an object'
    )
    await engine.close()
  })
})
