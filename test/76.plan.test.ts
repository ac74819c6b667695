import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { NativeBinding, NativePoolParams, NativeSizes } from '../src/binding.js'
import { at, doubling, every, never } from '../src/checkpoint.js'
import { WinnowError } from '../src/errors.js'
import { forecast, stretches } from '../src/forecast.js'
import { greatest, ladder, type Rung } from '../src/ladder.js'
import { copyBytes, type Taken } from '../src/memory.js'
import { resolveOpen } from '../src/options.js'
import { Pace } from '../src/pace.js'
import { type PlanFacts, plan } from '../src/plan.js'
import { bestOfN } from '../src/policies/best-of-n.js'
import { randomKill } from '../src/policies/random-kill.js'
import { specReject } from '../src/policies/spec-reject.js'
import { stopWhenDecided } from '../src/policies/stop-when-decided.js'
import type { Policy, View } from '../src/policy.js'
import type { Usage } from '../src/result.js'
import { roomsOf, type Weights } from '../src/rooms.js'
import { lengthPenalty } from '../src/shapers/length-penalty.js'
import { type PoolNeeds, poolsFor, Streams } from '../src/streams.js'
import { fakeEngine } from './fakes/engine.js'
import { FakeModel } from './fakes/model.js'
import { FakePool } from './fakes/pool.js'

/** Contexts as llama.cpp sizes them, roughly: cells in proportion, buffers that grow with rows and with cells. */
const sizes =
  (bytesPerCell: number, compute = 0, device = 'GPU') =>
  ({ width, cells }: Rung): Taken[] => [
    { device, cells: width * cells * bytesPerCell, compute: compute * (100 + width + cells), outputs: 0 },
    { device: 'CPU', cells: 0, compute: 0, outputs: compute * width }
  ]

const facts = (own: Partial<PlanFacts> = {}): PlanFacts => ({
  n: 64,
  promptTokens: 100,
  maxTokens: 400,
  policy: specReject(),
  checkpoints: doubling(32),
  room: [
    { device: 'GPU', bytes: 1_000_000, host: false },
    { device: 'CPU', bytes: 1_000_000, host: true }
  ],
  budget: null,
  ladder: false,
  deterministic: false,
  layout: { asked: 'streams', gpu: false, tiles: true, headsPerKv: 4, shared: false },
  pace: null,
  ownBytesPerCell: 1,
  sizesOf: sizes(1),
  ...own
})
/** In a pool of its own shape. */
const rung = (width: number, cells: number, bytes = width * cells) => ({ width, cells, pool: { width, cells }, bytes })

