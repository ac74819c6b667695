import { afterAll, describe, expect, it } from 'vitest'
import { parseArms } from '../src/arm.js'
import { splitArms } from '../src/arm-text.js'
import { runBench } from '../src/bench.js'
import { every } from '../src/checkpoint.js'
import { open } from '../src/engine.js'
import type { WinnowError } from '../src/errors.js'
import { Heat } from '../src/heat.js'
import { Lease } from '../src/lease.js'
import { resolveBestOf } from '../src/options.js'
import { memoryPressure } from '../src/policies/memory-pressure.js'
import { specReject } from '../src/policies/spec-reject.js'
import type { Policy, Standing, View } from '../src/policy.js'
import { race } from '../src/race.js'
import type { Result } from '../src/result.js'
import { rewardHead } from '../src/scorers/head.js'
import type { Row } from '../src/trial.js'
import { FakeHead, FakeModel } from './fakes/model.js'
import { FakePool } from './fakes/pool.js'
import { modelFile, tiny } from './native/models.js'

const standing = (id: number, score: number, state: Standing['state'] = 'live'): Standing => {
  return { id, state, reason: null, score, scores: [], tokens: 10, fresh: false }
}
const viewOf = (branches: readonly Standing[], room?: number): View => {
  return { index: 0, tokens: 10, last: false, branches, seed: 1, memory: undefined, room }
}

describe.each([
  ['memory pressure', memoryPressure()],
  ['rejection by memory', specReject({ memory: true, alpha: 0.3 })]
])('%s', (_name, policy: Policy) => {
  const branches = [standing(0, 3), standing(1, 9, 'finished'), standing(2, 1), standing(3, 2), standing(4, 1)]

  it('keeps the best there is room for, earlier ones first among equals', () => {
    expect(policy.decide(viewOf(branches, 3)).kill).toEqual([4])
    expect(policy.decide(viewOf(branches, 1)).kill).toEqual([3, 2, 4])
    expect(policy.decide(viewOf(branches, 4)).kill).toEqual([])
    expect(policy.decide(viewOf(branches, 9)).kill).toEqual([])
  })

  it('looks at no other time', () => {
    expect(policy.onFull).toBe(true)
    expect(policy.checkpoints.next(0)).toBeNull()
  })
})

it('rejection by memory takes no margin, no ranking of the paper, and must reject', () => {
  for (const options of [{ alpha: 0 }, { margin: 1 }, { paper: true }]) {
    expect(() => specReject({ memory: true, ...options })).toThrow('rejection by memory')
  }
})

describe('a race whose streams run full', () => {
  const rungs = [
    { width: 6, cells: 256 },
    { width: 3, cells: 512 },
    { width: 1, cells: 1024 }
  ]
  const run = async (policy: Policy, length: (id: number) => number, ladder = rungs) => {
    const shape = {
      streams: 6,
      cellsPerStream: 256,
      threads: 1,
      batch: 512,
      kvType: 'f16',
      flashAttention: 'auto'
    } as const
    const pool = new FakePool({ ...shape, states: true, deterministic: false }, { length })
    const result = await race({
      pool: new Lease(new Heat(pool, () => {}), 6),
      model: new FakeModel(),
      head: new FakeHead(),
      prompt: { text: 'hi', tokens: new Int32Array(56).fill(7), turns: [] },
      n: 6,
      maxTokens: 1000,
      options: resolveBestOf({ policy, maxTokens: 1000 }),
      given: null,
      scorer: rewardHead(),
      rungs: ladder,
      waves: 1,
      parkedBytes: 0,
      signal: new AbortController().signal,
      deadline: Number.POSITIVE_INFINITY
    })
    return { pool, result }
  }
  const ends = ({ branches }: Pick<Result, 'branches'>) =>
    branches.map(({ status, tokens }) => [status.state, tokens.length])

  it('moves the survivors on, to the end', async () => {
    const { pool, result } = await run(memoryPressure(), () => 900)
    expect(ends(result)).toEqual([200, 200, 200, 456, 456].map((at) => ['killed', at]).concat([['finished', 900]]))
    expect(pool.calls.filter((call) => call.startsWith('reshape'))).toEqual(['reshape 3 512', 'reshape 1 1024'])
    expect(result).toMatchObject({ reason: 'settled', rungs, winner: { id: 5 } })
    expect(result.branches[0]?.status).toEqual({ state: 'killed', at: 200, why: 'memory' })
  })

  it('passes over a rung where those who live fit into the next, and kills nobody who does', async () => {
    const { pool, result } = await run(memoryPressure(), (id) => (id < 5 ? 100 : 900))
    expect(ends(result)).toEqual(
      Array(5)
        .fill(['finished', 100])
        .concat([['finished', 900]])
    )
    expect(pool.calls.filter((call) => call.startsWith('reshape'))).toEqual(['reshape 1 1024'])
    expect(result.rungs).toEqual([rungs[0], rungs[2]])
  })

  it('ends as it is where the policy keeps too many', async () => {
    const stubborn: Policy = { ...memoryPressure(), decide: () => ({ kill: [] }) }
    const { result } = await run(stubborn, () => 900)
    expect(result.reason).toBe('full')
    expect(result.branches.every(({ tokens }) => tokens.length === 200)).toBe(true)
  })
})

