import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadBinding } from '../src/binding.js'
import { doubling } from '../src/checkpoint.js'
import { main } from '../src/cli/main.js'
import { type Engine, open } from '../src/engine.js'
import type { Rung } from '../src/ladder.js'
import { openModel } from '../src/model.js'
import { resolveOpen } from '../src/options.js'
import { takenOf } from '../src/outline.js'
import { specReject } from '../src/policies/spec-reject.js'
import { reranker } from '../src/reward/reranker.js'
import { meanLogprob } from '../src/scorers/mean-logprob.js'
import { fakeTerminal } from './fakes/terminal.js'

const poolParams = {
  streams: 8,
  cellsPerStream: 256,
  threads: 1,
  batch: 512,
  kvType: 'f16',
  flashAttention: 'auto',
  states: true,
  deterministic: false
} as const

const settings = { threads: 1 } as const
const question = 'Mia starts with 35 stamps and wins 18. How many stamps are there in the end?'
const prompt = `${'A long story of stamps comes before it. '.repeat(8)}${question}`
const answers = ['18 + 35 = 53, so there are 53.', '35 - 18 = 17', 'She has 53 stamps.', '53']

let streams: Engine
let unified: Engine
beforeAll(async () => {
  streams = await open(undefined, { ...settings, layout: 'streams' })
  unified = await open(undefined, { ...settings, layout: 'unified' })
})
afterAll(async () => {
  await streams.close()
  await unified.close()
})

const apart = (a: Float32Array, b: Float32Array) => Math.max(...a.map((value, i) => Math.abs(value - (b[i] as number))))