describe('a plan', () => {
  it('gives every candidate a stream to its end where that fits, in whole blocks', async () => {
    const found = await plan(facts())
    expect(found).toMatchObject({ admitted: true, width: 64, waves: 1, maxTokens: 400, promptTokens: 100 })
    expect(found.rungs).toEqual([rung(64, 512)])
    expect(found).toMatchObject({ peakBytes: 64 * 512, bytesPerCell: 1, budgetBytes: 2_000_000 })
    expect(found.why).toBe('all 64 at once, to their ends')
    expect(found.parkedBytes).toBe(0)
  })

  it('writes in waves what does not fit at once, beside a stream for the prompt', async () => {
    const found = await plan(facts({ budget: 10 * 512 + 511, policy: bestOfN(), checkpoints: never }))
    // Nine at once would do; eight waves of eight are as many steps.
    expect(found).toMatchObject({ admitted: true, width: 8, waves: 8, parkedBytes: 0, budgetBytes: 5631 })
    expect(found.rungs).toEqual([{ width: 8, cells: 512, pool: { width: 9, cells: 512 }, bytes: 9 * 512 }])
    expect(found).toMatchObject({ peakBytes: 9 * 512, expectedTokens: 64 * 400 })
    expect(found.why).toBe('8 waves of 8, to their ends')
  })

  it('has room for copies of those who wait for the next look, as far as memory goes', async () => {
    const looks = { policy: specReject({ alpha: 0.25 }), checkpoints: at([100]) }
    const roomy = await plan(facts({ n: 300, ...looks }))
    expect(roomy).toMatchObject({
      width: 150,
      waves: 2,
      parkedBytes: 150 * (128 + 200 * 13),
      expectedTokens: 100 * 300 + 300 * 225
    })
    expect(roomy.peakBytes).toBe(151 * 512 + roomy.parkedBytes)
    expect(roomy.why).toBe('2 waves of 150, to their ends; who waits is copied out and back')
    const tight = await plan(facts({ n: 300, ...looks, budget: 151 * 512 + 999 }))
    expect(tight).toMatchObject({ width: 150, waves: 2, parkedBytes: 999, peakBytes: 151 * 512 + 999 })
    expect(tight.why).toContain('decoded again where there is no room for copies')
    const host = { device: 'CPU', bytes: 7, host: true }
    const full = facts({ n: 300, ...looks, room: [{ device: 'GPU', bytes: 1_000_000, host: false }, host] })
    expect((await plan(full)).parkedBytes).toBe(7)
  })

  it('is refused where not one candidate fits, and plans nothing then', async () => {
    const found = await plan(facts({ budget: 511 }))
    expect(found).toMatchObject({ admitted: false, width: 0, waves: 0, rungs: [], peakBytes: 0, expectedTokens: 0 })
    expect(found.why).toBe('not one candidate of 500 tokens, prompt included, fits in the budget')
  })

  it('knows that a context has no more than 256 streams', async () => {
    expect(await plan(facts({ n: 256 }))).toMatchObject({ width: 256, waves: 1 })
    expect(await plan(facts({ n: 257 }))).toMatchObject({ admitted: true, width: 129, waves: 2 })
    const most = await plan(facts({ n: 255 * 16 }))
    expect(most).toMatchObject({ width: 255, waves: 16 })
    expect(most.rungs[0]?.pool.width).toBe(256)
  })

  it('keeps within each device, whatever the other has left', async () => {
    const room = [
      { device: 'GPU', bytes: 5 * 512, host: false },
      { device: 'CPU', bytes: 1e12, host: true }
    ]
    expect(await plan(facts({ room }))).toMatchObject({ width: 4, waves: 16 })
    const elsewhere = facts({ room: room.slice(1) })
    expect(await plan(elsewhere)).toMatchObject({ admitted: false, width: 0 })
  })

  it('counts buffers, not cells alone', async () => {
    const budget = 64 * 512
    const found = await plan(facts({ budget, sizesOf: sizes(1, 10), policy: bestOfN(), checkpoints: never }))
    expect(found.waves).toBeGreaterThan(1)
    const pool = found.width + 1
    expect(found.peakBytes).toBe(pool * 512 + 10 * (100 + pool + 512) + 10 * pool)
  })

  it('with a ladder begins wider than all can be written, and rejects down to what can', async () => {
    const room = ['GPU', 'CPU'].map((device) => ({ device, bytes: 1e9, host: device === 'CPU' }))
    const large = { room, ownBytesPerCell: 1000, sizesOf: sizes(1000) }
    const found = await plan(facts({ maxTokens: 1948, budget: 1000 * 64 * 512, ladder: true, ...large }))
    // Copies of the survivors lie beside the old cells and then beside the new ones, and count both times.
    const holding = (width: number, cells: number, count: number, copied: number) =>
      rung(width, cells, 1000 * width * cells + count * copyBytes(copied, 1000))
    expect(found.rungs).toEqual([
      holding(64, 256, 32, 256),
      holding(32, 512, 32, 256),
      holding(16, 1280, 8, 1280),
      holding(8, 2048, 8, 1280)
    ])
    expect(found).toMatchObject({ admitted: true, waves: 1 })
    expect(found.why).toContain('rejecting whenever the streams are full')
  })

  it('has no ladder for a policy that keeps everybody', async () => {
    const found = await plan(facts({ maxTokens: 1948, budget: 64 * 512, ladder: true, policy: bestOfN() }))
    expect(found.rungs).toMatchObject([{ width: 13, cells: 2048, pool: { width: 14, cells: 2048 } }])
    expect(found).toMatchObject({ admitted: true, waves: 5 })
  })

  it('with a ladder and more candidates than a first rung holds climbs it in waves', async () => {
    const found = await plan(facts({ n: 128, maxTokens: 1948, budget: 64 * 512, ladder: true }))
    expect(found.waves).toBeGreaterThan(1)
    expect(found.rungs.length).toBeGreaterThan(1)
    expect(found.width * found.waves).toBeGreaterThanOrEqual(128)
    expect(found.rungs[0]?.pool.width).toBe(found.width + 1)
    expect(found.rungs[1]?.pool.width).toBe(found.rungs[1]?.width)
    expect(found.why).toContain(`${found.waves} waves of ${found.width}, ${found.rungs.length} rungs`)
  })

  it('says how long it takes once the engine has been measured', async () => {
    const pace = new Pace()
    pace.record(usage({ rows: 6400, decode: 8, sample: 2, prefill: 0.5 }), 100, false)
    const seconds = 0.5 + 400 * 0.1
    expect((await plan(facts({ policy: bestOfN(), pace }))).seconds).toBeCloseTo(seconds)
    expect((await plan(facts({ pace }))).seconds).toBeLessThanOrEqual(seconds)
    expect((await plan(facts())).seconds).toBeNull()
    expect((await plan(facts({ pace, deterministic: true }))).seconds).toBeNull()
  })

  it('is of the pool that would be taken, the first that fits', async () => {
    const larger = [100, 64].map((width) => ({ width, cells: 1024 }))
    const poolsFor = (wanted: Rung) => [...larger, wanted]
    const room = [
      { device: 'GPU', bytes: 70_000, host: false },
      { device: 'CPU', bytes: 0, host: true }
    ]
    const found = await plan(facts({ room, poolsFor }))
    expect(found.rungs).toEqual([{ width: 64, cells: 512, pool: { width: 64, cells: 1024 }, bytes: 64 * 1024 }])
    expect(found).toMatchObject({ admitted: true, peakBytes: 64 * 1024, bytesPerCell: 1 })
    const tight = await plan(facts({ room, poolsFor, budget: 40_000 }))
    expect(tight.rungs).toEqual([rung(64, 512)])
    const none = await plan(facts({ room, poolsFor: () => larger.slice(0, 1) }))
    expect(none).toMatchObject({ admitted: false, width: 0 })
  })

  it('takes what llama.cpp cannot lay out for what does not fit, and any other failure for one', async () => {
    const failing = (code: string) => (pool: Rung) => {
      if (pool.width > 10) throw new WinnowError(code, 'Expected less but received more')
      return sizes(1)(pool)
    }
    expect(await plan(facts({ sizesOf: failing('OUT_OF_MEMORY') }))).toMatchObject({ width: 8, waves: 8 })
    await expect(plan(facts({ sizesOf: failing('MODEL_UNSUPPORTED') }))).rejects.toMatchObject({
      code: 'MODEL_UNSUPPORTED'
    })
  })

  it('never takes more than its budget, whatever the facts', async () => {
    const anything = fc.record({
      n: fc.integer({ min: 1, max: 4096 }),
      promptTokens: fc.integer({ min: 1, max: 5000 }),
      maxTokens: fc.integer({ min: 1, max: 5000 }),
      policy: fc.constantFrom(
        bestOfN(),
        specReject(),
        specReject({ alpha: 0.2 }),
        specReject({ paper: true, alpha: 0.7 })
      ),
      checkpoints: fc.constantFrom(doubling(32), every(100), at([50, 60])),
      budget: fc.option(fc.integer({ min: 1, max: 1e9 })),
      ladder: fc.boolean(),
      gpu: fc.integer({ min: 0, max: 1e9 }),
      cpu: fc.integer({ min: 0, max: 1e9 }),
      bytesPerCell: fc.integer({ min: 1, max: 5000 }),
      compute: fc.integer({ min: 0, max: 10_000 }),
      host: fc.boolean()
    })
    await fc.assert(
      fc.asyncProperty(anything, async ({ gpu, cpu, bytesPerCell, compute, host, ...own }) => {
        const sizesOf = sizes(bytesPerCell, compute, host ? 'CPU' : 'GPU')
        const room = [
          { device: 'GPU', bytes: gpu, host: false },
          { device: 'CPU', bytes: cpu, host: true }
        ]
        const found = await plan(facts({ ...own, room, sizesOf, ownBytesPerCell: bytesPerCell }))
        const { rungs, width, waves } = found
        expect(found.budgetBytes).toBeLessThanOrEqual(Math.min(own.budget ?? Number.POSITIVE_INFINITY, gpu + cpu))
        expect(found.peakBytes).toBeLessThanOrEqual(found.budgetBytes)
        expect(found.peakBytes).toBe(Math.max(0, ...rungs.map(({ bytes }) => bytes)) + found.parkedBytes)
        for (const [i, rung] of rungs.entries()) {
          expect(rung.cells % 256).toBe(0)
          expect(rung.width).toBeGreaterThan(0)
          expect(rung.pool.width).toBe(i === 0 && rung.width < own.n ? rung.width + 1 : rung.width)
          expect(rung.pool.width).toBeLessThanOrEqual(256)
          const before = rungs[i - 1]
          if (before !== undefined) expect(rung.width < before.width && rung.cells > before.cells).toBe(true)
          const taken = sizesOf(rung.pool)
          for (const { device, bytes, host } of room) {
            const own = taken.filter((each) => each.device === device)
            const sum = own.reduce((sum, { cells, compute, outputs }) => sum + cells + compute + outputs, 0)
            expect(sum + (host ? found.parkedBytes : 0)).toBeLessThanOrEqual(bytes)
          }
        }
        expect(found.admitted).toBe(rungs.length > 0)
        if (!own.ladder) expect(rungs.length).toBeLessThanOrEqual(1)
        if (waves === 1) expect(found.parkedBytes).toBe(0)
        if (rungs.length === 0) return
        // The last rung holds a candidate to its end, and waves cover n without one too many.
        expect(rungs.at(-1)?.cells).toBeGreaterThanOrEqual(own.promptTokens + own.maxTokens)
        expect(width * waves).toBeGreaterThanOrEqual(own.n)
        expect((waves - 1) * width).toBeLessThan(own.n)
        expect(found.expectedTokens).toBeLessThanOrEqual(own.n * own.maxTokens)
        expect(found.expectedTokens).toBeGreaterThanOrEqual(own.n)
      }),
      { numRuns: 400 }
    )
  })

  it('asks for no shape whose cells alone are too many', async () => {
    const asked: Rung[] = []
    const sizesOf = (rung: Rung) => {
      asked.push(rung)
      return sizes(1)(rung)
    }
    await plan(facts({ n: 256, budget: 5000, sizesOf, ladder: true }))
    expect(asked.length).toBeGreaterThan(0)
    for (const { width, cells } of asked) expect(width * cells).toBeLessThanOrEqual(5000)
    expect(new Set(asked.map(({ width, cells }) => `${width}x${cells}`)).size).toBe(asked.length)
  })

  it('has no width left over: one candidate more would not fit', async () => {
    const any = fc.record({ budget: fc.integer({ min: 512, max: 200_000 }), compute: fc.integer({ min: 0, max: 20 }) })
    await fc.assert(
      fc.asyncProperty(any, async ({ budget, compute }) => {
        const { width, waves } = await plan(facts({ n: 256, budget, sizesOf: sizes(1, compute) }))
        if (waves <= 1) return
        // A wave less would not hold all.
        const wider = Math.ceil(256 / (waves - 1))
        const more = sizes(1, compute)({ width: wider + (wider < 256 ? 1 : 0), cells: 512 })
        const bytes = more.reduce((sum, { cells, compute, outputs }) => sum + cells + compute + outputs, 0)
        expect(wider).toBeGreaterThan(width)
        expect(bytes).toBeGreaterThan(budget)
      })
    )
  })
})

