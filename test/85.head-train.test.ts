import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadBinding } from '../src/binding.js'
import { textOf } from '../src/cli/head-report.js'
import { embedded } from '../src/embedded.js'
import { type Engine, open } from '../src/engine.js'
import { writeHeadFile } from '../src/heads/file.js'
import { rewarded, verified } from '../src/heads/labels.js'
import { differenceOf, rankingOf } from '../src/heads/measure.js'
import { layersOf, logitOf } from '../src/heads/net.js'
import { Recorder } from '../src/heads/recorder.js'
import { calibrationError, reliabilityOf } from '../src/heads/reliability.js'
import { reportOf } from '../src/heads/report.js'
import { HeadTable } from '../src/heads/table.js'
import { parseTrace, readTraces, type Trace } from '../src/heads/traces.js'
import { divide, fitPart } from '../src/heads/train.js'
import { trainHead } from '../src/heads/train-head.js'
import { readProblems } from '../src/problems.js'
import { auroc } from '../src/ranking.js'
import type { Candidate, Scoring } from '../src/scorer.js'
import { generator } from '../src/statistics.js'

const { binding } = loadBinding()
let folder = ''
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'winnow-heads-'))
})
afterAll(() => rm(folder, { recursive: true }))

const fit = { hidden: 16, epochs: 20, ranking: 1, dropout: 0.1, decay: 0.01, threads: 1, seed: 3 }

/** Forty prompts of eight rows: two state columns and nine features; the label follows one of each. */
function synthetic(): HeadTable {
  const draw = generator(1)
  const table = new HeadTable(11)
  for (let row = 0; row < 1600; row++) {
    const inputs = Float32Array.from({ length: 11 }, () => 6 * draw() - 2)
    const [state, feature] = [inputs[1] as number, inputs[5] as number]
    const prompt = Math.floor(row / 8)
    table.add({ inputs, label: state + feature > 2 ? 1 : 0, right: null, group: prompt, prompt, quarter: 4 })
  }
  return table
}

describe('a recorder', () => {
  it('looks at the ends of the quarters, and between them where it is told to', async () => {
    const recorder = new Recorder(1)
    for (const length of [4, 8, 12, 16, 18]) {
      const candidate = { id: 0, tokens: new Int32Array(length) } as Candidate
      const pool = {
        states: async () => Float32Array.of(length, -length),
        confidence: async () => new Float32Array(9).fill(length)
      }
      await recorder.score([candidate], { pool } as unknown as Scoring)
    }
    const at = (spread: number) => recorder.looks(0, spread, generator(5)).map(({ inputs }) => inputs[0])
    // 18 tokens: quarters end at 4.5, 9, 13.5 and 18, and the next look is taken.
    expect(at(0)).toEqual([8, 12, 16, 18])
    expect(at(2)).toHaveLength(12)
    expect(recorder.looks(0, 0, generator(5))[0]?.inputs).toEqual(Float32Array.of(8, -8, ...Array(9).fill(8)))
  })

  it('has nothing to say about an empty answer', () => {
    expect(new Recorder(2).looks(1, 3, generator(1))).toEqual([])
  })
})

describe('a division', () => {
  it('parts prompts, none in two parts, the same for a seed', () => {
    const prompts = Array.from({ length: 200 }, (_, i) => i % 100)
    const { train, validation, test } = divide(prompts, 1)
    expect([train.size, validation.size, test.size]).toEqual([65, 15, 20])
    expect(new Set([...train, ...validation, ...test]).size).toBe(100)
    expect(divide(prompts, 1)).toEqual({ train, validation, test })
    expect(divide(prompts, 2).test).not.toEqual(test)
  })

  it('needs ten prompts', () => {
    expect(() => divide([1, 2, 3], 0)).toThrow('Expected at least 10 prompts to train on but received 3')
  })
})

