import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { at, every } from '../src/checkpoint.js'
import type { WinnowError } from '../src/errors.js'
import { Heat } from '../src/heat.js'
import { Lease } from '../src/lease.js'
import { type Progress, resolveBestOf } from '../src/options.js'
import { randomKill } from '../src/policies/random-kill.js'
import { specReject } from '../src/policies/spec-reject.js'
import { type Decision, highest, type Policy, type View } from '../src/policy.js'
import { race } from '../src/race.js'
import type { Candidate, Scorer } from '../src/scorer.js'
import { selfCertainty } from '../src/scorers/confidence.js'
import { rewardHead } from '../src/scorers/head.js'
import { meanLogprob } from '../src/scorers/mean-logprob.js'
import { minLogprob } from '../src/scorers/min-logprob.js'
import { fakeEngine } from './fakes/engine.js'
import { FakeHead, FakeModel } from './fakes/model.js'
import { FakePool } from './fakes/pool.js'

const flags = { states: true, deterministic: false }
const tens = { length: () => 10 }
const lengths = { length: (id: number) => 4 + 3 * id }
const rejected = (promise: Promise<unknown>): Promise<WinnowError> =>
  promise.then(
    () => Promise.reject(new Error('it resolved')),
    (error: WinnowError) => error
  )

