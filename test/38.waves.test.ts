import fc from 'fast-check'
import { afterAll, describe, expect, it, vi } from 'vitest'
import { at, type Checkpoints, doubling, every, never } from '../src/checkpoint.js'
import { open } from '../src/engine.js'
import { Heat } from '../src/heat.js'
import type { Rung } from '../src/ladder.js'
import { Lease } from '../src/lease.js'
import { type BestOfOptions, resolveBestOf } from '../src/options.js'
import { bestOfN } from '../src/policies/best-of-n.js'
import { memoryPressure } from '../src/policies/memory-pressure.js'
import { randomKill } from '../src/policies/random-kill.js'
import { specReject } from '../src/policies/spec-reject.js'
import type { Policy } from '../src/policy.js'
import { race } from '../src/race.js'
import type { Outcome, Result } from '../src/result.js'
import type { Candidate } from '../src/scorer.js'
import { rewardHead } from '../src/scorers/head.js'
import { meanLogprob } from '../src/scorers/mean-logprob.js'
import { FakeHead, FakeModel } from './fakes/model.js'
import { FakePool, type Script } from './fakes/pool.js'
import { modelFile, tiny } from './native/models.js'

interface Settings extends BestOfOptions {
  readonly n?: number
  readonly width?: number
  readonly rungs?: readonly Rung[]
  readonly parkedBytes?: number
  readonly script?: Partial<Script>
}

const promptTokens = 56

/** A race on a scripted pool; without a width all are there at once. */
async function raceOf({ n = 12, width = n, parkedBytes = 1e9, rungs, script, signal, ...options }: Settings) {
  const waves = Math.ceil(n / width)
  const [first = { width, cells: 1024 }] = rungs ?? []
  const streams = first.width + (waves > 1 ? 1 : 0)
  const shape = { threads: 1, batch: 512, kvType: 'f16', flashAttention: 'auto', states: true } as const
  const pool = new FakePool(
    { ...shape, streams, cellsPerStream: first.cells, deterministic: false },
    {
      length: (id) => 30 + ((id * 37) % 50),
      score: (id, tokens) => ((id * 7919 + tokens * 104729) % 1009) / 7,
      ...script
    }
  )
  let most = 0
  const { deadlineMs = Number.POSITIVE_INFINITY } = options
  const outcome = await race({
    pool: new Lease(new Heat(pool, () => {}), streams),
    model: new FakeModel(),
    head: new FakeHead(),
    prompt: { text: 'hi', tokens: new Int32Array(promptTokens).fill(7), turns: [] },
    n,
    maxTokens: options.maxTokens ?? 100,
    options: resolveBestOf({
      maxTokens: 100,
      ...options,
      onProgress: () => {
        most = Math.max(most, pool.occupancy().live)
      }
    }),
    given: null,
    scorer: rewardHead(),
    rungs: rungs ?? [first],
    waves,
    parkedBytes,
    signal: signal ?? new AbortController().signal,
    deadline: performance.now() + deadlineMs
  })
  return { pool, outcome, most }
}

const decided = ({ branches, winner, reason }: Outcome | Result) => ({
  reason,
  winner: winner?.id,
  branches: branches.map(({ status, tokens, logprobs, scores }) => ({ status, tokens, logprobs, scores }))
})
const calls = ({ calls }: FakePool, operation: string) => calls.filter((call) => call.startsWith(operation))

