import { describe, expect, it } from 'vitest'
import { type Arm, parseArms } from '../src/arm.js'
import { type BenchSetup, type Failure, rowsOf, runBench } from '../src/bench.js'
import { at } from '../src/checkpoint.js'
import type { Engine } from '../src/engine.js'
import type { Problem } from '../src/problems.js'
import { summarise } from '../src/summary.js'
import { candidatesFor, type Row, rowOf, runArm } from '../src/trial.js'
import { fakeEngine } from './fakes/engine.js'

const defaults = { alpha: 0.5, checkpoints: at([4]) }
const problems = ['one', 'two', 'three'].map((prompt) => ({ prompt, answer: '7' }))
const names = [
  'best-of-n',
  'spec-reject',
  'random-kill',
  'spec-reject:scorer=min-logprob:name=by-logprob',
  'best-of-n:equal-tokens=spec-reject:name=equal',
  'best-of-n:n=1'
]
const arms = parseArms(names, defaults)
const conditions = {
  n: 8,
  seed: 0n,
  sampling: { temperature: 1, topK: 0, topP: 1, minP: 0 },
  maxTokens: 64,
  deterministic: true,
  raw: false
}

// Candidate 5 writes the right answer; candidate 7 has the highest score until its end, then 5 has.
const answer = (id: number) => `The answer is ${id === 5 ? 7 : 1}.`
const script = {
  length: (id: number) => answer(id).length,
  token: (id: number, position: number) => answer(id).charCodeAt(position),
  score: (id: number, tokens: number) => (id === 5 && tokens > 10 ? 20 : id)
}

async function bench(engine: Engine, changes: Partial<BenchSetup> = {}) {
  const rows: Row[] = []
  const failures: Failure[] = []
  await runBench({
    engine,
    problems,
    arms,
    conditions,
    done: [],
    onRow: (row) => void rows.push(row),
    onFailure: (failure) => void failures.push(failure),
    ...changes
  })
  return { rows, failures }
}

const of = (rows: readonly Row[], arm: string) => rows.filter((row) => row.arm === arm)