describe('the room for contexts', () => {
  const GiB = 2 ** 30
  const devices = (['gpu', 'cpu'] as const).map((type) => ({
    name: type.toUpperCase(),
    description: '',
    type,
    memoryFree: 16 * GiB,
    memoryTotal: 32 * GiB
  }))
  const part = (device: string, weights: number) => ({ device, weights, cells: GiB, compute: 0, outputs: 0 })
  const model: NativeSizes = { streams: 1, cellsPerStream: 256, devices: [part('GPU', 4 * GiB), part('CPU', 2 * GiB)] }
  const weights = (loaded: boolean, mmap: boolean): Weights => ({ sizes: model, loaded, mmap })
  const left = (...own: Parameters<typeof roomsOf>) => roomsOf(...own).map(({ bytes }) => bytes / GiB)

  it('leaves a sixteenth alone, and the weights that are still to come', () => {
    expect(left(devices, [weights(false, false)], [])).toEqual([11, 13])
    expect(left(devices, [weights(true, false)], [])).toEqual([15, 15])
    expect(left(devices, [weights(true, false), weights(false, false)], [])).toEqual([11, 13])
    expect(left(devices, [weights(true, false), weights(true, false)], [])).toEqual([15, 15])
  })

  it('keeps mapped weights on the host counted, which look free', () => {
    expect(left(devices, [weights(true, true)], [])).toEqual([15, 13])
    expect(left(devices, [weights(true, false), weights(true, true)], [])).toEqual([15, 13])
  })

  it('has what will be given back, and never less than nothing', () => {
    const loaded = [weights(true, false)]
    expect(left(devices, loaded, [part('GPU', 0)])).toEqual([17 * (15 / 16), 15])
    const full = devices.map((device) => ({ ...device, memoryFree: GiB / 8 }))
    expect(left(full, [weights(true, true)], [])).toEqual([0, 0])
    // What was taken once can be again, however little is free beside it.
    expect(left(full, loaded, [part('GPU', 0)])).toEqual([1, 0])
  })
})