describe('measures of a head', () => {
  const rows = [
    { prompt: 0, score: 1, label: 1 },
    { prompt: 0, score: 0, label: 0 },
    { prompt: 1, score: 0, label: 1 },
    { prompt: 1, score: 1, label: 0 },
    { prompt: 2, score: 9, label: 1 }
  ]
  it('rank within the prompts in which there is something to rank', () => {
    expect(rankingOf(rows, true, 1).within.mean).toBe(0.5)
    expect(rankingOf(rows, false, 1).within.mean).toBe(0)
    const better = rows.map((row) => ({ ...row, score: row.label }))
    expect(differenceOf(better, rows, true, 1)).toEqual({ mean: 0.5, low: 0, high: 1 })
  })

  it('say how far predictions are from what came', () => {
    const even = reliabilityOf([0, 1].map((label) => ({ prompt: 0, score: 0, label })))
    expect(even[5]).toEqual({ from: 0.5, to: 0.6, count: 2, predicted: 0.5, observed: 0.5 })
    expect(even[4]).toEqual({ from: 0.4, to: 0.5, count: 0, predicted: null, observed: null })
    expect(calibrationError(even)).toBeCloseTo(0, 12)
    expect(calibrationError(reliabilityOf([{ prompt: 0, score: 100, label: 0 }]))).toBeCloseTo(1, 6)
  })

  it("over all prompts are Pearson's correlation, whatever the scale", () => {
    const pooled = (scores: readonly number[], labels: readonly number[]) =>
      rankingOf(
        scores.map((score, prompt) => ({ prompt, score, label: labels[prompt] as number })),
        false,
        1
      ).pooled.mean
    // numpy.corrcoef([1, 2, 3, 5, 8], [2, 1, 4, 3, 9])[0, 1]
    expect(pooled([1, 2, 3, 5, 8], [2, 1, 4, 3, 9])).toBeCloseTo(0.890963, 6)
    expect(pooled([100, 200, 300], [-1, -2, -3])).toBeCloseTo(-1, 12)
    expect(pooled([1, 1, 1], [1, 2, 3])).toBeNaN()
  })

  it('over all prompts are an AUROC for right and wrong, and have intervals over prompts', () => {
    const draw = generator(4)
    const many = Array.from({ length: 400 }, (_, i) => {
      const score = Math.round(20 * draw()) / 20
      return { prompt: Math.floor(i / 8), score, label: score + draw() > 1 ? 1 : 0 }
    })
    const [scores, labels] = [many.map(({ score }) => score), many.map(({ label }) => label)]
    const area = rankingOf(many, true, 1).pooled
    expect(area.mean).toBeCloseTo(auroc(scores, labels.map(Boolean)) as number, 12)
    const line = rankingOf(many, false, 1).pooled
    for (const { low, mean, high } of [area, line]) {
      expect(low).toBeLessThan(mean)
      expect(high).toBeGreaterThan(mean)
      expect(high - low).toBeLessThan(0.3)
    }
  })
})

describe('a table of looks', () => {
  it('of many parts gives the addon the rows and columns of the prompts that it is asked for', async () => {
    // Wide enough for a part to hold five rows.
    const columns = 200_009
    const table = new HeadTable(columns)
    for (let row = 0; row < 23; row++) {
      const inputs = new Float32Array(columns).fill(row % 5, 200_000)
      inputs[200_003] = 100 + row
      table.add({ inputs, label: row % 2, right: null, group: row, prompt: row % 4, quarter: 0 })
    }
    expect(table.input(22)[200_003]).toBe(122)
    const settings = { ...fit, hidden: 0, epochs: 1, stateColumns: 200_000, binary: true }
    const prompts = { train: new Set([1, 2]), validation: new Set([0, 3]), test: new Set<number>() }
    const { fit: found } = await fitPart(binding, table, prompts, 'features', settings)
    const rows = table.rowsOf(prompts.train)
    expect(rows).toEqual([1, 2, 5, 6, 9, 10, 13, 14, 17, 18, 21, 22])
    expect(found.mean[3]).toBeCloseTo(100 + rows.reduce((sum, row) => sum + row / 12, 0), 3)
    expect(found.mean[0]).toBeCloseTo(
      rows.reduce((sum, row) => sum + (row % 5) / 12, 0),
      5
    )
  })
})