describe('a bench', () => {
  it('measures every arm on every prompt, the reference first and its dependants last', async () => {
    const { rows } = await bench(fakeEngine(script).engine)
    expect(rows).toHaveLength(18)
    expect(rows.map(({ prompt }) => prompt)).toEqual([0, 1, 2].flatMap((prompt) => Array(6).fill(prompt)))
    for (const prompt of [0, 1, 2]) {
      const order = rows.filter((row) => row.prompt === prompt).map(({ arm }) => arm)
      expect(order[0]).toBe('best-of-n')
      expect(order[5]).toBe('equal')
      expect(order[1]).toBe(['spec-reject', 'random-kill', 'by-logprob'][prompt])
    }
  })

  it('measures survival and regret against best-of-N on the same candidates', async () => {
    const { rows } = await bench(fakeEngine(script).engine)
    expect(of(rows, 'best-of-n')[0]).toMatchObject({
      winner: 5,
      right: true,
      survived: true,
      regret: 0,
      diverged: 0,
      score: 20
    })
    expect(of(rows, 'spec-reject')[0]).toMatchObject({ winner: 5, right: true, survived: true, regret: 0 })
    // One sample returns candidate 0, which scores 0 where the range is 0..20.
    expect(of(rows, 'best-of-n:n=1')[0]).toMatchObject({ winner: 0, n: 1, right: false, survived: false, regret: 1 })
    expect(of(rows, 'best-of-n')[0]?.candidates?.right).toEqual([0, 1, 2, 3, 4, 5, 6, 7].map((id) => id === 5))
  })

  it('gives an arm that picks by another scorer the reference score of what it returned', async () => {
    const { rows } = await bench(fakeEngine(script).engine)
    const row = of(rows, 'by-logprob')[0] as Row
    const score = row.winner === 5 ? 20 : row.winner
    expect(row.score).toBe(score)
    expect(row.regret).toBeCloseTo((20 - (score as number)) / 20, 12)
  })

  it('measures an arm against best-of-N by its own scorer, which runs before it', async () => {
    const own = parseArms(
      ['best-of-n', 'spec-reject:scorer=min-logprob:against=least:name=x', 'best-of-n:scorer=min-logprob:name=least'],
      defaults
    )
    const { rows } = await bench(fakeEngine(script).engine, { arms: own })
    expect(rows.slice(0, 3).map(({ arm }) => arm)).toEqual(['best-of-n', 'least', 'x'])
    const [least, x] = [of(rows, 'least')[0] as Row, of(rows, 'x')[0] as Row]
    // Against the head's best-of-N the smallest log-probability has another pick; against its own it has that one.
    expect(least).toMatchObject({ survived: false, regret: (20 - (least.score as number)) / 20 })
    expect(x.winner).toBe(least.winner)
    expect(x).toMatchObject({ survived: true, regret: 0 })
    expect(x.score).toBeLessThan(0)
    expect(x.candidates).toBeUndefined()
  })

  it('measures again what an arm is measured against when only that arm is left', async () => {
    const own = parseArms(
      ['best-of-n', 'best-of-n:scorer=min-logprob:name=least', 'spec-reject:scorer=min-logprob:against=least:name=x'],
      defaults
    )
    const { rows } = await bench(fakeEngine(script).engine, { arms: own })
    const done = rows.filter(({ arm }) => arm !== 'x')
    const again = await bench(fakeEngine(script).engine, { arms: own, done })
    const timeless = ({ seconds: _, wallSeconds: __, ...row }: Row) => row
    expect(again.rows.map(timeless)).toEqual(of(rows, 'x').map(timeless))
  })

  it('lets the equal-tokens control generate no fewer tokens, and one candidate less would', async () => {
    const { rows } = await bench(fakeEngine(script).engine)
    const [source, equal] = [of(rows, 'spec-reject')[0] as Row, of(rows, 'equal')[0] as Row]
    expect(equal.generatedTokens).toBeGreaterThanOrEqual(source.generatedTokens)
    expect(equal.generatedTokens - answer(0).length).toBeLessThan(source.generatedTokens)
    expect(candidatesFor(10, [5, 5, 5])).toBe(2)
    expect(candidatesFor(11, [5, 5, 5])).toBe(3)
    expect(candidatesFor(99, [5, 5, 5])).toBe(3)
  })

  it('lets the arm that dies like another lose as many at the same tokens, but others', async () => {
    const own = parseArms(
      ['best-of-n', 'spec-reject:every=4:alpha=0.3:margin=1.5:name=near', 'random-kill:like=near:name=lots'],
      defaults
    )
    const { rows } = await bench(fakeEngine(script).engine, { arms: own })
    for (const prompt of [0, 1, 2]) {
      const [near, lots] = ['near', 'lots'].map((name) => of(rows, name)[prompt] as Row) as [Row, Row]
      expect(near.kills?.length).toBeGreaterThan(2)
      expect(lots.kills).toEqual(near.kills)
    }
    expect(of(rows, 'lots').map(({ winner }) => winner)).not.toEqual(of(rows, 'near').map(({ winner }) => winner))
    // Rows that do not know their kills are measured again.
    const ignorant = rows.map(({ kills: _, ...row }) => row).filter(({ arm }) => arm !== 'lots')
    const again = await bench(fakeEngine(script).engine, { arms: own, done: ignorant })
    expect(new Set(again.rows.map(({ arm }) => arm))).toEqual(new Set(['near', 'lots']))
  })

  it('goes on where it was interrupted and measures nothing twice', async () => {
    const whole = (await bench(fakeEngine(script).engine)).rows
    for (const cut of [1, 3, 6, 11]) {
      const { rows } = await bench(fakeEngine(script).engine, { done: whole.slice(0, cut) })
      const timeless = ({ seconds: _, wallSeconds: __, ...row }: Row) => row
      expect([...whole.slice(0, cut), ...rows].map(timeless)).toEqual(whole.map(timeless))
    }
  })

  it('measures again what an arm of the same name but another definition measured', async () => {
    const lists = ['0.5', '0.75'].map((alpha) =>
      parseArms(['best-of-n', `spec-reject:alpha=${alpha}:name=x`, 'best-of-n:equal-tokens=x'], defaults)
    )
    const [half, most] = lists as [Arm[], Arm[]]
    const { rows: done } = await bench(fakeEngine(script).engine, { arms: half })
    const { rows } = await bench(fakeEngine(script).engine, { arms: most, done })
    // Its tokens decide how many candidates the control writes, so that is measured again too; best-of-N is not.
    expect(rows.map(({ arm }) => arm)).toEqual(Array(3).fill(['x', 'best-of-n:equal-tokens=x']).flat())
    expect(rowsOf([...done, ...rows], most)).toEqual([...of(done, 'best-of-n'), ...rows])
  })

  it('measures again what was measured without the reference', async () => {
    const { rows: done } = await bench(fakeEngine(script).engine, { arms: parseArms(['spec-reject'], defaults) })
    expect(done.map(({ survived }) => survived)).toEqual([null, null, null])
    const both = parseArms(['best-of-n', 'spec-reject'], defaults)
    const { rows } = await bench(fakeEngine(script).engine, { arms: both, done })
    expect(of(rows, 'spec-reject').map(({ survived }) => survived)).toEqual([true, true, true])
    expect(rowsOf([...done, ...rows], both)).toEqual(rows)
  })

  it('measures nothing of a prompt whose reference fails, so that no row lacks its comparison', async () => {
    const broken = { ...script, fail: { operation: 'advance', code: 'DECODE_FAILED' } as const }
    const { rows, failures } = await bench(fakeEngine(broken).engine)
    expect(rows).toEqual([])
    expect(failures.map(({ prompt, arm, code }) => [prompt, arm, code])).toEqual(
      [0, 1, 2].map((prompt) => [prompt, 'best-of-n', 'DECODE_FAILED'])
    )
  })

  it('runs nothing when all is done', async () => {
    const { rows } = await bench(fakeEngine(script).engine)
    const { engine, pools } = fakeEngine(script)
    expect((await bench(engine, { done: rows })).rows).toEqual([])
    expect(pools).toEqual([])
  })

  it('keeps every row that was known when it is aborted', async () => {
    const controller = new AbortController()
    const rows: Row[] = []
    const onRow = (row: Row) => {
      rows.push(row)
      if (rows.length === 8) controller.abort(new Error('enough'))
    }
    const { engine } = fakeEngine(script)
    await expect(bench(engine, { onRow, signal: controller.signal })).rejects.toThrow('enough')
    expect(rows).toHaveLength(8)
  })

  it('goes on without a prompt that does not fit, and says which', async () => {
    const { engine } = fakeEngine(script, { facts: { contextTrain: 100 } })
    const odd = [problems[0], { prompt: 'x'.repeat(200), answer: '7' }, problems[2]] as typeof problems
    const { rows, failures } = await bench(engine, { problems: odd })
    expect(new Set(rows.map(({ prompt }) => prompt))).toEqual(new Set([0, 2]))
    expect(failures[0]).toMatchObject({ prompt: 1, code: 'PROMPT_TOO_LONG' })
  })

  it('measures no survival without best-of-N, and refuses equal-tokens then', async () => {
    const alone = await bench(fakeEngine(script).engine, { arms: parseArms(['spec-reject'], defaults) })
    expect(alone.rows[0]).toMatchObject({ survived: null, regret: null, diverged: null, score: 20 })
    const lacking = parseArms(['spec-reject', 'best-of-n:equal-tokens=spec-reject'], defaults)
    await expect(bench(fakeEngine(script).engine, { arms: lacking })).rejects.toThrow(
      'Expected best-of-n among the policies'
    )
  })
})