describe('a race', () => {
  it('prefills once, forks once, and without checkpoints crosses once to advance', async () => {
    const { engine, pools } = fakeEngine(tens)
    const result = await engine.bestOf(4, 'hello')
    expect(pools[0]?.calls).toEqual(['prefill 6', 'fork 4', 'advance 512', 'score 0 1 2 3'])
    expect(result).toMatchObject({ reason: 'settled', policy: 'best-of-n', scorer: 'head', score: 3, seed: 0n })
    expect(result.winner?.id).toBe(3)
    expect(result.text).toBe(result.branches[3]?.text)
    expect(result.text).toHaveLength(10)
  })

  it('advances to each checkpoint, scores the live and the newly finished in one call, and kills in one call', async () => {
    const { engine, pools } = fakeEngine({ length: (id) => (id === 0 ? 5 : 20) })
    await engine.bestOf(4, 'hi', { policy: specReject({ checkpoints: at([4, 8]) }) })
    expect(pools[0]?.calls).toEqual([
      'prefill 3',
      'fork 4',
      'advance 4',
      'score 0 1 2 3',
      'kill 1 0',
      'advance 8',
      'score 2 3',
      'kill 2',
      'advance 512',
      'score 3'
    ])
  })

  it('scores a finished branch once', async () => {
    const { engine, pools } = fakeEngine({ length: (id) => (id === 0 ? 3 : 20) })
    const result = await engine.bestOf(2, 'hi', { checkpoints: every(4) })
    expect(pools[0]?.calls.filter((call) => call === 'score 0 1')).toHaveLength(1)
    expect(result.branches[0]?.scores).toEqual([{ tokens: 3, score: 0 }])
    expect(result.branches[1]?.scores.map(({ tokens }) => tokens)).toEqual([4, 8, 12, 16, 20])
  })

  it('records who was killed, where and why, and what the survivors wrote', async () => {
    const { engine } = fakeEngine(tens)
    const { branches, usage, winner } = await engine.bestOf(4, 'hi', { policy: specReject({ checkpoints: at([4]) }) })
    expect(branches[0]?.status).toEqual({ state: 'killed', at: 4, why: 'rejected' })
    expect(branches.map(({ killedAt }) => killedAt)).toEqual([4, 4, null, null])
    expect(branches.map(({ tokens }) => tokens.length)).toEqual([4, 4, 10, 10])
    expect(winner?.status).toEqual({ state: 'finished', reason: 'end' })
    expect(usage).toMatchObject({ generatedTokens: 28, savedTokens: 12, savedShare: 0.3, promptTokens: 3 })
    expect(usage.processedTokens).toBe(3 + 28)
  })

  it('spends its wall time on named phases that sum to it', async () => {
    const { engine } = fakeEngine({ ...tens, stepMs: 2 })
    const { usage } = await engine.bestOf(2, 'hi', { checkpoints: every(5) })
    const sum = Object.values(usage.seconds).reduce((total, part) => total + part, 0)
    expect(sum).toBeCloseTo(usage.wallSeconds, 6)
    expect(usage.seconds.decode).toBeGreaterThan(0.015)
  })

  it('never gives a different token to a survivor because of who was killed', async () => {
    const { engine } = fakeEngine(lengths)
    const full = await engine.bestOf(8, 'hi')
    for (const policy of [specReject({ checkpoints: every(3) }), randomKill({ checkpoints: every(4) })]) {
      const { branches } = await engine.bestOf(8, 'hi', { policy })
      for (const { id, tokens } of branches)
        expect(full.branches[id]?.tokens.subarray(0, tokens.length)).toEqual(tokens)
    }
  })

  it('holds its books for any lengths, schedule and alpha', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 0, max: 40 }), { minLength: 1, maxLength: 24 }),
        fc.integer({ min: 1, max: 20 }),
        fc.double({ min: 0, max: 0.99, noNaN: true }),
        fc.boolean(),
        async (sizes, interval, alpha, paper) => {
          const { engine, pools } = fakeEngine({
            length: (id) => sizes[id] as number,
            score: (id, t) => (id * 7 + t) % 5
          })
          const policy = specReject({ alpha, checkpoints: every(interval), paper })
          const { branches, usage, winner, reason } = await engine.bestOf(sizes.length, 'hi', { policy, maxTokens: 30 })
          expect(reason).toBe('settled')
          expect(winner).not.toBeNull()
          expect(usage.generatedTokens).toBe(branches.reduce((sum, { tokens }) => sum + tokens.length, 0))
          for (const { id, status, tokens, killedAt, scores } of branches) {
            if (status.state === 'killed') expect(killedAt).toBe(tokens.length)
            else if (status.state === 'finished' && status.reason === 'length') expect(tokens.length).toBe(30)
            else expect(tokens.length).toBe(sizes[id])
            expect(scores.at(-1)?.tokens).toBe(tokens.length)
          }
          if (!paper) expect(winner?.status.state).toBe('finished')
          expect(pools[0]?.occupancy().live).toBe(0)
          await engine.close()
        }
      ),
      { numRuns: 60 }
    )
  })

  it('tells onCheckpoint who was killed, and onProgress how far it is, about ten times a second', async () => {
    const { engine, pools } = fakeEngine({ length: () => 30, stepMs: 10 })
    const [checkpoints, glances]: [Progress[], number[]] = [[], []]
    await engine.bestOf(4, 'hi', {
      policy: specReject({ checkpoints: at([15]) }),
      onCheckpoint: (progress) => checkpoints.push(progress),
      onProgress: ({ tokens }) => glances.push(tokens)
    })
    expect(checkpoints.map(({ index, killed }) => [index, [...killed].sort()])).toEqual([
      [1, [0, 1]],
      [2, []]
    ])
    expect(glances.length).toBeGreaterThanOrEqual(3)
    expect(glances.length).toBeLessThanOrEqual(12)
    expect(pools[0]?.calls.filter((call) => call.startsWith('score'))).toHaveLength(2)
  })
})