describe('a race in a unified cache', () => {
  it('reads what one in streams reads, within rounding, and says which it was', async () => {
    const options = { maxTokens: 60 }
    const [here, there] = [await unified.score(prompt, answers, options), await streams.score(prompt, answers, options)]
    expect([here.compute.layout, there.compute.layout]).toEqual(['unified', 'streams'])
    expect(here.winner?.id).toBe(there.winner?.id)
    for (const [i, branch] of here.branches.entries()) {
      const other = there.branches[i]
      expect(branch.tokens).toEqual(other?.tokens)
      expect(apart(branch.logprobs, other?.logprobs as Float32Array)).toBeLessThan(0.05)
      expect(branch.score).toBeCloseTo(other?.score as number, 1)
    }
  })

  it('holds the prompt once', async () => {
    const options = { maxTokens: 40, seed: 3, policy: specReject({ checkpoints: doubling(8) }) }
    const result = await unified.bestOf(8, prompt, options)
    const { usage, expected } = result
    expect(usage.peakCells).toBeLessThanOrEqual(expected.peakCells)
    expect(expected.peakCells).toBeLessThanOrEqual(usage.promptTokens + 8 * 40)
    expect(usage.peakCells).toBeGreaterThan(usage.promptTokens)
    expect(usage.cellBytes).toBe(expected.cellBytes)
    const other = await streams.bestOf(8, prompt, options)
    expect(other.usage.peakCells).toBeGreaterThan(usage.peakCells)
    expect(usage.cellBytes).toBeLessThan(other.usage.cellBytes)
    expect(result.reason).toBe('settled')
    expect(result.branches.some(({ killedAt }) => killedAt !== null)).toBe(true)
  })

  it('is planned to the byte that llama.cpp then allocates', async () => {
    for (const [n, maxTokens] of [
      [4, 30],
      [16, 40],
      [70, 12]
    ] as const) {
      const plan = await unified.plan(n, prompt, { maxTokens })
      expect(plan).toMatchObject({ layout: 'unified', width: n, waves: 1, admitted: true })
      const { pool } = plan.rungs[0] as (typeof plan.rungs)[0]
      expect(pool.unifiedCells).toBe(Math.ceil((plan.promptTokens + n * maxTokens) / 256) * 256)
      const taken = await made(unified, pool)
      expect(plan.devices.map(({ room: _, ...device }) => device)).toEqual(taken)
      expect(plan.peakBytes).toBe(
        taken.reduce((sum, { cells, compute, outputs }) => sum + cells + compute + outputs, 0)
      )
      const { usage } = await unified.bestOf(n, prompt, { maxTokens, scorer: meanLogprob() })
      expect(usage.cellBytes).toBe(plan.devices[0]?.cells)
    }
  })

  it('is not planned where streams must be, and the race then has these', async () => {
    const budget = 12 * 2 ** 20
    const cases = [
      [4, { deterministic: true }, 'never deterministic'],
      [256, { maxTokens: 2 }, 'at most 255 candidates'],
      [16, { maxTokens: 400, budget }, 'not all candidates fit']
    ] as const
    for (const [n, own, why] of cases) {
      const options = { maxTokens: 20, scorer: meanLogprob(), ...own }
      const plan = await unified.plan(n, question, options)
      expect(plan.layout).toBe('streams')
      expect(plan.layoutWhy).toContain(why)
      if (n === 16) expect(plan.waves).toBeGreaterThan(1)
      else expect((await unified.bestOf(n, question, options)).compute.layout).toBe('streams')
    }
  })

  it('is left alone for scorers that no plan can count', async () => {
    const scorer = reranker({ model: 'nowhere.gguf' })
    await expect(unified.plan(4, prompt, { maxTokens: 20, scorer })).rejects.toMatchObject({ code: 'OPTION_INVALID' })
    // It gets as far as the reranker's file.
    await expect(unified.bestOf(4, prompt, { maxTokens: 20, scorer })).rejects.toMatchObject({
      code: 'MODEL_NOT_FOUND'
    })
  })

  it('has the pool alone, and others follow', async () => {
    const races = Array.from({ length: 4 }, (_, seed) => unified.bestOf(4, prompt, { maxTokens: 20, seed }))
    const other = unified.bestOf(4, prompt, { maxTokens: 20, seed: 1, deterministic: true })
    const layouts = [...(await Promise.all(races)), await other].map(({ compute }) => compute.layout)
    expect(layouts).toEqual(['unified', 'unified', 'unified', 'unified', 'streams'])
    const aborted = new AbortController()
    const late = unified.bestOf(4, prompt, {
      maxTokens: 200,
      signal: aborted.signal,
      onProgress: () => aborted.abort()
    })
    await expect(late).rejects.toMatchObject({ name: 'AbortError' })
    expect((await unified.bestOf(4, prompt, { maxTokens: 10, deadlineMs: 60_000 })).compute.layout).toBe('unified')
  })

  it('is not chosen for the CPU by itself where it was not measured to be faster', async () => {
    const own = await open(undefined, settings)
    const plan = await own.plan(4, prompt, { maxTokens: 20 })
    await own.close()
    expect(plan.layout).toBe('streams')
    expect(plan.layoutWhy).toContain('not measured to be faster: 4 streams are')
  })

  it('is a flag of commands', async () => {
    const terminal = fakeTerminal()
    const flags = ['--threads', '1', '-n', '4', '--max-tokens', '20', '--layout', 'unified']
    expect(await main(['plan', prompt, ...flags], terminal)).toBe(0)
    expect(terminal.out()).toMatch(/^layout {4}unified: as asked: 4 streams are \d+ cells/m)
    const refused = fakeTerminal()
    expect(await main(['plan', prompt, ...flags.slice(0, -1), 'paged'], refused)).toBe(2)
    expect(refused.err()).toContain('paged')
  })

  it('takes numbers of cells from the addon only whole and without deterministic', async () => {
    const { binding } = loadBinding()
    const model = await openModel(binding, unified.model.path, resolveOpen(settings))
    const create = (own: object) =>
      binding.createPool(model, { ...poolParams, ...own }).then(
        (pool) => pool.close().then(() => 'made'),
        (error: { code?: string; name: string }) => error.code ?? error.name
      )
    expect(await create({ unifiedCells: 300 })).toBe('made')
    expect(await create({ unifiedCells: undefined })).toBe('made')
    expect(await create({ unifiedCells: 300, deterministic: true })).toBe('OPTION_INVALID')
    model.close()
  })
})

/** What a pool of this shape takes. */
async function made({ model: facts }: Engine, { width, cells, unifiedCells }: Rung) {
  const { binding } = loadBinding()
  const model = await openModel(binding, facts.path, resolveOpen(settings))
  const cellsPerStream = Math.min(cells, facts.contextTrain)
  const pool = await binding.createPool(model, {
    ...poolParams,
    batch: 512,
    streams: width,
    cellsPerStream,
    unifiedCells
  })
  try {
    return takenOf(await pool.sizes())
  } finally {
    await pool.close()
    model.close()
  }
}
