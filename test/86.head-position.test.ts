import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gguf as readGguf } from '@huggingface/gguf'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadBinding } from '../src/binding.js'
import { textOf } from '../src/cli/head-report.js'
import { main } from '../src/cli/main.js'
import { embedded } from '../src/embedded.js'
import { type Engine, open } from '../src/engine.js'
import { bestCalibrated, calibrated } from '../src/heads/calibrate.js'
import { rewarded } from '../src/heads/labels.js'
import { rankingOf } from '../src/heads/measure.js'
import { lengthCorrelation } from '../src/heads/pooled.js'
import { knotsOf, type PositionLine, scoreAt } from '../src/heads/position.js'
import { calibrationError, reliabilityOf } from '../src/heads/reliability.js'
import { survivalOf } from '../src/heads/survival.js'
import { readTraces, type Trace } from '../src/heads/traces.js'
import { trainHead } from '../src/heads/train-head.js'
import { withoutLength } from '../src/heads/without-length.js'
import { generator } from '../src/statistics.js'
import { fakeTerminal } from './fakes/terminal.js'

const { binding } = loadBinding()
let folder = ''
let engine: Engine
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'winnow-position-'))
  engine = await open(undefined, { head: null, threads: 1 })
})
afterAll(async () => {
  await engine.close()
  await rm(folder, { recursive: true })
})

const normal = (draw: () => number) => Array.from({ length: 12 }, draw).reduce((sum, x) => sum + x, -6)