describe('scorers', () => {
  it('are mean log-probability where there is no head, and the result says so', async () => {
    const { engine } = fakeEngine({ ...tens, logprob: (id) => -id }, { head: false })
    const result = await engine.bestOf(3, 'hi')
    expect(result.scorer).toBe('mean-logprob')
    expect(result.branches.map(({ score }) => score)).toEqual([0, -1, -2])
    expect(result.winner?.id).toBe(0)
  })

  it('can be the smallest log-probability', async () => {
    const { engine } = fakeEngine({ ...tens, logprob: (id, position) => (position === 3 ? -1 - id : -2 * id) })
    const result = await engine.bestOf(3, 'hi', { scorer: minLogprob() })
    expect(result.branches.map(({ score }) => score)).toEqual([-1, -2, -4])
  })

  it('rank an empty answer below every other by log-probability', async () => {
    const { engine } = fakeEngine({ length: (id) => id * 5 })
    const result = await engine.bestOf(3, 'hi', { scorer: meanLogprob() })
    expect(result.branches[0]).toMatchObject({ text: '', score: Number.NEGATIVE_INFINITY })
    expect(result.winner?.id).not.toBe(0)
  })

  it('can be a plain function of the texts, asynchronous or not', async () => {
    const { engine } = fakeEngine(lengths)
    const shortest = await engine.bestOf(4, 'hi', { scorer: async (all) => all.map(({ text }) => -text.length) })
    expect(shortest.winner?.id).toBe(0)
    const longest = await engine.bestOf(4, 'hi', { scorer: (all) => all.map(({ text }) => text.length) })
    expect(longest.winner?.id).toBe(3)
  })

  it('do not make the pool keep states they do not need', async () => {
    const { engine, pools } = fakeEngine(tens)
    await engine.bestOf(2, 'hi', { scorer: meanLogprob() })
    await engine.bestOf(2, 'hi')
    await engine.bestOf(2, 'hi', { scorer: meanLogprob() })
    expect(pools.map(({ params }) => params.states)).toEqual([false, true])
  })

  it.each([
    ['NaN', () => [Number.NaN, 0], 'Expected a number for branch 0 from custom but received NaN'],
    ['too few numbers', () => [1], 'Expected 2 scores for as many branches from custom but received an array of 1'],
    ['no array', () => undefined as never, 'Expected 2 scores for as many branches from custom but received nothing'],
    ['text', () => ['a', 'b'] as never, 'Expected a number for branch 0 from custom but received "a"']
  ])('that return %s end the race with a sentence, and keep what was written', async (_, score, sentence) => {
    const { engine } = fakeEngine(tens)
    const scorer = { name: 'custom', needs: [], score }
    const result = await engine.bestOf(2, 'hi', { scorer, checkpoints: at([4]) })
    expect(result).toMatchObject({ reason: 'failed', winner: null })
    expect(result.failure).toMatchObject({ code: 'SCORE_INVALID', message: sentence })
    expect(result.branches.map(({ tokens, status }) => [tokens.length, status])).toEqual(
      Array(2).fill([4, { state: 'finished', reason: 'failed' }])
    )
  })

  it('that throw end the race with the scores there are and their error as the cause; the engine lives on', async () => {
    const { engine, pools } = fakeEngine(tens)
    const cause = new Error('no such verifier')
    let calls = 0
    const scorer = function verifier(all: readonly Candidate[]): number[] {
      if (calls++ > 0) throw cause
      return all.map(({ id }) => 1 - id)
    }
    const result = await engine.bestOf(2, 'hi', { scorer, checkpoints: at([4, 8]) })
    expect(result).toMatchObject({ reason: 'failed', score: 1, winner: { id: 0, scores: [{ tokens: 4, score: 1 }] } })
    expect(result.failure).toMatchObject({
      code: 'SCORER_FAILED',
      message: 'The scorer verifier failed: no such verifier',
      cause
    })
    expect((await engine.bestOf(2, 'hi')).winner?.id).toBe(1)
    expect(pools.map(({ closed }) => closed)).toEqual([true, false])
  })

  it("that fail at the first checkpoint end a race by the paper's rule like any other", async () => {
    const { engine } = fakeEngine(tens)
    const policy = specReject({ paper: true, checkpoints: at([4]) })
    const result = await engine.bestOf(4, 'hi', { policy, scorer: () => [Number.NaN] })
    expect(result).toMatchObject({ reason: 'failed', winner: null, failure: { code: 'SCORE_INVALID' } })
  })

  it('that begin a session have it for one race, are told of kills, and count what they decode', async () => {
    const { engine } = fakeEngine(tens)
    const diary: string[] = []
    const scorer: Scorer = {
      name: 'mirror',
      needs: [],
      async begin({ turns, n, maxTokens }) {
        diary.push(`begin ${turns[0]?.content} ${n} ${maxTokens}`)
        let processedTokens = 0
        return {
          needs: ['text'],
          score(all) {
            processedTokens += all.length
            diary.push(`score ${all.map(({ id, text }) => `${id}:${text.length}`).join(' ')}`)
            return all.map(({ id }) => id)
          },
          async kill(ids) {
            diary.push(`kill ${ids.join(' ')}`)
          },
          get processedTokens() {
            return processedTokens
          },
          async end() {
            diary.push('end')
          }
        }
      }
    }
    const policy = specReject({ alpha: 0.5, checkpoints: at([4]) })
    const result = await engine.bestOf(2, 'hi', { scorer, policy, maxTokens: 20 })
    expect(diary).toEqual(['begin hi 2 20', 'score 0:4 1:4', 'kill 0', 'score 1:10', 'end'])
    expect(result.usage.rewardTokens).toBe(3)
  })

  it('whose session does not begin reject the race, and those whose kill fails end it', async () => {
    const { engine } = fakeEngine(tens)
    const session = { needs: [], score: (all: readonly Candidate[]) => all.map(({ id }) => id) }
    const refusing: Scorer = { name: 'mirror', needs: [], begin: () => Promise.reject(new Error('no model')) }
    const error = await rejected(engine.bestOf(2, 'hi', { scorer: refusing }))
    expect(error).toMatchObject({ code: 'SCORER_FAILED', message: 'The scorer mirror failed: no model' })
    const kill = () => Promise.reject(new Error('no such row'))
    const scorer: Scorer = { name: 'mirror', needs: [], begin: async () => ({ ...session, kill }) }
    const policy = specReject({ alpha: 0.5, checkpoints: at([4]) })
    const result = await engine.bestOf(2, 'hi', { scorer, policy })
    expect(result).toMatchObject({ reason: 'failed', winner: { id: 1 }, failure: { code: 'SCORER_FAILED' } })
  })

  it('that need distributions get them with every token, and others pay nothing for them', async () => {
    const seen: (Float32Array | undefined)[][] = []
    const scorer = (needs: Scorer['needs']): Scorer => ({
      name: 'watcher',
      needs,
      score(all) {
        seen.push(all.flatMap(({ certainties, topConfidences }) => [certainties, topConfidences]))
        return all.map(() => 0)
      }
    })
    const { engine } = fakeEngine({ length: () => 3 })
    await engine.bestOf(1, 'hi', { scorer: scorer(['distributions']), checkpoints: at([2]) })
    await engine.bestOf(1, 'hi', { scorer: scorer([]) })
    expect(seen).toEqual([
      [Float32Array.of(0, 0.1), Float32Array.of(5, 5)],
      [Float32Array.of(0, 0.1, 0.2), Float32Array.of(5, 5, 5)],
      [undefined, undefined]
    ])
    const { winner, failure } = await engine.bestOf(3, 'hi', { scorer: selfCertainty() })
    expect([winner?.id, failure]).toEqual([2, null])
    expect(winner?.score).toBeCloseTo(2.1, 6)
  })

  it('that need a head are refused without one', async () => {
    const { engine } = fakeEngine(tens, { head: false })
    expect(await rejected(engine.bestOf(2, 'hi', { scorer: rewardHead() }))).toMatchObject({ code: 'HEAD_MISSING' })
  })
})

