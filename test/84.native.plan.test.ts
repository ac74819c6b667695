import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadBinding, type NativeBinding } from '../src/binding.js'
import { bytesText, parseBytes } from '../src/bytes.js'
import { doubling } from '../src/checkpoint.js'
import { main } from '../src/cli/main.js'
import { embedded } from '../src/embedded.js'
import { type Engine, open } from '../src/engine.js'
import { writeHeadFile } from '../src/heads/file.js'
import { openModel } from '../src/model.js'
import { resolveOpen } from '../src/options.js'
import { Outline, takenOf } from '../src/outline.js'
import { pipeline } from '../src/pipeline.js'
import { type PlanOptions, planRace, type Site } from '../src/planning.js'
import { bestOfN } from '../src/policies/best-of-n.js'
import { specReject } from '../src/policies/spec-reject.js'
import { reranker } from '../src/reward/reranker.js'
import { rewardModel } from '../src/reward/reward-model.js'
import { ownsModel } from '../src/scorer.js'
import { blend } from '../src/scorers/blend.js'
import { meanLogprob } from '../src/scorers/mean-logprob.js'
import { fakeTerminal } from './fakes/terminal.js'

const threads = 1
const MiB = 2 ** 20
const prompt = 'Mia starts with 35 stamps and wins 18. How many stamps are there in the end?'
const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'none',
    (error: { code: string }) => error.code
  )

let binding: NativeBinding
let engine: Engine
let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'winnow-plan-'))
  engine = await open(undefined, { gpu: 'cpu', threads })
  binding = loadBinding().binding
})
afterAll(async () => {
  await engine.close()
  await rm(folder, { recursive: true, force: true })
})