describe('a budget', async () => {
  const path = await modelFile(tiny)
  const engine = await open(path, { threads: 1 })
  afterAll(() => engine.close())
  const [n, prompt] = [24, 'What is the matter?']
  // Nobody ends before it must.
  const sampling = { logitBias: { [engine.model.eos]: false as const } }
  const options = { maxTokens: 700, deterministic: true, seed: 5, sampling }
  const whole = await engine.bestOf(n, prompt, options)
  const room = (await engine.plan(n, prompt, options)).peakBytes

  it.each([
    ['rejection by memory', specReject({ memory: true, alpha: 0.5 })],
    ['memory pressure', memoryPressure()]
  ])('is kept by %s, and who survives writes what it would have written', async (_name, policy) => {
    const budget = Math.round(0.55 * room)
    const planned = await engine.plan(n, prompt, { ...options, policy, budget })
    expect(planned.admitted).toBe(true)
    expect(planned.rungs.length).toBeGreaterThan(1)
    const result = await engine.bestOf(n, prompt, { ...options, policy, budget })
    expect(result.rungs).toEqual(
      planned.rungs.slice(0, result.rungs.length).map(({ width, cells }) => ({ width, cells }))
    )
    expect(result.rungs.length).toBeGreaterThan(1)
    expect(planned.peakBytes).toBeLessThanOrEqual(budget)
    const full = result.rungs.map(({ cells }) => cells - result.usage.promptTokens)
    for (const [id, { status, tokens, logprobs }] of result.branches.entries()) {
      const same = whole.branches[id]
      if (status.state === 'killed') expect(full).toContain(status.at)
      else expect(tokens.length).toBe(same?.tokens.length)
      expect(tokens).toEqual(same?.tokens.subarray(0, tokens.length))
      expect(logprobs).toEqual(same?.logprobs.subarray(0, tokens.length))
    }
    expect(result.branches.some(({ status }) => status.state === 'killed')).toBe(true)
    expect(result.usage.generatedTokens).toBeLessThanOrEqual(result.expected.generatedTokens)
    // The next race has a pool of its own making again.
    expect((await engine.bestOf(4, prompt, options)).branches[3]?.tokens).toEqual(whole.branches[3]?.tokens)
  })

  it('that holds not one candidate is refused, with the reason', async () => {
    const error = await engine.bestOf(n, prompt, { ...options, budget: 1000 }).catch((error: WinnowError) => error)
    expect(error).toMatchObject({ code: 'OUT_OF_MEMORY', message: expect.stringContaining('not one candidate') })
    const policy = memoryPressure()
    await expect(engine.bestOf(n, prompt, { ...options, policy, budget: 1000 })).rejects.toThrow('not one candidate')
  })

  it('with room for all changes nothing', async () => {
    const result = await engine.bestOf(n, prompt, { ...options, policy: memoryPressure(), budget: 2 * room })
    expect(result.branches.map(({ tokens }) => tokens)).toEqual(whole.branches.map(({ tokens }) => tokens))
    expect(result.rungs).toHaveLength(1)
  })

  it('can be an arm of a bench, on the same candidates as the others', async () => {
    const budget = Math.round(0.55 * room)
    const list = `best-of-n, memory-pressure:budget=${budget}, best-of-n:budget=${budget}:name=in-waves`
    const rows: Row[] = []
    await runBench({
      engine,
      problems: [{ prompt, answer: '1' }],
      arms: parseArms(splitArms(list), { alpha: 0.5, checkpoints: every(100) }),
      conditions: { n, seed: 5n, sampling, maxTokens: 700, deterministic: true, raw: false },
      done: [],
      onRow: (row) => void rows.push(row),
      onFailure: (failure) => expect(failure).toBeNull()
    })
    const [all, some, waves] = rows
    expect(rows).toHaveLength(3)
    expect(some?.generatedTokens).toBeLessThan(all?.generatedTokens as number)
    expect(waves).toMatchObject({ generatedTokens: all?.generatedTokens, winner: all?.winner })
    expect(some?.peakCells).toBeLessThan(all?.peakCells as number)
    expect(waves?.peakCells).toBeLessThan(all?.peakCells as number)
  })
})