describe('the pool for a race', () => {
  const needs = (streams: number, cellsPerStream: number, states = false): PoolNeeds => ({
    streams,
    cellsPerStream,
    states,
    deterministic: false
  })

  it('is the one at hand where that serves, even if only a part of it is used', () => {
    const held = needs(64, 1024, true)
    expect(poolsFor(held, needs(1, 100))).toEqual([held])
    expect(poolsFor(null, needs(1, 100))).toEqual([needs(1, 100)])
  })

  it('grows in both directions while at most half of it would be idle', () => {
    expect(poolsFor(needs(8, 256), needs(4, 700))).toEqual([needs(8, 700), needs(4, 700)])
    expect(poolsFor(needs(8, 256), needs(3, 700))).toEqual([needs(3, 700)])
    expect(poolsFor(needs(64, 256), needs(1, 4096))).toEqual([needs(1, 4096)])
    expect(poolsFor(needs(1, 4096), needs(64, 256))).toEqual([needs(64, 256)])
  })

  it('is made anew where it keeps no states, or is too small in both directions', () => {
    expect(poolsFor(needs(8, 256), needs(8, 200, true))).toEqual([needs(8, 200, true)])
    expect(poolsFor(needs(8, 256), needs(7, 200, true))).toEqual([needs(8, 256, true), needs(7, 200, true)])
    expect(poolsFor(needs(4, 256), needs(8, 512))).toEqual([needs(8, 512)])
  })

  it('never has more than twice the cells of the larger need, nor fewer than are needed', () => {
    const streams = fc.integer({ min: 1, max: 256 })
    const shape = fc.record({ streams, cellsPerStream: fc.integer({ min: 1, max: 9000 }) })
    const cells = ({ streams, cellsPerStream }: PoolNeeds) => streams * Math.ceil(cellsPerStream / 256) * 256
    fc.assert(
      fc.property(shape, shape, (a, b) => {
        const [held, wanted] = [needs(a.streams, a.cellsPerStream), needs(b.streams, b.cellsPerStream)]
        for (const pool of poolsFor(held, wanted)) {
          expect(pool.streams >= b.streams && pool.cellsPerStream >= b.cellsPerStream).toBe(true)
          expect(cells(pool)).toBeLessThanOrEqual(2 * Math.max(cells(held), cells(wanted)))
        }
      })
    )
  })

  it('is of the shape asked for where memory has not the grown one', async () => {
    const [pools, refused]: [FakePool[], number[][]] = [[], []]
    const binding = {
      async createPool(_: unknown, params: NativePoolParams) {
        const pool = new FakePool(params, { length: () => 10 })
        const { streams, cellsPerStream } = pool.params
        if (streams * cellsPerStream > 6 * 256) {
          refused.push([streams, cellsPerStream])
          throw Object.assign(new Error('no memory'), { code: 'OUT_OF_MEMORY' })
        }
        pools.push(pool)
        return pool
      }
    } as unknown as NativeBinding
    const streams = new Streams(binding, new FakeModel(), resolveOpen({}))
    await streams.acquire(needs(4, 100))
    await streams.acquire(needs(2, 700))
    expect(pools.map(({ params, closed }) => [params.streams, params.cellsPerStream, closed])).toEqual([
      [4, 256, true],
      [2, 768, false]
    ])
    expect(refused).toEqual([[4, 768]])
    expect(streams.held?.needs).toEqual(needs(2, 768))
    await expect(streams.acquire(needs(8, 700))).rejects.toMatchObject({ code: 'OUT_OF_MEMORY' })
    expect(streams.held).toBeNull()
  })
})