describe('a row', () => {
  it('counts the candidates that diverged from the reference, a stopped one as far as it went', async () => {
    const { engine } = fakeEngine(script)
    const [plain, reject] = parseArms(['best-of-n', 'spec-reject'], defaults) as [Arm, Arm]
    const [problem] = problems as [Problem]
    const full = await runArm(engine, problem, plain, 8, conditions, undefined)
    const result = await runArm(engine, problem, reject, 8, conditions, undefined)
    const changed = (ids: readonly number[]) => ({
      ...full,
      branches: full.branches.map((branch) => {
        return ids.includes(branch.id) ? { ...branch, tokens: branch.tokens.map((token) => token + 1) } : branch
      })
    })
    expect(rowOf(0, problem, reject, '', result, full, false).diverged).toBe(0)
    expect(rowOf(0, problem, reject, '', result, changed([0, 3]), false).diverged).toBe(0.25)
    // The winner is another answer now; its score is the race's own, since both rank by the head.
    expect(rowOf(0, problem, reject, '', result, changed([5]), false)).toMatchObject({ diverged: 0.125, score: 20 })
  })
})

describe('the summary of a bench', () => {
  it('has means with intervals and paired differences for every arm', async () => {
    const { rows } = await bench(fakeEngine(script).engine)
    const summary = summarise(rows, arms, 1)
    expect(summary.map(({ policy }) => policy)).toEqual(arms.map(({ name }) => name))
    const [reference, reject] = summary
    expect(reference).toMatchObject({
      n: 8,
      prompts: 3,
      accuracy: { mean: 1, low: 1, high: 1 },
      survival: { mean: 1, low: 1, high: 1 },
      regret: { mean: 0, low: 0, high: 0 },
      diverged: 0,
      truncated: 0
    })
    const tokens = reject?.generatedTokens.mean as number
    expect(reject?.versus['best-of-n']?.generatedTokens.mean).toBeCloseTo(
      tokens / (reference?.generatedTokens.mean as number),
      9
    )
    expect(reject?.versus['best-of-n:n=1']?.accuracy).toEqual({ mean: 1, low: 1, high: 1 })
    expect(reject?.versus['spec-reject']).toBeUndefined()
    const phases = Object.values(reject?.phases ?? {}).reduce((sum, share) => sum + share, 0)
    expect(phases).toBeCloseTo(1, 6)
  })

  it('counts only prompts that every arm has', async () => {
    const { rows } = await bench(fakeEngine(script).engine)
    const summary = summarise(rows.slice(0, -1), arms, 1)
    expect(summary.map(({ prompts }) => prompts)).toEqual(Array(6).fill(2))
  })

  it('has no accuracy where answers are unknown', async () => {
    const unknown = problems.map(({ prompt }) => ({ prompt, answer: null }))
    const { rows } = await bench(fakeEngine(script).engine, { problems: unknown })
    const [reference] = summarise(rows, arms, 1)
    expect(reference?.accuracy).toBeNull()
    expect(reference?.versus['spec-reject']?.accuracy).toBeNull()
  })
})