describe('calibration by position', () => {
  /** A head three times too sure of itself early on, and two too hopeful in the end. */
  const looks = (count: number, seed: number) => {
    const draw = generator(seed)
    return Array.from({ length: count }, (_, i) => {
      const logTokens = 2 + 3 * draw()
      const late = (logTokens - 2) / 3
      const truth = 2 * normal(draw)
      const label = draw() < 1 / (1 + Math.exp(-truth)) ? 1 : 0
      return { prompt: i, logit: truth * (3 - 2 * late) + 2 * late, logTokens, label }
    })
  }
  const errorOf = (rows: ReturnType<typeof looks>, line: Parameters<typeof scoreAt>[0]) =>
    calibrationError(reliabilityOf(rows.map((look) => ({ ...look, score: scoreAt(line, look) }))))

  it('makes the score a probability at every position, on answers it has not seen', () => {
    const fitted = looks(4000, 1)
    const line = calibrated(fitted, knotsOf(fitted.map(({ logTokens }) => logTokens)), null)
    for (const [from, to] of [
      [2, 3],
      [3, 4],
      [4, 5]
    ] as const) {
      const rows = looks(20_000, 2).filter(({ logTokens }) => logTokens >= from && logTokens < to)
      expect(errorOf(rows, null)).toBeGreaterThan(0.08)
      expect(errorOf(rows, line)).toBeLessThan(0.03)
    }
  })

  it('never turns the order of answers of one length, not even where the head is wrong about all', () => {
    const fitted = looks(2000, 1).map((look) => ({ ...look, label: 1 - look.label }))
    const line = calibrated(fitted, knotsOf(fitted.map(({ logTokens }) => logTokens)), null)
    expect(line.scale.map((scale) => scale.toFixed(3))).toEqual(Array(5).fill('0.100'))
    for (const logTokens of [0, 2.2, 3.7, 9]) {
      const scores = [-3, -1, 0, 2].map((logit) => scoreAt(line, { logit, logTokens }))
      expect(scores).toEqual([...scores].sort((a, b) => a - b))
      expect(new Set(scores).size).toBe(4)
    }
  })

  it('keeps to the head where there is next to nothing to go by', () => {
    const line = calibrated([{ logit: 1, logTokens: 3, label: 1 }], [3], null)
    expect(line.scale[0]).toBeCloseTo(1, 0)
    expect(Math.abs(line.bias[0] as number)).toBeLessThan(0.3)
  })

  it('learns from many looks at one answer what one look tells', () => {
    const once = looks(300, 1)
    const knots = knotsOf(once.map(({ logTokens }) => logTokens))
    const often = once.flatMap((look) => Array(4).fill(look) as typeof once)
    expect(calibrated(often, knots, null, 1 / 4)).toEqual(calibrated(once, knots, null))
    expect(calibrated(often, knots, null)).not.toEqual(calibrated(once, knots, null))
  })

  it('is by position, alike for all, or left out, as other prompts have it', async () => {
    const draw = generator(7)
    const fitted = looks(2000, 1)
    const knots = knotsOf(fitted.map(({ logTokens }) => logTokens))
    const best = async (logit: (look: (typeof fitted)[number]) => number, rows = fitted) => {
      const wrong = rows.map((look) => {
        const label = draw() < 1 / (1 + Math.exp(-look.logit)) ? 1 : 0
        return { ...look, logit: logit(look), label, prompt: look.prompt % 40 }
      })
      return (await bestCalibrated(wrong, [knots.slice(0, 1), knots], null))?.logTokens.length ?? 0
    }
    expect(await best(({ logit, logTokens }) => logit + 2 * logTokens)).toBe(5)
    expect(await best(({ logit }) => 3 * logit + 2)).toBe(1)
    expect(await best(({ logit }) => logit, fitted.slice(0, 80))).toBe(0)
  })

  /** Logits of one deviation, sure of themselves, and labels that go by their sign, some of them flipped. */
  const confident = (count: number, deviation: number, flipped: number) => {
    const draw = generator(11)
    return Array.from({ length: count }, (_, i) => {
      const logit = deviation * normal(draw)
      const label = logit > 0 === draw() >= flipped ? 1 : 0
      return { prompt: i % 40, logit, logTokens: 2 + 3 * draw(), label }
    })
  }
  const lossOf = (rows: readonly { logit: number; logTokens: number; label: number }[], line: PositionLine) => {
    const surprise = (score: number) => Math.max(score, 0) + Math.log1p(Math.exp(-Math.abs(score)))
    return rows.reduce((sum, row) => {
      const score = scoreAt(line, row)
      return sum + (surprise(score) - row.label * score) / rows.length
    }, 0)
  }

  it.each([
    [8, 0.3],
    [10, 0.15],
    [20, 0.1]
  ])('finds the best line for logits of deviation %d with %d of the labels flipped', (deviation, flipped) => {
    const rows = confident(2000, deviation, flipped)
    let least = Number.POSITIVE_INFINITY
    for (let scale = 0.1; scale < 1.5; scale *= 1.05) {
      for (const bias of [-0.2, -0.1, 0, 0.1, 0.2])
        least = Math.min(least, lossOf(rows, { logTokens: [3], scale: [scale], bias: [bias] }))
    }
    for (const knots of [[3], knotsOf(rows.map(({ logTokens }) => logTokens))]) {
      const line = calibrated(rows, knots, null)
      expect(lossOf(rows, line)).toBeLessThan(least + 1e-3)
      for (const scale of line.scale) {
        expect(scale).toBeGreaterThan(0.099)
        expect(scale).toBeLessThan(1)
      }
    }
    expect(lossOf(rows, { logTokens: [3], scale: [1], bias: [0] })).toBeGreaterThan(least + 0.1)
  })

  it('leaves time for other work, and stops when the signal is aborted', async () => {
    const rows = confident(15_000, 8, 0.3)
    const knots = knotsOf(rows.map(({ logTokens }) => logTokens))
    const ways = [knots.slice(0, 1), knots]
    let turns = 0
    const timer = setInterval(() => turns++, 1)
    const started = process.cpuUsage()
    const line = await bestCalibrated(rows, ways, null, 1 / 4)
    clearInterval(timer)
    expect(line).not.toBeNull()
    expect(turns).toBeGreaterThan(3)
    // Of the processor, in microseconds, whatever else runs.
    expect(process.cpuUsage(started).user).toBeLessThan(3e6)

    const controller = new AbortController()
    const reason = new Error('enough')
    const stopped = bestCalibrated(rows, ways, null, 1 / 4, controller.signal)
    setTimeout(() => controller.abort(reason), 1)
    await expect(stopped).rejects.toBe(reason)
  })

  it('of looks at one position has one scale for all', () => {
    expect(knotsOf([4, 4, 4])).toEqual([4])
    expect(knotsOf([1, 2, 3, 4, 5, 6, 7, 8, 9])).toEqual([1, 3, 5, 7, 9])
  })
})