describe('a ladder', () => {
  const half = (live: number) => (live === 1 ? 1 : Math.round(live / 2))

  it('has fewer and longer streams from rung to rung', async () => {
    const rungs = await ladder({ width: 100, keeps: half, cellsAt: (width) => Math.floor(10_000 / width), until: 900 })
    expect(rungs.map(({ width, cells }) => [width, cells])).toEqual([
      [100, 100],
      [50, 200],
      [25, 400],
      [13, 769],
      [7, 1428]
    ])
  })

  it('rejects again at once where that alone makes no longer stream', async () => {
    const cellsAt = (width: number) => Math.floor(4096 / width / 256) * 256
    const rungs = await ladder({ width: 16, keeps: (live) => live - 1, cellsAt, until: 1024 })
    expect(rungs.map(({ width, cells }) => [width, cells])).toEqual([
      [16, 256],
      [8, 512],
      [5, 768],
      [4, 1024]
    ])
  })

  it('ends where rejecting gains nothing, and where nobody would be left', async () => {
    expect(await ladder({ width: 8, keeps: half, cellsAt: () => 256, until: 512 })).toEqual([{ width: 8, cells: 256 }])
    expect(
      await ladder({ width: 8, keeps: (live) => live, cellsAt: (width) => 1024 / width, until: 512 })
    ).toHaveLength(1)
    expect(await ladder({ width: 8, keeps: () => 0, cellsAt: (width) => 1024 / width, until: 512 })).toHaveLength(1)
  })

  it('finds the greatest number that passes', async () => {
    const range = fc.tuple(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 0, max: 300 }))
    await fc.assert(
      fc.asyncProperty(range, async ([high, limit]) => {
        const expected = Math.min(high, limit)
        expect(await greatest(1, high, (value) => value <= limit)).toBe(expected < 1 ? null : expected)
      })
    )
  })
})