describe('a race ends early', () => {
  it('with the reason of an aborted signal, while decoding', async () => {
    const { engine } = fakeEngine({ length: () => 1000, stepMs: 5 }, { facts: { contextTrain: 4096 } })
    const controller = new AbortController()
    const reason = new Error('changed my mind')
    setTimeout(() => controller.abort(reason), 30)
    expect(await rejected(engine.bestOf(2, 'hi', { signal: controller.signal, maxTokens: 1000 }))).toBe(reason)
    expect((await engine.bestOf(2, 'hi', { maxTokens: 3 })).reason).toBe('settled')
  })

  it('at once when the signal was aborted before', async () => {
    const { engine, pools } = fakeEngine(tens)
    const reason = new Error('never mind')
    expect(await rejected(engine.bestOf(2, 'hi', { signal: AbortSignal.abort(reason) }))).toBe(reason)
    expect(pools).toHaveLength(0)
  })

  it('while a scorer of the user hangs', async () => {
    const { engine } = fakeEngine(tens)
    const signal = AbortSignal.timeout(20)
    const error = await rejected(engine.bestOf(2, 'hi', { signal, scorer: () => new Promise(() => {}) }))
    expect(error.name).toBe('TimeoutError')
  })

  it('without an unhandled rejection when a scorer fails after the abort', async () => {
    const { engine } = fakeEngine(tens)
    const controller = new AbortController()
    const reason = new Error('enough')
    const scorer = async () => {
      controller.abort(reason)
      await Promise.resolve()
      throw new Error('too late')
    }
    expect(await rejected(engine.bestOf(2, 'hi', { signal: controller.signal, scorer }))).toBe(reason)
  })

  it('with the best so far at a deadline', async () => {
    const { engine } = fakeEngine(
      { length: (id) => (id === 0 ? 2 : 1000), stepMs: 5 },
      { facts: { contextTrain: 4096 } }
    )
    const result = await engine.bestOf(3, 'hi', { deadlineMs: 60, maxTokens: 1000 })
    expect(result.reason).toBe('deadline')
    expect(result.branches.map(({ status }) => status)).toEqual([
      { state: 'finished', reason: 'end' },
      { state: 'finished', reason: 'deadline' },
      { state: 'finished', reason: 'deadline' }
    ])
    // The one whole answer wins, though the partial ones have higher scores.
    expect(result.winner?.id).toBe(0)
  })

  it('with the best partial answer when none is whole', async () => {
    const { engine } = fakeEngine({ length: () => 1000, stepMs: 5 }, { facts: { contextTrain: 4096 } })
    const result = await engine.bestOf(3, 'hi', { deadlineMs: 40, maxTokens: 1000 })
    expect(result.winner?.id).toBe(2)
    expect(result.text.length).toBeGreaterThan(0)
    expect(result.usage.savedTokens).toBe(0)
  })

  it('with no winner when the deadline falls before the first token, as a value', async () => {
    const { engine } = fakeEngine({ ...tens, stepMs: 30 })
    const result = await engine.bestOf(2, 'hi', { deadlineMs: 5 })
    expect(result).toMatchObject({ reason: 'deadline', winner: null, text: '', score: null })
    expect(result.branches).toHaveLength(2)
  })

  it('when the caller stops it, with the best so far', async () => {
    const { engine } = fakeEngine({ length: () => 1000, stepMs: 5 }, { facts: { contextTrain: 4096 } })
    const controller = new AbortController()
    setTimeout(() => controller.abort(), 30)
    const result = await engine.bestOf(3, 'hi', { stop: controller.signal, maxTokens: 1000 })
    expect(result.reason).toBe('stopped')
    expect(result.winner?.status).toEqual({ state: 'finished', reason: 'stopped' })
  })

  it('at the trained context, and says so', async () => {
    const { engine } = fakeEngine({ length: () => 1000 }, { facts: { contextTrain: 64 } })
    const result = await engine.bestOf(2, 'hi', { maxTokens: 500 })
    expect(result.reason).toBe('settled')
    expect(result.winner?.status).toEqual({ state: 'finished', reason: 'context' })
    expect(result.winner?.tokens).toHaveLength(61)
  })

  it('when the streams are full, with a reason instead of an error', async () => {
    const options = resolveBestOf({ maxTokens: 300 })
    const pool = new FakePool(
      { streams: 2, cellsPerStream: 256, threads: 1, batch: 512, kvType: 'f16', flashAttention: 'auto', ...flags },
      { length: () => 300 }
    )
    const [model, prompt] = [new FakeModel(), { text: 'hi', tokens: Int32Array.of(1, 2, 3), turns: [] }]
    const [signal, deadline] = [new AbortController().signal, Number.POSITIVE_INFINITY]
    const lease = new Lease(new Heat(pool, () => {}), 2)
    const setup = {
      pool: lease,
      model,
      head: new FakeHead(),
      prompt,
      n: 2,
      maxTokens: 300,
      options,
      given: null,
      rungs: [],
      waves: 1,
      parkedBytes: 0,
      signal,
      deadline
    }
    const result = await race({ ...setup, scorer: rewardHead() })
    expect(result.reason).toBe('full')
    expect(result.winner).toMatchObject({ id: 1, status: { state: 'finished', reason: 'full' } })
    expect(result.winner?.tokens).toHaveLength(253)
  })

  it('when every answer is empty, with an empty text', async () => {
    const { engine } = fakeEngine({ length: () => 0 })
    const result = await engine.bestOf(3, 'hi')
    expect(result).toMatchObject({ text: '', reason: 'settled', usage: { generatedTokens: 0 } })
    expect(result.winner?.id).toBe(2)
  })
})