describe('the plan of an engine', () => {
  it('admits what fits to its end', async () => {
    const plan = await engine.plan(16, prompt, { maxTokens: 100, policy: specReject() })
    expect(plan).toMatchObject({ n: 16, maxTokens: 100, admitted: true, width: 16, waves: 1, seconds: null })
    expect(plan.rungs).toHaveLength(1)
    expect(plan.rungs[0]?.cells).toBe(Math.ceil((plan.promptTokens + 100) / 256) * 256)
    expect(plan.peakBytes).toBeLessThanOrEqual(plan.budgetBytes)
    expect(plan.devices.map(({ device }) => device)).toEqual(['CPU'])
  })

  it('fits a small budget, and the pool it plans takes exactly what llama.cpp then allocates', async () => {
    const outline = await openModel(binding, embedded.model, resolveOpen({ gpu: 'cpu', threads }), false)
    const model = await openModel(binding, embedded.model, resolveOpen({ gpu: 'cpu', threads }))
    try {
      for (const budget of [12 * MiB, 24 * MiB, 48 * MiB]) {
        const plan = await engine.plan(256, prompt, { budget, maxTokens: 100, policy: bestOfN() })
        const { width, waves, peakBytes, rungs, devices, admitted } = plan
        expect(width).toBeGreaterThan(0)
        expect(peakBytes).toBeLessThanOrEqual(budget)
        expect(admitted).toBe(true)
        // While there are candidates to come the prompt has a stream of its own.
        const streams = width + (waves > 1 ? 1 : 0)
        const params = {
          streams,
          cellsPerStream: rungs[0]?.cells as number,
          threads,
          batch: 512,
          kvType: 'f16',
          flashAttention: 'auto',
          states: true,
          deterministic: false
        } as const
        const pool = await binding.createPool(model, params)
        try {
          const sizes = await pool.sizes()
          const [taken] = takenOf(sizes)
          const { room: _, ...planned } = devices[0] as (typeof devices)[number]
          expect(taken).toEqual(planned)
          expect(pool.occupancy().kvBytes).toBe(planned.cells)
          // And a wave less would have been too wide.
          if (waves > 1) {
            const wider = Math.ceil(256 / (waves - 1))
            const wide = { ...params, streams: Math.min(256, wider + 1) }
            const [more] = takenOf(await binding.poolSizes(outline, wide))
            const { cells, compute, outputs } = more as NonNullable<typeof more>
            expect(cells + compute + outputs).toBeGreaterThan(budget)
          }
          const { race } = await pool.prefill(
            Int32Array.from({ length: plan.promptTokens }, () => 5),
            0
          )
          const sampling = { temperature: 1, topK: 0, topP: 1, minP: 0, stopTokens: new Int32Array() }
          const keepPrompt = waves > 1
          const drawn = { seed: 1n, firstCandidate: 0, maxTokens: 100, ...sampling }
          await pool.fork(race, { count: width, keepPrompt, ...drawn })
          await pool.advance(Int32Array.of(race, 20), 0)
          expect(takenOf(await pool.sizes())).toEqual([taken])
        } finally {
          await pool.close()
        }
      }
    } finally {
      model.close()
      outline.close()
    }
  })

  it('is what the race then is: no more tokens and cells, the same bytes of cells, and from then on seconds', async () => {
    const options = { maxTokens: 60, policy: specReject({ checkpoints: doubling(8) }) }
    await engine.score(prompt, ['18 + 35 = 53'], { maxTokens: 60 })
    const plan = await engine.plan(8, prompt, options)
    // Answers that are given measure nothing.
    expect(plan.seconds).toBeNull()
    const result = await engine.bestOf(8, prompt, options)
    expect(result.expected.generatedTokens).toBe(plan.expectedTokens)
    expect(result.usage.generatedTokens).toBeLessThanOrEqual(plan.expectedTokens)
    expect(result.usage.peakCells).toBeLessThanOrEqual(result.expected.peakCells)
    expect(result.usage.cellBytes).toBe(plan.devices[0]?.cells)
    expect(result.expected.cellBytes).toBe(plan.devices[0]?.cells)
    expect((await engine.plan(8, prompt, options)).seconds).toBeGreaterThan(0)
    expect((await engine.plan(8, prompt, { ...options, deterministic: true })).seconds).toBeNull()
  })

  it('is of the pool that the race then has, whatever raced before', async () => {
    const own = await open(undefined, { gpu: 'cpu', threads })
    const long = `${'Mia starts with 35 stamps and wins 18. '.repeat(30)}${prompt}`
    const races: [number, string, number][] = [
      [64, prompt, 20],
      // One long candidate: the pool of many short ones does not become many long ones.
      [1, long, 200],
      [2, long, 20],
      // And a small one uses what is there.
      [1, prompt, 20],
      [24, prompt, 20]
    ]
    try {
      const cells: number[] = []
      for (const [n, text, maxTokens] of races) {
        const plan = await own.plan(n, text, { maxTokens })
        const { usage, expected } = await own.bestOf(n, text, { maxTokens })
        expect(plan.devices[0]?.cells, `${n} of ${maxTokens}`).toBe(usage.cellBytes)
        expect(expected.cellBytes).toBeLessThanOrEqual(usage.cellBytes)
        cells.push(usage.cellBytes)
      }
      const [short = 0, one = 0, two, small, last] = cells
      expect(one).toBeLessThan(short)
      expect(two).toBe(2 * one)
      expect(small).toBe(two)
      expect(last).toBeGreaterThan(one)
      // Within a budget it is the race's own, where the pool at hand is beyond it.
      const held = await own.plan(1, prompt, { maxTokens: 20 })
      expect(held.rungs).toMatchObject([{ width: 1, pool: { width: 24 } }])
      const tight = await own.plan(1, prompt, { maxTokens: 20, budget: held.peakBytes - 1 })
      expect(tight).toMatchObject({ admitted: true, rungs: [{ width: 1, pool: { width: 1 } }] })
      expect(tight.peakBytes).toBeLessThan(held.peakBytes)
    } finally {
      await own.close()
    }
  })

  /** Plans where so much is free on the host, and nobody is loaded. */
  const planned = (free: number, n: number, options: PlanOptions) => {
    const [cpu] = binding.devices().filter(({ type }) => type === 'cpu')
    const devices = [{ ...(cpu as NonNullable<typeof cpu>), memoryFree: free }]
    const site: Site = {
      binding: { ...binding, devices: () => devices } as NativeBinding,
      path: embedded.model,
      options: resolveOpen({ gpu: 'cpu', threads }),
      loaded: false,
      head: true,
      held: null,
      pace: null,
      shared: false
    }
    return planRace(site, n, prompt, options, new AbortController().signal)
  }
  const reward = { model: embedded.model, gpu: 'cpu', threads } as const
  const weightsOf = async (): Promise<number> => {
    const outline = await Outline.open(binding, embedded.model, resolveOpen({ gpu: 'cpu', threads }))
    const { devices } = await outline.mirror({ width: 1, cells: 1 })
    outline.close()
    return devices[0]?.weights as number
  }

  it('counts a reward model in: its weights, its cells and its buffers', async () => {
    const weights = await weightsOf()
    expect(weights).toBeGreaterThan(MiB)
    const own = await planned(4096 * MiB, 16, { maxTokens: 100 })
    const both = await planned(4096 * MiB, 16, { maxTokens: 100, reward })
    expect(own.budgetBytes).toBe(4096 * MiB * (15 / 16) - weights)
    expect(both.budgetBytes).toBe(own.budgetBytes - weights)
    expect(both.peakBytes).toBeGreaterThan(1.8 * own.peakBytes)
    expect(both.bytesPerCell).toBeGreaterThanOrEqual(2 * own.bytesPerCell)
    const budget = (own.peakBytes + both.peakBytes) / 2
    expect((await planned(4096 * MiB, 16, { maxTokens: 100, budget })).waves).toBe(1)
    expect((await planned(4096 * MiB, 16, { maxTokens: 100, budget, reward })).waves).toBeGreaterThan(1)
  })

  it('gives a reward model the cells that its session asks for, the frame of its template included', async () => {
    const scorer = rewardModel({ ...reward, head: embedded.head })
    const options = { maxTokens: 100, reward, scorer }
    const cellsOf = async (own: PlanOptions) => (await planned(4096 * MiB, 4, { ...options, ...own })).devices[0]?.cells
    const writing = (await planned(4096 * MiB, 4, { maxTokens: 100 })).devices[0]?.cells as number
    // The same model in the same template: the mirror is as large as the pool.
    expect(await cellsOf({})).toBe(2 * writing)
    const framed = `${'x '.repeat(250)}{{ messages[0].content }}: {{ messages[1].content }}`
    expect(await cellsOf({ reward: { ...reward, template: framed } })).toBeGreaterThanOrEqual(3 * writing)
    const broken = planned(4096 * MiB, 4, { ...options, reward: { ...reward, template: 'nothing of the answer' } })
    expect(await codeOf(broken)).toBe('TEMPLATE_FAILED')
  })

  it('keeps no states for a reward model, which reads none', async () => {
    const outputs = async (own: PlanOptions) => (await planned(4096 * MiB, 4, own)).devices[0]?.outputs as number
    const head = await outputs({ maxTokens: 100 })
    const bare = await outputs({ maxTokens: 100, scorer: meanLogprob() })
    expect(head).toBeGreaterThan(bare)
    const scorer = rewardModel({ ...reward, head: embedded.head })
    const rewarded = await outputs({ maxTokens: 100, reward, scorer })
    expect(await outputs({ maxTokens: 100, reward })).toBe(rewarded)
    expect(await outputs({ maxTokens: 100, reward, scorer: meanLogprob() })).toBe(rewarded)
  })

  it('takes weights and cells of a reward model that is loaded for what they are: there, and to be used again', async () => {
    const own = { ...reward, mmap: false }
    const { width } = engine.model
    const head = join(folder, 'plain.head.gguf')
    const outer = { weight: new Float32Array(width).fill(0.01), bias: Float32Array.of(0) }
    const facts = {
      width,
      features: [],
      inner: null,
      activation: 'silu',
      trainedOn: 'nothing',
      modelSha256: ''
    } as const
    await writeHeadFile(head, { ...facts, outer })
    const scorer = rewardModel({ ...own, head })
    const options = { maxTokens: 100, scorer, reward: own }
    try {
      const free = 2048 * MiB
      const alone = await planned(free, 4, { maxTokens: 100, scorer: meanLogprob() })
      const before = await planned(free, 4, options)
      await engine.bestOf(8, prompt, { maxTokens: 100, scorer })
      const after = await planned(free, 4, options)
      // The mirror at hand has eight streams.
      const mirror = after.peakBytes - alone.peakBytes
      expect(mirror).toBeGreaterThan(before.peakBytes - alone.peakBytes)
      expect(after.budgetBytes).toBe(before.budgetBytes + (await weightsOf()) + mirror)
      expect((await planned(free, 8, options)).peakBytes).toBeGreaterThan(after.peakBytes)
    } finally {
      await scorer.close()
    }
  })

  it('counts a scorer with a model of its own, wherever it stands, and refuses what it has no room to name', async () => {
    const scorer = rewardModel({ ...reward, head: embedded.head })
    const other = rewardModel({ ...reward, head: embedded.head })
    const ranked = reranker({ model: embedded.model })
    const mixed = blend([{ scorer: meanLogprob() }, { scorer: blend([{ scorer }]) }])
    expect([scorer, ranked, mixed, meanLogprob()].map(ownsModel)).toEqual([true, true, true, false])
    for (const options of [{ scorer }, { scorer: mixed }, { pipeline: pipeline({ rewards: [mixed] }) }]) {
      const [own, told] = [options, { ...options, reward }].map((each) =>
        engine.plan(4, prompt, { ...each, maxTokens: 50 })
      )
      expect((await own)?.rungs).toEqual((await told)?.rungs)
      expect((await own)?.admitted).toBe(true)
    }
    // The same one twice is one; two are more than the plan has room to name.
    const twice = pipeline({ rewards: [scorer] })
    expect((await engine.plan(4, prompt, { scorer, pipeline: twice, reward, maxTokens: 50 })).admitted).toBe(true)
    expect(await codeOf(engine.plan(4, prompt, { scorer: other, pipeline: twice, reward }))).toBe('OPTION_INVALID')
    const refused = engine.plan(4, prompt, { scorer: blend([{ scorer: ranked }, { scorer }]), reward })
    await expect(refused).rejects.toMatchObject({
      code: 'OPTION_INVALID',
      message: 'Expected scorers that a plan can size but received a reranker, which cannot be sized'
    })
  })

  it('refuses what a race refuses, with the same codes', async () => {
    expect(await codeOf(engine.plan(0, prompt))).toBe('OPTION_INVALID')
    expect(await codeOf(engine.plan(4097, prompt))).toBe('OPTION_INVALID')
    expect(await codeOf(engine.plan(1, ''))).toBe('PROMPT_EMPTY')
    expect(await codeOf(engine.plan(1, 'word '.repeat(20_000), { raw: true }))).toBe('PROMPT_TOO_LONG')
    expect(await codeOf(engine.plan(1, prompt, { budget: 0 }))).toBe('OPTION_INVALID')
    expect(await codeOf(engine.plan(1, prompt, { budgets: 1 } as never))).toBe('OPTION_UNKNOWN')
    expect(await codeOf(engine.plan(1, prompt, { reward: { model: '/no/such.gguf' } }))).toBe('MODEL_NOT_FOUND')
    const reason = new Error('left')
    await expect(engine.plan(1, prompt, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    const closed = await open(undefined, { gpu: 'cpu', threads })
    await closed.close()
    expect(await codeOf(closed.plan(1, prompt))).toBe('ENGINE_CLOSED')
  })

  it('asks models without weights only, and no pool takes one', async () => {
    const outline = await Outline.open(binding, embedded.model, resolveOpen({ gpu: 'cpu', threads }))
    const model = await openModel(binding, embedded.model, resolveOpen({ gpu: 'cpu', threads }))
    const params = {
      streams: 1,
      cellsPerStream: 256,
      threads,
      batch: 8,
      kvType: 'f16',
      flashAttention: 'auto',
      states: false,
      deterministic: false
    } as const
    try {
      expect(await codeOf(binding.poolSizes(model, params))).toBe('OPTION_INVALID')
      expect(await codeOf(binding.mirrorSizes(model, params))).toBe('OPTION_INVALID')
      expect(await codeOf(binding.createPool(outline.model, params))).toBe('OPTION_INVALID')
      expect(outline.model.facts).toEqual(model.facts)
    } finally {
      model.close()
      outline.close()
      outline.close()
    }
  })
})

describe('winnow plan', () => {
  async function winnow(...argv: string[]) {
    const terminal = fakeTerminal()
    const unused = (async () => Promise.reject(new Error('it loads no engine'))) as unknown as typeof open
    const code = await main(['plan', '--gpu', 'cpu', '--threads', '1', ...argv], terminal, unused)
    return { code, out: terminal.out(), err: terminal.err() }
  }

  it('prints a table for people', async () => {
    const { code, out, err } = await winnow(prompt, '-n', '16', '--max-tokens', '100')
    expect({ code, err }).toEqual({ code: 0, err: '' })
    expect(out).toMatch(/^16 candidates, \d+ tokens of prompt, up to 100 each: planned\nall 16 at once/)
    expect(out).toMatch(/rung +width +cells +memory\n1 +16 +\d+ +[\d.]+ MiB\n/)
    expect(out).toMatch(/device +cells +compute +outputs +room\nCPU +[\d.]+ MiB/)
    expect(out).toMatch(/seconds {3}unknown/)
  })

  it('prints one JSON object that can be made again from what it says', async () => {
    const { code, out } = await winnow(prompt, '-n', '16', '--max-tokens', '100', '--budget', '64MiB', '--json')
    expect(code).toBe(0)
    expect(JSON.parse(out)).toMatchObject({
      schemaVersion: 1,
      model: { file: 'winnow-arith.gguf', sha256: expect.stringMatching(/^[0-9a-f]{64}$/) },
      options: { policy: 'spec-reject', alpha: 0.5, budget: 64 * MiB, gpu: 'cpu', threads: 1 },
      prompt,
      plan: { n: 16, admitted: true, budgetBytes: 64 * MiB }
    })
  })

  it('takes the flags of winnow run, and counts what they name', async () => {
    const planOf = async (...argv: string[]) => {
      const { code, out, err } = await winnow(prompt, '-n', '8', '--max-tokens', '100', '--json', ...argv)
      expect({ code, err }).toEqual({ code: 0, err: '' })
      return JSON.parse(out)
    }
    const own = await planOf('--scorer', 'mean-logprob', '--deadline', '5', '--compare')
    expect(own.options).toMatchObject({ scorer: 'mean-logprob', deterministic: true, margin: 0 })
    const flags = ['--reward-model', embedded.model, '--reward-head', embedded.head]
    const rewarded = await planOf(...flags, '--reward-template', 'none')
    expect(rewarded.rewardModel).toMatchObject({ file: 'winnow-arith.gguf', template: 'none' })
    expect(rewarded.options.scorer).toBe('reward-model')
    expect(rewarded.plan.devices[0].cells).toBeGreaterThan(own.plan.devices[0].cells)
  })

  it('foresees no rejection with a margin, which may spare everybody', async () => {
    const tokens = async (...argv: string[]) => {
      const { out } = await winnow(prompt, '-n', '16', '--max-tokens', '100', '--json', ...argv)
      return JSON.parse(out)
    }
    expect((await tokens()).plan.expectedTokens).toBeLessThan(16 * 100)
    const spared = await tokens('--margin', '1')
    expect(spared.plan.expectedTokens).toBe(16 * 100)
    expect(spared.options.margin).toBe(1)
  })

  it('says in its help how many candidates it takes', async () => {
    expect((await winnow('--help')).out).toMatch(/candidates\s+a\s+prompt,\s+1\s+to\s+4096/)
  })

  it('agrees with the engine', async () => {
    const { out } = await winnow(prompt, '-n', '16', '--max-tokens', '100', '--budget', '64MiB', '--json')
    const own = await engine.plan(16, prompt, { maxTokens: 100, budget: 64 * MiB, policy: specReject() })
    expect(JSON.parse(out).plan).toEqual({ ...own, seconds: null, devices: expect.anything() })
  })

  it('says in how many waves where not all fit, and ends with 4 where not one does', async () => {
    const { code, out } = await winnow(prompt, '-n', '64', '--budget', '16MiB')
    expect(code).toBe(0)
    expect(out).toMatch(/: planned\n\d+ waves of \d+, to their ends; who waits is (copied|decoded)/)
    const nothing = await winnow(prompt, '-n', '64', '--budget', '1KB')
    expect(nothing.code).toBe(4)
    expect(nothing.out).toContain('not one candidate')
  })

  it('ends with 2 on wrong usage and 1 without the model', async () => {
    expect(await winnow('-n', '0')).toMatchObject({ code: 2, out: '' })
    expect(await winnow('--budget', 'much')).toMatchObject({ code: 2, out: '' })
    expect(await winnow('--budgt', '1GiB')).toMatchObject({ code: 2, out: '' })
    expect(await winnow('-m', '/no/such.gguf')).toMatchObject({ code: 1, out: '' })
    const missing = ['--reward-model', '/no/such.gguf', '--reward-head', embedded.head]
    expect(await winnow(...missing)).toMatchObject({ code: 1, out: '' })
    expect(await winnow(...missing.slice(0, 2))).toMatchObject({ code: 2, out: '' })
    expect(await winnow('--reranker', embedded.model)).toMatchObject({
      code: 2,
      out: '',
      err: expect.stringContaining('for a plan, which cannot size one')
    })
  })

  it('reads bytes as people write them', () => {
    const read = ['8GiB', '500MB', '1000', '1.5 KiB', '2TB', '7B'].map((text) => parseBytes(text, '--budget'))
    expect(read).toEqual([8 * 2 ** 30, 500e6, 1000, 1536, 2e12, 7])
    for (const text of ['', '8 gib', '-1', '0', '1e3', '8GiBs', '0.5']) {
      expect(() => parseBytes(text, '--budget')).toThrow('Expected a number of bytes such as 8GiB')
    }
    expect([5, 1536, 64 * MiB, 1023 * MiB, 2 ** 31].map(bytesText)).toEqual([
      '5 bytes',
      '1.50 KiB',
      '64.0 MiB',
      '1023 MiB',
      '2.00 GiB'
    ])
  })
})