describe('a forecast', () => {
  const race = (policy: Policy, n = 16, maxTokens = 100) => ({
    n,
    maxTokens,
    promptTokens: 10,
    policy,
    checkpoints: policy.checkpoints
  })

  it('follows the checkpoints of a policy that says how many it keeps', () => {
    expect(stretches(race(specReject({ checkpoints: at([8, 20]) })))).toEqual([
      { live: 16, atOnce: 16, from: 0, to: 8 },
      { live: 8, atOnce: 8, from: 8, to: 20 },
      { live: 4, atOnce: 4, from: 20, to: 100 }
    ])
    expect(forecast(race(specReject({ checkpoints: at([8, 20]) })))).toEqual({
      generatedTokens: 16 * 8 + 8 * 12 + 4 * 80,
      peakCells: 4 * 110
    })
  })

  it('takes any other policy to keep everybody', () => {
    expect(forecast(race(bestOfN()))).toEqual({ generatedTokens: 1600, peakCells: 16 * 110 })
    const mute: Policy = { name: 'mute', checkpoints: every(10), decide: () => ({ kill: [] }) }
    expect(forecast(race(mute)).generatedTokens).toBe(1600)
  })

  it('rejects when the streams of a rung are full', () => {
    const rungs = [
      { width: 16, cells: 40 },
      { width: 8, cells: 110 }
    ]
    expect(stretches(race(bestOfN()), rungs)).toEqual([
      { live: 16, atOnce: 16, from: 0, to: 30 },
      { live: 8, atOnce: 8, from: 30, to: 100 }
    ])
  })

  it('counts answers that are given only as far as they go', () => {
    const given = { ...race(bestOfN(), 3), lengths: [5, 0, 200] }
    expect(stretches(given)).toEqual([
      { live: 2, atOnce: 2, from: 0, to: 5 },
      { live: 1, atOnce: 1, from: 5, to: 100 }
    ])
    expect(forecast(given)).toEqual({ generatedTokens: 5 + 100, peakCells: 110 })
    expect(forecast({ ...race(bestOfN(), 2), lengths: [0, 0] })).toEqual({ generatedTokens: 0, peakCells: 0 })
    const rejecting = { ...race(specReject({ checkpoints: at([8]) }), 4), lengths: [20, 20, 4, 4] }
    expect(forecast(rejecting).generatedTokens).toBe(4 * 4 + 2 * 4 + 1 * 12)
  })

  it('takes as many checkpoints as there are tokens', () => {
    const long = { ...race(specReject({ alpha: 0, checkpoints: every(1) }), 2, 200_000), promptTokens: 1 }
    expect(forecast(long)).toEqual({ generatedTokens: 400_000, peakCells: 400_002 })
  })

  it('costs nobody a race whose policy fails to say how many it keeps', async () => {
    const keeps = () => {
      throw new Error('I cannot say')
    }
    const policy: Policy = { name: 'mute', checkpoints: every(4), decide: () => ({ kill: [] }), keeps }
    expect(forecast(race(policy)).generatedTokens).toBe(1600)
    const { engine } = fakeEngine({ length: () => 10 })
    const result = await engine.bestOf(2, 'hi', { policy, maxTokens: 20 })
    expect(result).toMatchObject({ reason: 'settled', expected: { generatedTokens: 40 } })
  })

  it('of answers that somebody else wrote is what they come to', async () => {
    const { engine } = fakeEngine({ length: () => 10 })
    const { expected, usage } = await engine.score('hi', ['abc', 'a', ''])
    expect(expected.generatedTokens).toBe(usage.generatedTokens)
    expect(usage.generatedTokens).toBe(4)
  })

  it('ends with the last candidate that the reference would keep', () => {
    const parts = stretches(race(specReject({ paper: true, checkpoints: every(10) }), 4))
    expect(parts.map(({ live, to }) => [live, to])).toEqual([
      [4, 10],
      [2, 20],
      [1, 30]
    ])
  })

  it('agrees with what the policies decide', () => {
    const shape = lengthPenalty({ alpha: 0.1 })
    const stopping = stopWhenDecided({ policy: specReject({ alpha: 0.3 }), shape, ceiling: 1000 })
    for (const policy of [
      specReject(),
      specReject({ alpha: 0.3 }),
      specReject({ paper: true }),
      randomKill(),
      stopping
    ]) {
      for (const n of [1, 2, 3, 7, 64]) {
        expect(policy.keeps?.(n), `${policy.name} of ${n}`).toBe(n - policy.decide(view(n)).kill.length)
      }
    }
    expect(stopWhenDecided({ policy: specReject({ margin: 1 }), shape, ceiling: 1000 }).keeps).toBeUndefined()
  })
})