describe('a scorer that hangs', () => {
  /** Scores the first checkpoint by id, and then never comes back. */
  const hangs = (needs: Scorer['needs'] = []) => {
    const seen: AbortSignal[] = []
    const scorer: Scorer = {
      name: 'hangs',
      needs,
      score(candidates, { signal }) {
        seen.push(signal)
        return seen.length === 1 ? candidates.map(({ id }) => id) : new Promise(() => {})
      }
    }
    return { scorer, seen }
  }

  it.each([[[]], [['states' as const]]])('needing %j leaves the deadline in force a second later', async (needs) => {
    const { engine, pools } = fakeEngine(tens)
    const { scorer, seen } = hangs(needs)
    const startedAt = performance.now()
    const result = await engine.bestOf(2, 'hi', { scorer, checkpoints: at([3]), deadlineMs: 50 })
    const milliseconds = performance.now() - startedAt
    expect(milliseconds).toBeGreaterThan(1000)
    expect(milliseconds).toBeLessThan(2000)
    // What was known when it hung decides.
    expect(result).toMatchObject({ reason: 'deadline', winner: { id: 1, scores: [{ tokens: 3, score: 1 }] } })
    expect(seen.map(({ aborted }) => aborted)).toEqual([false, true])
    // Of the pool it has nothing left: the next race takes the same.
    await engine.bestOf(2, 'hi')
    // A scorer that needs no states had a pool without them.
    expect(pools.map(({ closed }) => closed)).toEqual(needs.length > 0 ? [false] : [true, false])
  })

  it('leaves stop in force a second later', async () => {
    const { engine } = fakeEngine(tens)
    const stop = new AbortController()
    setTimeout(() => stop.abort(), 20)
    const result = await engine.bestOf(2, 'hi', { scorer: hangs().scorer, checkpoints: at([3]), stop: stop.signal })
    expect(result).toMatchObject({ reason: 'stopped', winner: { id: 1 } })
  })

  it.each([[[]], [['states' as const]]])('needing %j lets go at once when the race is aborted', async (needs) => {
    const { engine } = fakeEngine(tens)
    const controller = new AbortController()
    const reason = new Error('enough')
    setTimeout(() => controller.abort(reason), 20)
    const startedAt = performance.now()
    const options = { scorer: hangs(needs).scorer, checkpoints: at([3]), signal: controller.signal }
    expect(await rejected(engine.bestOf(2, 'hi', options))).toBe(reason)
    expect(performance.now() - startedAt).toBeLessThan(500)
  })

  it('does not keep the engine from closing', async () => {
    const { engine, pools } = fakeEngine(tens)
    const race = rejected(engine.bestOf(2, 'hi', { scorer: hangs(['states']).scorer, checkpoints: at([3]) }))
    await new Promise((resolve) => setTimeout(resolve, 20))
    await engine.close()
    expect((await race).code).toBe('ENGINE_CLOSED')
    expect(pools[0]?.closed).toBe(true)
  })

  it('that never gave a score leaves nobody to win, which is a value', async () => {
    const { engine } = fakeEngine(tens)
    const scorer: Scorer = { name: 'silent', needs: [], score: () => new Promise(() => {}) }
    const result = await engine.bestOf(2, 'hi', { scorer, deadlineMs: 20 })
    expect(result).toMatchObject({ reason: 'deadline', winner: null, text: '' })
  })
})

