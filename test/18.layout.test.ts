import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { doubling, never } from '../src/checkpoint.js'
import { WinnowError } from '../src/errors.js'
import { forecast } from '../src/forecast.js'
import { cellsOf, type Rung } from '../src/ladder.js'
import { barTo, comparison, type LayoutFacts, layoutFacts, pays, unifiedRung } from '../src/layout.js'
import { resolveOpen } from '../src/options.js'
import { Pace } from '../src/pace.js'
import { type PlanFacts, plan } from '../src/plan.js'
import { bestOfN } from '../src/policies/best-of-n.js'
import { specReject } from '../src/policies/spec-reject.js'
import type { Usage } from '../src/result.js'
import { serves } from '../src/streams.js'

const gpu: LayoutFacts = { asked: 'auto', gpu: true, tiles: true, headsPerKv: 4, shared: false }
const shape = { n: 16, promptTokens: 4000, maxTokens: 500, deterministic: false }

const facts = (own: Partial<PlanFacts> = {}): PlanFacts => ({
  ...shape,
  policy: specReject(),
  checkpoints: doubling(32),
  room: [{ device: 'GPU', bytes: 1e9, host: true }],
  budget: null,
  ladder: false,
  layout: gpu,
  pace: null,
  ownBytesPerCell: 2,
  sizesOf: (pool) => [{ device: 'GPU', cells: 2 * cellsOf(pool), compute: 10 * pool.width, outputs: 0 }],
  ...own
})

describe('a unified cache', () => {
  it('holds the prompt once, and every candidate to its end', () => {
    expect(unifiedRung(shape)).toEqual({ width: 16, cells: 4608, unifiedCells: 12_032 })
    expect(comparison(shape, 1024)).toBe(
      '16 streams are 73728 cells (72.0 MiB), a unified cache is 12032 cells (11.8 MiB)'
    )
  })

  it('is not for deterministic races, nor for more candidates than there are sequences beside the prompt', () => {
    expect(barTo(shape)).toBeNull()
    expect(barTo({ ...shape, n: 255 })).toBeNull()
    expect(barTo({ ...shape, n: 256 })).toContain('at most 255 candidates')
    expect(barTo({ ...shape, deterministic: true })).toContain('never deterministic')
  })

  it('pays on a GPU where fewer cells are read a step', () => {
    expect(pays(gpu, shape)).toBe(true)
    // Behind one tile of queries it takes a longer prompt: 500 (64 - 16) / 15 = 1600 tokens.
    expect(pays(gpu, { ...shape, n: 64, promptTokens: 1601 })).toBe(true)
    expect(pays(gpu, { ...shape, n: 64, promptTokens: 1600 })).toBe(false)
    expect(pays(gpu, { ...shape, promptTokens: 499 })).toBe(false)
    expect(pays(gpu, { ...shape, n: 1 })).toBe(false)
    expect(pays({ ...gpu, shared: true }, shape)).toBe(false)
    expect(pays({ ...gpu, gpu: false }, shape)).toBe(false)
    // A row of queries for each tile: nothing is read together.
    expect(pays({ ...gpu, headsPerKv: 64 }, { ...shape, n: 2, promptTokens: 1e6 })).toBe(false)
  })

  it('pays on the CPU for tiles of rows behind a prompt that is most of what they read', () => {
    const cpu = { ...gpu, gpu: false }
    const race = { n: 64, promptTokens: 1000, maxTokens: 64, deterministic: false }
    expect(pays(cpu, race)).toBe(true)
    expect(pays(cpu, { ...race, n: 63 })).toBe(false)
    expect(pays(cpu, { ...race, maxTokens: 128 })).toBe(false)
    expect(pays({ ...cpu, tiles: false }, race)).toBe(false)
    expect(pays({ ...cpu, shared: true }, race)).toBe(false)
  })

  it('pays just where its tiles read fewer cells than the streams', () => {
    const any = fc.record({
      n: fc.integer({ min: 17, max: 255 }),
      maxTokens: fc.integer({ min: 1, max: 4000 }),
      extra: fc.integer({ min: 0, max: 100_000 })
    })
    fc.assert(
      fc.property(any, ({ n, maxTokens, extra }) => {
        const promptTokens = maxTokens + extra
        const streams = n * (promptTokens + maxTokens)
        const unified = (n / 16) * (promptTokens + n * maxTokens)
        expect(pays(gpu, { n, promptTokens, maxTokens, deterministic: false })).toBe(unified < streams)
      })
    )
  })

  it('is looked for on a GPU that computes', () => {
    const device = { name: '', description: '', memoryFree: 1, memoryTotal: 1 }
    const devices = [
      { ...device, type: 'cpu' },
      { ...device, type: 'gpu' }
    ] as const
    const heads = { heads: 32, headsKv: 8 }
    expect(layoutFacts(resolveOpen({ threads: 1 }), heads, devices, false)).toEqual(gpu)
    expect(layoutFacts(resolveOpen({ threads: 2 }), heads, devices, false).tiles).toBe(false)
    expect(layoutFacts(resolveOpen({ gpuLayers: 0 }), heads, devices, false).gpu).toBe(false)
    expect(layoutFacts(resolveOpen({}), heads, devices.slice(0, 1), false).gpu).toBe(false)
    expect(layoutFacts(resolveOpen({ threads: 1, kvType: 'q8_0' }), heads, devices, false).tiles).toBe(false)
    expect(layoutFacts(resolveOpen({ threads: 1, flashAttention: 'off' }), heads, devices, false).tiles).toBe(false)
  })

  it('is nobody’s but of the race it was made for', () => {
    const needs = { streams: 2, cellsPerStream: 256, states: false, deterministic: false }
    expect(serves(needs, needs)).toBe(true)
    expect(serves({ ...needs, unifiedCells: 512 }, needs)).toBe(false)
    expect(serves(needs, { ...needs, unifiedCells: 512 })).toBe(false)
  })

  it('is asked for by name', () => {
    expect(resolveOpen({}).layout).toBe('auto')
    expect(resolveOpen({ layout: 'unified' }).layout).toBe('unified')
    expect(() => resolveOpen({ layout: 'paged' as 'auto' })).toThrow(
      expect.objectContaining({ code: 'OPTION_INVALID' })
    )
  })
})