describe('the pace of an engine', () => {
  /** As of the races below: a prompt of 100 tokens and 100 steps. */
  const like = { deterministic: false, context: 150 }

  it('is unknown before the first race', () => {
    expect(new Pace().step(4, like)).toBeNull()
    expect(new Pace().prompt(4)).toBeNull()
  })

  it('lies on the line between the widths that were measured', () => {
    const pace = new Pace()
    pace.record(usage({ rows: 100, decode: 1, sample: 0, prefill: 1 }), 100, false)
    pace.record(usage({ rows: 300, decode: 1.5, sample: 0.5, prefill: 2 }), 100, false)
    expect([1, 2, 3].map((width) => pace.step(width, like))).toEqual([0.01, 0.015, 0.02])
    expect(pace.step(6, like)).toBeCloseTo(0.04)
    expect(pace.prompt(50)).toBe(1)
  })

  it('takes the latest of equal widths, and no race without a step', () => {
    const pace = new Pace()
    pace.record(usage({ rows: 200, decode: 9, sample: 0, prefill: 1 }), 100, false)
    pace.record(usage({ rows: 200, decode: 1, sample: 0, prefill: 1 }), 100, false)
    pace.record(usage({ rows: 0, decode: 0, sample: 0, prefill: 1 }), 0, false)
    expect([1, 2].map((width) => pace.step(width, like))).toEqual([0.01, 0.01])
  })

  it('says nothing of races unlike any that was measured', () => {
    const pace = new Pace()
    pace.record(usage({ rows: 200, decode: 1, sample: 0, prefill: 1 }), 100, false)
    expect(pace.step(2, { ...like, deterministic: true })).toBeNull()
    expect(pace.step(2, { ...like, context: 601 })).toBeNull()
    expect(pace.step(2, { ...like, context: 600 })).toBe(0.01)
    expect(pace.prompt(401)).toBeNull()
    expect(pace.prompt(24)).toBeNull()
    const longer = usage({ rows: 200, decode: 3, sample: 0, prefill: 8 })
    pace.record({ ...longer, promptTokens: 1000, processedTokens: 1200 }, 100, false)
    expect([150, 1050].map((context) => pace.step(2, { ...like, context }))).toEqual([0.01, 0.03])
    expect([100, 1000].map((tokens) => pace.prompt(tokens))).toEqual([1, 8])
  })
})

interface Measured {
  readonly rows: number
  readonly decode: number
  readonly sample: number
  readonly prefill: number
}

function usage({ rows, ...seconds }: Measured): Usage {
  return {
    promptTokens: 100,
    processedTokens: 100 + rows,
    seconds: { score: 0, policy: 0, other: 0, ...seconds }
  } as Usage
}

/** So many live branches, all scored. */
function view(n: number): View {
  const branches = Array.from({ length: n }, (_, id) => ({
    id,
    state: 'live' as const,
    reason: null,
    score: id,
    scores: [],
    tokens: 10,
    fresh: false
  }))
  return { index: 0, tokens: 10, last: false, branches, seed: 1, memory: undefined }
}