describe('a policy', () => {
  const killing = (kill: readonly number[]): Policy => ({ name: 'odd', checkpoints: at([3]), decide: () => ({ kill }) })

  it('may kill everyone: then nobody wins, which is a value', async () => {
    const { engine } = fakeEngine(tens)
    let calls = 0
    const policy: Policy = { ...killing([]), decide: () => ({ kill: calls++ === 0 ? [0, 1] : [] }) }
    const result = await engine.bestOf(2, 'hi', { policy })
    expect(result).toMatchObject({ winner: null, text: '', reason: 'settled' })
  })

  it.each([[[7]], [[0, 0]], [[-1]], [[0.5]]])('that kills %j is refused', async (kill) => {
    const { engine } = fakeEngine(tens)
    const error = await rejected(engine.bestOf(2, 'hi', { policy: killing(kill) }))
    expect(error.code).toBe('POLICY_INVALID')
    expect(error.message).toContain('the ids of live branches, each once, from the policy odd')
  })

  it('decides the same again from what was recorded of the race', async () => {
    const policies = [
      specReject({ paper: true, checkpoints: every(3) }),
      specReject({ checkpoints: every(4) }),
      randomKill()
    ]
    for (const policy of policies) {
      const recorded: { view: View; decision: Decision }[] = []
      const recording: Policy = {
        ...policy,
        decide: (view) => {
          const decision = policy.decide(view)
          recorded.push({ view, decision })
          return decision
        }
      }
      const { engine } = fakeEngine({
        length: (id) => 3 + ((id * 5) % 40),
        score: (id, tokens) => (id * 13 + tokens) % 7
      })
      const { winner } = await engine.bestOf(16, 'hi', { policy: recording })
      for (const { view, decision } of recorded) expect(policy.decide(view)).toEqual(decision)
      const end = recorded.at(-1) as { view: View; decision: Decision }
      const choose = policy.choose ?? ((view: View) => highest(view.branches))
      expect(choose({ ...end.view, memory: end.decision.memory })).toBe(winner?.id)
    }
  })

  it('gets back what it remembered, and the same seed for the same prompt', async () => {
    const seen: unknown[] = []
    const seeds: number[] = []
    const policy: Policy = {
      name: 'remembering',
      checkpoints: at([2, 4]),
      decide: ({ memory, index, seed }) => {
        seen.push(memory)
        seeds.push(seed)
        return { kill: [], memory: `checkpoint ${index}` }
      }
    }
    const { engine } = fakeEngine(tens)
    await engine.bestOf(1, 'hi', { policy })
    await engine.bestOf(1, 'ho', { policy })
    expect(seen.slice(0, 3)).toEqual([undefined, 'checkpoint 0', 'checkpoint 1'])
    expect(seeds[0]).toBe(seeds[1])
    expect(seeds[3]).not.toBe(seeds[0])
  })
})