describe('a score without length', () => {
  /** Quality has nothing to do with length, the logit much: more so in long answers than in short ones. */
  const looks = (seed: number) => {
    const draw = generator(seed)
    return Array.from({ length: 4000 }, (_, i) => {
      const place = Math.floor(i / 8) % 4
      const logTokens = Math.log(1 + Math.round((25 + 25 * place) * (0.6 + 0.8 * draw())))
      const quality = normal(draw)
      const logit = quality + (logTokens < 4 ? 2 : 5) * (logTokens - 4) + place
      return {
        prompt: Math.floor(i / 32),
        group: Math.floor(i / 8),
        ended: place === 3,
        place,
        quality,
        logTokens,
        logit
      }
    })
  }

  it('keeps what is not length, where length is all that is in the way', () => {
    const fitted = looks(1)
    const line = withoutLength(fitted, knotsOf(fitted.map(({ logTokens }) => logTokens)))
    expect(line.scale).toEqual([1, 1, 1, 1, 1])
    for (const place of [0, 1, 2, 3]) {
      const rows = looks(2).filter((look) => look.place === place)
      const tie = (value: (look: (typeof rows)[number]) => number) =>
        lengthCorrelation(
          rows.map((look) => ({ ...look, value: value(look) })),
          1
        ).mean
      expect(tie(({ logit }) => logit)).toBeGreaterThan(0.2)
      expect(Math.abs(tie((look) => scoreAt(line, look)))).toBeLessThan(0.1)
      const judged = rows.map((look) => ({ prompt: look.prompt, score: scoreAt(line, look), label: look.quality }))
      expect(rankingOf(judged, false, 1).pooled.mean).toBeGreaterThan(0.98)
    }
    const mean = (values: number[]) => values.reduce((sum, value) => sum + value / values.length, 0)
    expect(mean(fitted.map((look) => scoreAt(line, look)))).toBeCloseTo(mean(fitted.map(({ logit }) => logit)), 4)
  })

  it('stays without it when it is calibrated, once for all positions', () => {
    const fitted = looks(1).map((look) => ({ ...look, label: look.quality + look.logTokens > 4 ? 1 : 0 }))
    const knots = knotsOf(fitted.map(({ logTokens }) => logTokens))
    const free = withoutLength(fitted, knots)
    const line = calibrated(fitted, knots.slice(0, 1), free)
    const [scale] = line.scale as [number]
    expect(line.scale).toEqual(Array(5).fill(scale))
    const offsets = fitted.map((look) => scoreAt(line, look) - scale * scoreAt(free, look))
    expect(Math.max(...offsets) - Math.min(...offsets)).toBeLessThan(1e-4)
  })

  it('is that of ended answers, where those on the way say otherwise', () => {
    const draw = generator(3)
    const fitted = Array.from({ length: 4000 }, (_, i) => {
      const ended = Math.floor(i / 8) % 4 === 3
      const logTokens = 3 + draw()
      return { group: Math.floor(i / 8), ended, logTokens, logit: (ended ? 2 : -2) * logTokens + normal(draw) }
    })
    const line = withoutLength(fitted, knotsOf(fitted.map(({ logTokens }) => logTokens)))
    const ends = fitted.flatMap((look) =>
      look.ended ? [{ ...look, prompt: look.group, value: scoreAt(line, look) }] : []
    )
    expect(
      lengthCorrelation(
        ends.map((look) => ({ ...look, value: look.logit })),
        1
      ).mean
    ).toBeGreaterThan(0.4)
    expect(Math.abs(lengthCorrelation(ends, 1).mean)).toBeLessThan(0.2)
  })

  it('is left alone where answers of a prompt are of one length', () => {
    const line = withoutLength(
      [1, 2, 3].map((logit) => ({ logit, logTokens: 3, group: 0, ended: true })),
      [3]
    )
    expect(scoreAt(line, { logit: 2, logTokens: 3 })).toBeCloseTo(2, 6)
  })
})

describe('the correlation with length', () => {
  it('is that within prompts, whatever the prompts are', () => {
    // Within each prompt the score falls with length, and long prompts have high scores.
    const rows = [0, 1, 2].flatMap((prompt) =>
      [0, 1, 2, 3].map((i) => ({ prompt, value: 10 * prompt - i, logTokens: prompt + i / 4 }))
    )
    expect(lengthCorrelation(rows, 1)).toEqual({ mean: -1, low: -1, high: -1 })
    expect(lengthCorrelation([{ prompt: 0, value: 1, logTokens: 1 }], 1).mean).toBeNaN()
  })
})