describe('a fitted head', () => {
  it('gives the same logits in the engine as where it was measured, linear or not', async () => {
    const table = synthetic()
    const division = divide(table.prompts, 3)
    for (const hidden of [0, 16]) {
      const net = await fitPart(binding, table, division, 'both', {
        ...fit,
        hidden,
        epochs: 300,
        stateColumns: 2,
        binary: true
      })
      const features = binding.featureNames.map((name, i) => ({
        name,
        mean: net.fit.mean[i] as number,
        std: net.fit.deviation[i] as number
      }))
      const path = join(folder, `fitted-${hidden}.gguf`)
      const facts = { width: 2, features, activation: 'silu', trainedOn: 'made-up rows', modelSha256: '' } as const
      await writeHeadFile(path, { ...facts, ...layersOf(net) })
      const head = await binding.loadHead(path)
      const rows = [0, 1, 2, 3, 4, 5, 6, 7].map((row) => table.input(row))
      const states = Float32Array.from(rows.flatMap((row) => [...row.subarray(0, 2)]))
      const confidence = Float32Array.from(rows.flatMap((row) => [...row.subarray(2)]))
      const native = [...head.apply(states, confidence)]
      for (const [i, row] of rows.entries()) expect(native[i]).toBeCloseTo(logitOf(net, row), 3)
      head.close()
      const right = [...division.test].flatMap((prompt) =>
        Array.from({ length: 8 }, (_, i) => {
          const row = prompt * 8 + i
          return logitOf(net, table.input(row)) > 0 === (table.labels[row] as number) > 0.5
        })
      )
      expect(right.filter(Boolean).length / right.length).toBeGreaterThan(0.88)
    }
  })

  it('stops when the signal is aborted', async () => {
    const table = synthetic()
    const controller = new AbortController()
    const reason = new Error('enough')
    const slow = { ...fit, hidden: 256, epochs: 5000, stateColumns: 2, binary: true, signal: controller.signal }
    const fitting = fitPart(binding, table, divide(table.prompts, 3), 'both', slow)
    setTimeout(() => controller.abort(reason), 50)
    const started = performance.now()
    await expect(fitting).rejects.toBe(reason)
    // All 5000 epochs take much longer, and the reason is the same after them.
    expect(performance.now() - started).toBeLessThan(3000)
  })
})

describe('a head trained on a model', () => {
  let engine: Engine
  beforeAll(async () => {
    engine = await open(undefined, { head: null, threads: 1 })
  })
  afterAll(() => engine.close())

  const train = async (name: string) => {
    const traces = await readTraces(embedded.problems, 10)
    const collect = { samples: 8, grid: 16, spread: 1, seed: 3, maxTokens: 200 }
    const settings = {
      label: verified,
      binary: true,
      trainedOn: 'verified answers',
      collect,
      fit: { ...fit, epochs: 5 }
    }
    return trainHead(binding, engine, traces, { ...settings, out: join(folder, name) })
  }

  it('drops into bestOf unchanged, is the same for a seed, and says what it is worth', async () => {
    const trained = await train('one.gguf')
    expect(trained.prompts).toEqual({ train: 6, validation: 2, test: 2 })
    expect(trained.report.scores.map(({ score }) => score).slice(0, 3)).toEqual([
      'head',
      'head on the features alone',
      'head on the state alone'
    ])
    expect(trained.report.scores).toHaveLength(12)
    expect(trained.report.survival).toBeNull()
    expect(trained.report.length.score).toHaveLength(4)
    for (const { error, bins } of trained.report.calibration ?? []) {
      expect(bins.reduce((sum, { count }) => sum + count, 0)).toBe(16)
      expect(error).toBeLessThan(1)
    }
    expect(trained.report.calibration).toHaveLength(4)
    for (const line of ['AUROC pooled', 'correlation with length', 'expected calibration error', 'before calibration'])
      expect(textOf(trained)).toContain(line)
    expect(trained.position?.scale.every((scale) => scale > 0) ?? true).toBe(true)
    expect(await readFile(join(folder, 'one.gguf'))).toEqual(await readFile((await train('two.gguf')).path))
    const own = await open(undefined, { head: trained.path, threads: 1 })
    const result = await own.bestOf(4, (await readProblems(embedded.problems, 1))[0]?.prompt as string)
    expect(result).toMatchObject({ scorer: 'head', reason: 'settled' })
    expect(own.head?.trainedOn).toBe('verified answers')
    await own.close()
  })

  it('learns from answers that somebody else wrote and rewarded, as from its own', async () => {
    const problems = await readTraces(embedded.problems, 12)
    const traces: Trace[] = problems.map((problem, p) => ({
      ...problem,
      samples: [1, 2, 3, 4].map((i) => ({
        answer: `Start: ${i}. The answer is ${i}.`,
        reward: i * 10 + p,
        right: null
      }))
    }))
    const collect = { samples: 1, grid: 4, spread: 1, seed: 3, maxTokens: 50 }
    const settings = { label: rewarded, binary: false, trainedOn: 'rewards', collect, fit }
    const trained = await trainHead(binding, engine, traces, { ...settings, out: join(folder, 'rewards.gguf') })
    expect(trained.report.measure.within).toBe("Kendall's tau-b")
    expect(trained.report.calibration).toBeNull()
    expect(trained.report.scores[0]?.quarters[3]?.within.mean).toBeGreaterThan(0.5)
  })
})