describe('a race in waves', () => {
  it('fills streams that come free with candidates that have not begun, and moves nobody', async () => {
    const { pool, outcome, most } = await raceOf({ n: 40, width: 8, policy: bestOfN(), checkpoints: never })
    expect(outcome).toMatchObject({ reason: 'settled', waves: 5, usage: { parkings: 0, parkedBytes: 0 } })
    expect(outcome.branches.map(({ tokens }) => tokens.length)).toEqual(
      Array.from({ length: 40 }, (_, id) => 30 + ((id * 37) % 50))
    )
    expect(calls(pool, 'fork')[0]).toBe('fork 8')
    expect(calls(pool, 'fork').length).toBeGreaterThan(5)
    expect(calls(pool, 'park').length).toBe(0)
    expect(most).toBeLessThanOrEqual(8)
  })

  it('brings everybody to where the policy looks before it is asked', async () => {
    const { pool, outcome } = await raceOf({ n: 12, width: 4, checkpoints: every(20), policy: specReject() })
    const whole = await raceOf({ n: 12, checkpoints: every(20), policy: specReject() })
    expect(decided(outcome)).toEqual(decided(whole.outcome))
    expect(calls(pool, 'park').every((call) => call.endsWith('with copies'))).toBe(true)
    expect(outcome.usage.parkings).toBeGreaterThan(8)
    expect(outcome.usage.processedTokens).toBe(whole.outcome.usage.processedTokens)
  })

  it('copies as many as there is room for, and decodes the others again', async () => {
    // Of 76 cells of a byte, and what stands beside them.
    const two = 2 * (128 + 13 * 76)
    const some = await raceOf({ n: 12, width: 4, checkpoints: every(20), policy: specReject(), parkedBytes: two })
    const none = await raceOf({ n: 12, width: 4, checkpoints: every(20), policy: specReject(), parkedBytes: 0 })
    // Two of the four that make room first, and one more of the next four, since the copies were smaller than feared.
    expect(some.outcome.usage.parkedBytes).toBe(3 * 76)
    expect(none.outcome.usage.parkedBytes).toBe(0)
    const [first, second] = [some, none].map(({ outcome }) => outcome.usage.processedTokens)
    const whole = await raceOf({ n: 12, checkpoints: every(20), policy: specReject() })
    expect(first).toBeGreaterThan(whole.outcome.usage.processedTokens)
    expect(second).toBeGreaterThan(first as number)
    expect(decided(some.outcome)).toEqual(decided(none.outcome))
  })

  it('decides whatever it decides when all are there at once', async () => {
    const policies: readonly Policy[] = [
      bestOfN(),
      specReject({ alpha: 0.3 }),
      specReject({ paper: true }),
      randomKill({ alpha: 0.4 })
    ]
    const settings = fc.record({
      n: fc.integer({ min: 2, max: 40 }),
      width: fc.integer({ min: 1, max: 40 }),
      policy: fc.constantFrom(...policies),
      checkpoints: fc.constantFrom<Checkpoints>(doubling(8), every(13), never),
      parkedBytes: fc.integer({ min: 0, max: 9000 }),
      spread: fc.integer({ min: 1, max: 97 })
    })
    await fc.assert(
      fc.asyncProperty(settings, async ({ spread, width, ...own }) => {
        const script = { length: (id: number) => 1 + ((id * 37) % spread) }
        const part = await raceOf({ ...own, width: Math.min(width, own.n), script })
        const whole = await raceOf({ ...own, script })
        expect(decided(part.outcome)).toEqual(decided(whole.outcome))
        expect(part.most).toBeLessThanOrEqual(width)
        expect(part.outcome.usage.parkedBytes).toBeLessThanOrEqual(own.parkedBytes)
        expect(part.pool.occupancy().parkedBytes).toBe(0)
      }),
      { numRuns: 150 }
    )
  })

  it('climbs to fewer and longer streams when everybody is full', async () => {
    const rungs = [
      { width: 6, cells: 256 },
      { width: 3, cells: 512 },
      { width: 1, cells: 1024 }
    ]
    const long = { length: (id: number) => (id % 2 === 0 ? 900 : 150) }
    const settings = { n: 24, width: 6, rungs, maxTokens: 960, policy: memoryPressure(), script: long }
    const { pool, outcome, most } = await raceOf(settings)
    // Four waves of three, and then of one.
    const killed = outcome.branches.filter(({ status }) => status.state === 'killed').map(({ killedAt }) => killedAt)
    expect(outcome.rungs).toEqual(rungs)
    expect(killed).toEqual(Array(8).fill(512 - promptTokens))
    expect(outcome.branches.filter(({ tokens }) => tokens.length === 900)).toHaveLength(4)
    expect(outcome.branches.filter(({ tokens }) => tokens.length === 150)).toHaveLength(12)
    expect(calls(pool, 'reshape')).toEqual(['reshape 3 512', 'reshape 1 1024'])
    expect(most).toBeLessThanOrEqual(6)
  })

  it.each([
    ['stopped', 'stop'],
    ['aborted', 'signal']
  ] as const)('is %s while it moves branches, and writes no more', async (_name, key) => {
    const controller = new AbortController()
    let forks = 0
    let written = 0
    const before = FakePool.prototype.fork
    const fork = vi.spyOn(FakePool.prototype, 'fork').mockImplementation(async function (this: FakePool, ...args) {
      await before.apply(this, args)
      if (++forks === 2) controller.abort(new Error('enough'))
    })
    const step = vi.spyOn(FakePool.prototype, 'advance')
    const running = raceOf({ n: 12, width: 4, policy: bestOfN(), checkpoints: never, [key]: controller.signal })
    const outcome = await running.catch((error: Error) => error)
    written = step.mock.calls.length
    fork.mockRestore()
    step.mockRestore()
    if (key === 'signal') expect(outcome).toEqual(new Error('enough'))
    else expect(outcome).toMatchObject({ outcome: { reason: 'stopped' } })
    expect(written).toBe(1)
  })

  it('stops between two branches that are decoded again', async () => {
    const controller = new AbortController()
    const resume = vi.spyOn(FakePool.prototype, 'resume').mockImplementation(async () => {
      controller.abort()
      return 0
    })
    const settings = { n: 12, width: 4, checkpoints: every(20), policy: specReject({ alpha: 0.1 }), parkedBytes: 0 }
    const { outcome } = await raceOf({ ...settings, stop: controller.signal })
    expect(outcome.reason).toBe('stopped')
    expect(resume).toHaveBeenCalledTimes(1)
    resume.mockRestore()
  })

  it('does without copies that cannot be made', async () => {
    const park = FakePool.prototype.park
    const spy = vi.spyOn(FakePool.prototype, 'park').mockImplementation(async function (this: FakePool, ...args) {
      if (args[2]) throw Object.assign(new Error('no memory'), { code: 'OUT_OF_MEMORY' })
      return park.apply(this, args)
    })
    const settings = { n: 12, checkpoints: every(20), policy: specReject() }
    const { outcome } = await raceOf({ ...settings, width: 4 })
    expect(outcome.usage).toMatchObject({ parkedBytes: 0 })
    expect(outcome.usage.parkings).toBeGreaterThan(8)
    spy.mockRestore()
    expect(decided(outcome)).toEqual(decided((await raceOf(settings)).outcome))
  })

  it('ends at its deadline with what there is, and with some who never began', async () => {
    const script = { stepMs: 2, length: () => 90 }
    const { outcome } = await raceOf({
      n: 30,
      width: 3,
      policy: bestOfN(),
      checkpoints: never,
      script,
      deadlineMs: 300
    })
    expect(outcome.reason).toBe('deadline')
    const late = outcome.branches.filter(({ tokens }) => tokens.length === 0)
    expect(late.length).toBeGreaterThan(0)
    for (const { status, score } of late) {
      expect(status).toEqual({ state: 'finished', reason: 'deadline' })
      expect(score).toBeNull()
    }
    expect(outcome.winner?.tokens.length).toBeGreaterThan(0)
  })
})