describe("what survives of a teacher's ranking", () => {
  const taught = (prompt: number, score: number, label: number, right: boolean | null) => ({
    prompt,
    score,
    label,
    right
  })

  it('is whose pick is whose, and what both are worth against right answers', () => {
    const quarter = [
      taught(0, 3, 9, true),
      taught(0, 1, 5, false),
      taught(1, 1, 7, false),
      taught(1, 2, 3, true),
      // The head cannot decide; nobody knows what is right.
      taught(2, 4, 2, null),
      taught(2, 4, 1, true)
    ]
    const { samePick, blindPick, verified } = survivalOf([quarter], 1)
    expect(samePick[0]?.mean).toBe(0.5)
    expect(blindPick).toBe(0.5)
    expect(verified?.prompts).toBe(2)
    expect(verified?.head[0]?.within.mean).toBe(1)
    expect(verified?.teacher.within.mean).toBe(0.5)
    expect(verified?.rightPicks.head[0]?.mean).toBe(1)
    expect(verified?.rightPicks.teacher.mean).toBe(0.5)
    expect(verified?.rightPicks.blind).toBe(0.5)
  })

  it('says nothing of right answers where none are known', () => {
    expect(survivalOf([[taught(0, 1, 1, null), taught(0, 2, 2, null)]], 1).verified).toBeNull()
  })
})

describe('a head trained on rewards that are lengths', () => {
  it('loses the length when it is told to, in the file as in the report', async () => {
    const problems = await readTraces(embedded.problems, 16)
    const traces: Trace[] = problems.map((problem, p) => ({
      ...problem,
      samples: [1, 2, 3, 4, 5, 6].map((i) => ({
        answer: `Start: ${p}.${' So the number grows.'.repeat(i)} The answer is ${i % 2 === 0 ? problem.answer : 'no'}.`,
        reward: i + (i % 2 === 0 ? 1 : 0),
        right: null
      }))
    }))
    const settings = {
      label: rewarded,
      binary: false,
      trainedOn: 'lengths',
      collect: { samples: 1, grid: 4, spread: 2, seed: 3, maxTokens: 200 },
      fit: { hidden: 16, epochs: 30, ranking: 1, dropout: 0.1, decay: 0.01, threads: 1, seed: 3 }
    }
    const out = join(folder, 'free.gguf')
    const free = await trainHead(binding, engine, traces, { ...settings, out, debiasLength: true })
    const last = (list: readonly { readonly mean: number }[]) => list[3]?.mean as number
    expect(last(free.report.length.logit)).toBeGreaterThan(0.7)
    expect(last(free.report.length.label)).toBeGreaterThan(0.7)
    expect(Math.abs(last(free.report.length.score))).toBeLessThan(0.5)
    expect(free.report.calibration).toBeNull()
    expect(free.report.survival?.verified?.prompts).toBe(free.prompts.test)
    expect(textOf(free)).toContain("head's pick is the best-labelled")

    // The file carries it, and nothing else does.
    const { metadata } = await readGguf(out, { allowLocalFile: true })
    expect(metadata).toMatchObject({
      'winnow.head.position_log_tokens': free.position?.logTokens,
      'winnow.head.position_bias': free.position?.bias
    })
  })
})

describe('winnow head train', () => {
  const winnow = async (argv: string[], cwd = folder) => {
    const terminal = fakeTerminal({ cwd })
    const code = await main(argv, terminal, open)
    return { code, out: terminal.out(), err: terminal.err() }
  }

  it('takes no head: it makes one', async () => {
    const argv = ['head', 'train', '--traces', 'traces.jsonl', '--out', join(folder, 'x.gguf'), '--head', 'none']
    const { code, err } = await winnow(argv)
    expect(code).toBe(2)
    expect(err).toContain("unknown option '--head'")
  })

  it("takes its settings from the project's file too, below its flags", async () => {
    const cwd = await mkdtemp(join(folder, 'project-'))
    await writeFile(join(cwd, 'winnow.config.json'), '{"samples": 1, "head": "none", "alpha": 0.25}')
    const argv = ['head', 'train', '--traces', join(cwd, 'none.jsonl'), '--out', join(cwd, 'x.gguf')]
    const refused = await winnow(argv, cwd)
    expect(refused.err).toContain('Expected a whole number from 2 to 256 for --samples but received 1')
    expect(refused.code).toBe(2)
    expect((await winnow([...argv, '--samples', '4'], cwd)).err).toContain('none.jsonl')
  })
})