describe('a report', () => {
  it('turns a feature round where that ranks better on the validation prompts, and never where nothing is ranked', () => {
    const table = synthetic()
    const ones = (states: number, features: number) => ({
      stateColumns: states,
      hidden: 0,
      fit: {
        parameters: new Float32Array(states + features + 1).fill(1),
        mean: new Float32Array(features),
        deviation: new Float32Array(features).fill(1),
        best: 1,
        stopped: false,
        epochs: []
      }
    })
    const heads = { both: ones(2, 9), features: ones(0, 9), state: ones(2, 0) }
    const { test, validation } = divide(table.prompts, 3)
    const negated = (prompts: ReadonlySet<number>, binary: boolean) => {
      const settings = { stateColumns: 2, binary, seed: 3, position: null }
      const { scores } = reportOf(table, heads, binding.featureNames, test, prompts, settings)
      return scores.filter(({ score }) => score.endsWith(' (negated)')).length
    }
    for (const binary of [true, false]) {
      expect(negated(validation, binary)).toBeGreaterThan(0)
      expect(negated(new Set(), binary)).toBe(0)
    }
  })
})

describe('a trace', () => {
  it('brings samples as texts, or as objects with rewards', () => {
    const line = '{"prompt":"p","answer":3,"samples":["a",{"text":"b","reward":2},{"tokens":[5,6],"right":true}]}'
    expect(parseTrace(line, 'line 1')).toEqual({
      prompt: 'p',
      answer: '3',
      samples: [
        { answer: 'a', reward: null, right: null },
        { answer: 'b', reward: 2, right: null },
        { answer: Int32Array.of(5, 6), reward: null, right: true }
      ]
    })
    expect(parseTrace('{"prompt":"p"}', 'line 1').samples).toBeNull()
  })

  it.each([
    ['{"prompt":"p","samples":[]}', 'Expected 1 to 4096 samples for line 1 but received an array of 0'],
    ['{"prompt":"p","samples":[7]}', 'Expected text or an object for sample 0 on line 1 but received 7'],
    ['{"prompt":"p","samples":[{"text":"a","tokens":[1]}]}', 'for sample 0 on line 1 but received both'],
    ['{"prompt":"p","samples":[{"tokens":[-1]}]}', 'Expected "text" or "tokens" for sample 0 on line 1'],
    ['{"prompt":"p","samples":[{"text":"a","reward":"x"}]}', 'Expected a finite number as "reward"'],
    ['{"prompt":"p","samples":[{"text":"a","right":1}]}', 'Expected true or false as "right"']
  ])('like %s is refused', (line, sentence) => {
    expect(() => parseTrace(line, 'line 1')).toThrow(sentence)
  })
})