describe('waves of a real model', async () => {
  const path = await modelFile(tiny)
  const engine = await open(path, { threads: 1 })
  afterAll(() => engine.close())
  const prompt = 'What is the matter?'
  const options = { maxTokens: 120, deterministic: true, seed: 5, scorer: meanLogprob() }
  const looks = { ...options, policy: specReject({ alpha: 0.4, checkpoints: every(24) }) }

  it.each([
    ['copies', 1],
    ['nothing but tokens', 0]
  ])('write and decide what all at once would, by %s', async (_name, copies) => {
    const whole = await engine.bestOf(24, prompt, looks)
    // Of a pool of its own, whatever is at hand.
    const few = await engine.plan(6, prompt, { ...looks, budget: 2 ** 40 })
    // Room for six streams and, where there are copies, for eighteen candidates that wait.
    const budget = few.peakBytes + copies * 18 * 120 * few.bytesPerCell
    const planned = await engine.plan(24, prompt, { ...looks, budget })
    expect(planned).toMatchObject({ admitted: true })
    expect(planned.waves).toBeGreaterThan(1)
    if (copies === 0) expect(planned.why).toContain('decoded again')
    else expect(planned.why).toContain('copied out and back')
    const result = await engine.bestOf(24, prompt, { ...looks, budget })
    expect(decided(result)).toEqual(decided(whole))
    expect(result.waves).toBe(planned.waves)
    expect(result.usage.parkings).toBeGreaterThan(0)
    expect(result.usage.parkedBytes).toBeLessThanOrEqual(planned.parkedBytes)
    expect(result.usage.cellBytes + result.usage.parkedBytes).toBeLessThanOrEqual(budget)
  })

  it('are as many candidates as are asked for: more than a context has streams', async () => {
    const result = await engine.bestOf(600, prompt, { ...options, maxTokens: 24 })
    const some = await engine.bestOf(200, prompt, { ...options, maxTokens: 24 })
    expect(result).toMatchObject({ reason: 'settled', waves: 3 })
    expect(result.branches).toHaveLength(600)
    expect(new Set(result.branches.map(({ tokens }) => tokens.join(' '))).size).toBeGreaterThan(500)
    expect(decided(result).branches.slice(0, 200)).toEqual(decided(some).branches)
    expect(result.expected.generatedTokens).toBe(600 * 24)
    // Whoever comes next has a pool of its own making.
    expect(await engine.bestOf(4, prompt, options)).toMatchObject({ reason: 'settled', waves: 1 })
  })

  it('read answers that somebody else wrote', async () => {
    const answers = Array.from({ length: 300 }, (_, i) =>
      Int32Array.from({ length: 1 + (i % 9) }, (_, k) => 97 + ((i + k) % 26))
    )
    const result = await engine.score(prompt, answers, { deterministic: true, scorer: meanLogprob() })
    const part = await engine.score(prompt, answers.slice(280), { deterministic: true, scorer: meanLogprob() })
    expect(result.branches.map(({ tokens }) => tokens)).toEqual(answers)
    expect(result.branches.slice(280).map(({ logprobs }) => logprobs)).toEqual(
      part.branches.map(({ logprobs }) => logprobs)
    )
  })

  it('find a cell for the ghost of a lone branch where others wait in full streams', async () => {
    const memory = { ...options, maxTokens: 600, policy: specReject({ memory: true, alpha: 0.3 }) }
    const few = await engine.plan(3, prompt, { ...options, maxTokens: 100, budget: 2 ** 40 })
    let ladders = 0
    for (let share = 1; share < 3 && ladders < 2; share += 0.1) {
      const budget = Math.round(few.peakBytes * share)
      const plan = await engine.plan(10, prompt, { ...memory, budget })
      if (!plan.admitted || plan.waves < 2 || plan.rungs.length < 2) continue
      ladders++
      const full = (plan.rungs[0]?.cells ?? 0) - plan.promptTokens
      for (const last of [full, full - 1]) {
        const result = await engine.bestOf(10, prompt, { ...memory, budget, checkpoints: at([last]) })
        expect(result.reason).toBe('settled')
      }
    }
    expect(ladders).toBe(2)
  })

  it('count on copies whatever the policy can say beforehand, and keep to what they counted on', async () => {
    const answers = Array.from({ length: 300 }, () => Int32Array.from({ length: 60 }, () => 101))
    const settings = { ...options, checkpoints: at([50]), policy: bestOfN() }
    const plan = await engine.plan(300, prompt, settings)
    const { usage, expected } = await engine.score(prompt, answers, settings)
    expect(plan.parkedBytes).toBeGreaterThan(0)
    expect(plan.why).toContain('copied out and back')
    expect(usage.processedTokens).toBe(usage.promptTokens + 300 * 60)
    expect(usage.parkedBytes).toBeGreaterThan(0.8 * plan.parkedBytes)
    expect(usage.parkedBytes).toBeLessThanOrEqual(plan.parkedBytes)
    expect(usage.peakCells).toBeLessThanOrEqual(expected.peakCells)
    expect(usage.cellBytes).toBe(expected.cellBytes)
  })

  it('are written with scorers whose memory nobody can count', async () => {
    const scorer = {
      name: 'own',
      needs: [],
      ownsModel: true as const,
      begin: async () => ({ needs: [], score: (all: readonly Candidate[]) => all.map(({ tokens }) => tokens.length) })
    }
    const result = await engine.bestOf(257, prompt, { ...options, maxTokens: 8, scorer })
    expect(result).toMatchObject({ reason: 'settled', scorer: 'own', waves: 2 })
    const budgeted = engine.bestOf(257, prompt, { ...options, maxTokens: 8, scorer, budget: 2 ** 40 })
    await expect(budgeted).rejects.toMatchObject({ code: 'OPTION_INVALID' })
  })

  it('can be aborted at any time, and leave nothing behind', async () => {
    for (const ms of [0, 5, 20, 60, 150]) {
      const signal = AbortSignal.timeout(ms)
      await engine.bestOf(700, prompt, { ...looks, maxTokens: 200, signal }).catch((error) => error)
      expect(signal.aborted).toBe(true)
    }
    expect(await engine.bestOf(4, prompt, options)).toMatchObject({ reason: 'settled' })
  })
})
