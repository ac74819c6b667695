import { describe, expect, it } from 'vitest'
import { at, type Checkpoints, every } from '../src/checkpoint.js'
import { WinnowError } from '../src/errors.js'
import { bestOfN } from '../src/policies/best-of-n.js'
import { specReject } from '../src/policies/spec-reject.js'
import type { Policy } from '../src/policy.js'
import { fakeEngine } from './fakes/engine.js'

const tens = { length: () => 10 }
const long = { length: () => 1000, stepMs: 5 }
const rejected = (promise: Promise<unknown>): Promise<WinnowError> =>
  promise.then(
    () => Promise.reject(new Error('it resolved')),
    (error: WinnowError) => error
  )

describe('a policy is refused', () => {
  it.each([
    [undefined, 'nothing'],
    [{}, 'an object'],
    [{ kill: 3 }, 'an object'],
    [{ kill: new Set([0]) }, 'an object'],
    [[0], 'an array of 1']
  ])('that decides %j', async (decision, received) => {
    const policy = { name: 'odd', checkpoints: at([3]), decide: () => decision } as unknown as Policy
    const error = await rejected(fakeEngine(tens).engine.bestOf(2, 'hi', { policy }))
    expect(error).toMatchObject({
      code: 'POLICY_INVALID',
      message: `Expected a decision with an array of ids to kill for the policy odd but received ${received}`
    })
  })

  it.each([7, -1, 0.5, Number.NaN, undefined, '0x1'])('that chooses %s', async (id) => {
    const policy = { ...bestOfN(), name: 'odd', choose: () => id as number }
    const error = await rejected(fakeEngine(tens).engine.bestOf(2, 'hi', { policy }))
    expect(error.code).toBe('POLICY_INVALID')
    expect(error.message).toContain('Expected the id of a branch or null for the choice of the policy odd but received')
  })

  it('but not one that chooses nobody', async () => {
    const policy = { ...bestOfN(), choose: () => null }
    expect(await fakeEngine(tens).engine.bestOf(2, 'hi', { policy })).toMatchObject({ winner: null, text: '' })
  })
})

describe('checkpoints are refused', () => {
  const odd = (next: (after: number) => unknown) => ({ name: 'odd', next }) as Checkpoints
  const sentence = (after: number) =>
    `Expected a whole number above ${after} or null for the checkpoints odd but received`

  it.each([0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, '4'])('that come first at %s', async (next) => {
    const error = await rejected(fakeEngine(tens).engine.bestOf(2, 'hi', { checkpoints: odd(() => next) }))
    expect(error.code).toBe('OPTION_INVALID')
    expect(error.message).toContain(sentence(0))
  })

  it('that do not lie ahead', async () => {
    const error = await rejected(fakeEngine(tens).engine.bestOf(2, 'hi', { checkpoints: odd(() => 4) }))
    expect(error.message).toBe(`${sentence(4)} 4`)
  })

  it('but not those that say nothing for none', async () => {
    const result = await fakeEngine(tens).engine.bestOf(2, 'hi', { checkpoints: odd(() => undefined) })
    expect(result.reason).toBe('settled')
  })
})

describe('what a scorer throws', () => {
  const failing = async (error: unknown) => {
    const scorer = { name: 'mine', needs: [], score: () => Promise.reject(error) }
    return (await fakeEngine(tens).engine.bestOf(2, 'hi', { scorer })).failure
  }

  it('is SCORER_FAILED with its cause, whatever it is', async () => {
    const coded = Object.assign(new Error('no such file'), { code: 'ENOENT' })
    const failure = await failing(coded)
    expect(failure).toMatchObject({ code: 'SCORER_FAILED', message: 'The scorer mine failed: no such file' })
    expect(failure?.cause).toBe(coded)
    expect(await failing('text')).toMatchObject({ code: 'SCORER_FAILED', message: 'The scorer mine failed: text' })
    expect(await failing(undefined)).toMatchObject({ code: 'SCORER_FAILED', cause: undefined })
  })

  it("keeps its code where that is the addon's or ours", async () => {
    const native = Object.assign(new Error('llama.cpp said no'), { code: 'DECODE_FAILED' })
    expect(await failing(native)).toMatchObject({ code: 'DECODE_FAILED', retryable: true, cause: native })
    const own = new WinnowError('HEAD_MISSING', 'Expected a head')
    expect(await failing(own)).toBe(own)
  })
})