describe('the layout of a plan', () => {
  const streams = (own: Partial<PlanFacts> = {}) => plan(facts(own))

  it('is unified where that reads fewer cells, with a sequence for the prompt', async () => {
    const found = await plan(facts())
    expect(found).toMatchObject({ layout: 'unified', admitted: true, width: 16, waves: 1, parkedBytes: 0 })
    expect(found.rungs).toEqual([
      {
        width: 16,
        cells: 4608,
        unifiedCells: 12_032,
        pool: { width: 17, cells: 4608, unifiedCells: 12_032 },
        bytes: 2 * 12_032 + 170
      }
    ])
    expect(found).toMatchObject({ bytesPerCell: 2, peakBytes: 2 * 12_032 + 170 })
    expect(found.layoutWhy).toBe(`fewer cells are read a step: ${comparison(shape, 2)}`)
  })

  it('is streams where speed says so, and says that', async () => {
    const why = async (own: Partial<PlanFacts>) => {
      const found = await streams(own)
      expect(found.layout).toBe('streams')
      expect(found.rungs[0]?.unifiedCells).toBeUndefined()
      return found.layoutWhy
    }
    expect(await why({ layout: { ...gpu, gpu: false } })).toContain('not measured to be faster: 16 streams are')
    expect(await why({ layout: { ...gpu, shared: true } })).toContain('other races share the pool')
    expect(await why({ layout: { ...gpu, asked: 'streams' } })).toContain('as asked: ')
    expect(await why({ promptTokens: 100 })).toContain('shorter than the answers')
    expect(await why({ n: 200 })).toContain('over the cells of all')
    expect(await why({ deterministic: true })).toContain('never deterministic')
    const unified = { ...gpu, asked: 'unified' } as const
    expect(await why({ deterministic: true, layout: unified })).toContain('never deterministic')
    expect(await why({ n: 256, layout: unified })).toContain('at most 255 candidates')
  })

  it('is unified as asked, whatever is faster', async () => {
    const layout = { asked: 'unified', gpu: false, tiles: false, headsPerKv: 1, shared: true } as const
    const found = await plan(facts({ layout, promptTokens: 10 }))
    expect(found.layout).toBe('unified')
    expect(found.layoutWhy).toContain('as asked')
  })

  it('is unified on a GPU that does not hold all in streams, whoever shares it', async () => {
    const tight = { n: 200, budget: 2 * 120_000, layout: { ...gpu, shared: true } }
    const found = await plan(facts(tight))
    expect(found).toMatchObject({ layout: 'unified', width: 200, waves: 1 })
    expect(found.layoutWhy).toContain('streams do not hold all candidates at once')
    expect(await plan(facts({ ...tight, layout: { ...gpu, gpu: false } }))).toMatchObject({ layout: 'streams' })
  })

  it('is streams, in waves or on a ladder, where one cache does not hold all to their ends', async () => {
    const layout = { ...gpu, asked: 'unified' } as const
    const found = await plan(facts({ layout, budget: 2 * 11_000, policy: bestOfN(), checkpoints: never }))
    expect(found).toMatchObject({ layout: 'streams', width: 1, waves: 16 })
    expect(found.layoutWhy).toContain('not all candidates fit in one cache at once')
    const ladder = await plan(
      facts({ layout, budget: 2 * 80_000, n: 64, promptTokens: 100, maxTokens: 1948, ladder: true })
    )
    expect(ladder.layout).toBe('streams')
    expect(ladder.rungs.length).toBeGreaterThan(1)
    expect(await plan(facts({ layout, budget: 1 }))).toMatchObject({ admitted: false, layoutWhy: '' })
  })

  it('is streams for a model whose cells cannot be shared; any other failure is one', async () => {
    const failing = (code: string) => (pool: Rung) => {
      if (pool.unifiedCells !== undefined) throw new WinnowError(code, 'Expected less but received more')
      return [{ device: 'GPU', cells: 2 * cellsOf(pool), compute: 0, outputs: 0 }]
    }
    const found = await plan(facts({ sizesOf: failing('MODEL_UNSUPPORTED') }))
    expect(found).toMatchObject({ layout: 'streams', admitted: true })
    expect(found.layoutWhy).toContain('the cells of this model cannot be shared')
    await expect(plan(facts({ sizesOf: failing('OPTION_INVALID') }))).rejects.toMatchObject({ code: 'OPTION_INVALID' })
  })

  it('takes as long as races of its own layout did', async () => {
    const pace = new Pace()
    const usage = {
      processedTokens: 4000 + 16 * 100,
      promptTokens: 4000,
      seconds: { decode: 8, sample: 2, prefill: 1 }
    }
    pace.record(usage as Usage, 100, false, 'unified')
    expect((await plan(facts({ pace, policy: bestOfN() }))).seconds).toBeCloseTo(1 + 500 * 0.1)
    expect((await plan(facts({ pace, layout: { ...gpu, gpu: false } }))).seconds).toBeNull()
  })

  it('never takes more than its budget, and has room for all that is foreseen', async () => {
    const any = fc.record({
      n: fc.integer({ min: 1, max: 300 }),
      promptTokens: fc.integer({ min: 1, max: 5000 }),
      maxTokens: fc.integer({ min: 1, max: 2000 }),
      budget: fc.integer({ min: 1, max: 3e6 }),
      asked: fc.constantFrom('auto', 'unified')
    })
    await fc.assert(
      fc.asyncProperty(any, async ({ asked, ...own }) => {
        const given = facts({ ...own, layout: { ...gpu, asked } })
        const found = await plan(given)
        expect(found.peakBytes).toBeLessThanOrEqual(own.budget)
        const [rung] = found.rungs
        if (found.layout !== 'unified' || rung === undefined) return
        expect(found).toMatchObject({ width: own.n, waves: 1 })
        const { peakCells } = forecast(given, found.rungs, 1)
        expect(peakCells).toBeLessThanOrEqual(cellsOf(rung))
        expect(peakCells).toBeGreaterThanOrEqual(own.promptTokens)
      })
    )
  })
})