describe('a scorer that does not begin', () => {
  it('does not outlast the deadline, and is ended when it begins all the same', async () => {
    let ends = 0
    let begin = () => {}
    const session = { needs: [], score: () => [], end: async () => void ends++ }
    const scorer = {
      name: 'slow',
      needs: [],
      begin: () =>
        new Promise<typeof session>((resolve) => {
          begin = () => resolve(session)
        })
    }
    const result = await fakeEngine(tens).engine.bestOf(2, 'hi', { scorer, deadlineMs: 20 })
    expect(result).toMatchObject({ reason: 'deadline', winner: null })
    expect(ends).toBe(0)
    begin()
    await new Promise((resolve) => setTimeout(resolve, 5))
    expect(ends).toBe(1)
  })
})

describe('peak cells', () => {
  it("are this race's own, and 0 when it ended before the prompt was decoded", async () => {
    const { engine, pools } = fakeEngine(tens)
    expect((await engine.bestOf(4, 'hi')).usage.peakCells).toBe(4 * 13)
    const early = await engine.bestOf(4, 'hi', { stop: AbortSignal.abort() })
    expect(early).toMatchObject({ reason: 'stopped', winner: null, usage: { peakCells: 0, processedTokens: 0 } })
    // The same pool, which still remembers the first race.
    expect(pools.map((pool) => pool.occupancy().cellsPeak)).toEqual([4 * 13])
  })
})

describe("the paper's rule", () => {
  const policy = specReject({ paper: true, checkpoints: every(500) })

  it('returns the best so far when the deadline falls before the first checkpoint', async () => {
    const { engine } = fakeEngine(long, { facts: { contextTrain: 4096 } })
    const result = await engine.bestOf(3, 'hi', { policy, maxTokens: 1000, deadlineMs: 40 })
    expect(result).toMatchObject({ reason: 'deadline', winner: { id: 2, status: { reason: 'deadline' } } })
  })

  it('returns nobody when it falls before the first token, as a value', async () => {
    const { engine } = fakeEngine({ ...tens, stepMs: 30 })
    const result = await engine.bestOf(2, 'hi', { policy, deadlineMs: 5 })
    expect(result).toMatchObject({ reason: 'deadline', winner: null, text: '' })
  })
})

describe('a watcher', () => {
  it.each(['onCheckpoint', 'onProgress'] as const)(
    '%s that throws or rejects rejects the race with it',
    async (when) => {
      const { engine } = fakeEngine({ length: () => 400, stepMs: 1 })
      const reason = new Error('the disk is full')
      const watchers = [
        () => {
          throw reason
        },
        async () => {
          throw reason
        }
      ]
      for (const watcher of watchers) {
        const options = { checkpoints: every(10), maxTokens: 400, [when]: watcher }
        expect(await rejected(engine.bestOf(2, 'hi', options))).toBe(reason)
      }
      expect((await engine.bestOf(2, 'hi', { maxTokens: 3 })).reason).toBe('settled')
    }
  )

  it('that never comes back is not waited for', async () => {
    const onCheckpoint = () => new Promise<void>(() => {})
    const result = await fakeEngine(tens).engine.bestOf(2, 'hi', { checkpoints: every(3), onCheckpoint })
    expect(result.reason).toBe('settled')
  })

  it('that rejects when the race has no more steps to take is ignored, and not as an unhandled rejection', async () => {
    const unhandled: unknown[] = []
    const listener = (reason: unknown) => void unhandled.push(reason)
    process.on('unhandledRejection', listener)
    try {
      const onCheckpoint = async () => {
        throw new Error('too late')
      }
      expect((await fakeEngine(tens).engine.bestOf(2, 'hi', { onCheckpoint })).reason).toBe('settled')
      await new Promise((resolve) => setTimeout(resolve, 20))
      expect(unhandled).toEqual([])
    } finally {
      process.off('unhandledRejection', listener)
    }
  })
})
