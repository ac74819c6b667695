import { appendFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { at, every } from '../src/checkpoint.js'
import { randomKill } from '../src/policies/random-kill.js'
import { specReject } from '../src/policies/spec-reject.js'
import type { View } from '../src/policy.js'
import { auroc } from '../src/ranking.js'
import { rewardHead } from '../src/scorers/head.js'
import { minLogprob } from '../src/scorers/min-logprob.js'
import { generator, resamples } from '../src/statistics.js'
import { fakeEngine } from './fakes/engine.js'

/** The driver's parts are plain JavaScript, for whoever has built the package. */
const part = (name: string) => import(new URL(`../bench/rewards/${name}.mjs`, import.meta.url).pathname)
const { Journal, entriesOf, merge } = await part('journal')
const { Panel } = await part('panel')
const { replay } = await part('replay')
const { pooledAuroc, rankingOf, scoreAt } = await part('ranking')
const { interval, meanOf, ratioOf } = await part('interval')
const { choicesOf } = await part('choices')
const { figuresOf } = await part('figures')
const { pageOf } = await part('table')
const { checkOptions } = await part('options')

let folder = ''
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'winnow-rewards-'))
})
afterAll(() => rm(folder, { recursive: true }))

describe('a journal', () => {
  const conditions = { seed: '1', options: { n: 4 } }
  const entry = { type: 'candidates', prompt: 3 }
  const command = 'node bench/rewards.mjs'

  it('is gone on with where it was left, without the line that a crash cut off', async () => {
    const path = join(folder, 'torn.jsonl')
    new Journal(path, conditions, command).append(entry)
    await appendFile(path, '{"type":"race","pro')
    const journal = new Journal(path, conditions, command)
    expect(journal.entries).toEqual([entry])
    expect(journal.has({ type: 'candidates', prompt: 3 })).toBe(true)
    expect(journal.has({ type: 'race', prompt: 3, arm: 'x' })).toBe(false)
    journal.append({ type: 'race', prompt: 3, arm: 'x' })
    expect(entriesOf(await readFile(path, 'utf8'), path)).toEqual({
      conditions,
      commands: [command],
      entries: journal.entries
    })
  })

  it('keeps every command that has measured into it, under the same conditions', async () => {
    const path = join(folder, 'commands.jsonl')
    for (const limit of [2, 2, 4]) new Journal(path, conditions, `${command} --limit ${limit}`)
    new Journal(path, conditions, `${command} --limit 2`).append(entry)
    const { commands, entries } = entriesOf(await readFile(path, 'utf8'), path)
    expect(commands).toEqual([`${command} --limit 2`, `${command} --limit 4`])
    expect(entries).toEqual([entry])
  })

  it('is refused under other conditions, where it cannot be read, and where it is something else', async () => {
    const path = join(folder, 'other.jsonl')
    new Journal(path, conditions, command).append(entry)
    const other = { seed: '2', options: { n: 4, workers: 2 } }
    expect(() => new Journal(path, other, command)).toThrow('one that differs in seed, options')
    await appendFile(path, 'x\n{}\n')
    expect(() => new Journal(path, conditions, command)).toThrow('line 4 of')
    await writeFile(path, '{"a":1}\n')
    expect(() => new Journal(path, conditions, command)).toThrow('received another file')
  })

  it('of several parts is merged by problem, each measurement once', () => {
    const race = (prompt: number, arm: string) => ({ type: 'race', prompt, arm })
    const [a, b] = [
      [race(2, 'x'), race(0, 'x')],
      [race(1, 'x'), race(1, 'y'), race(0, 'x')]
    ]
    const merged = merge([{ entries: a }, { entries: b }])
    expect(merged).toEqual([race(0, 'x'), race(1, 'x'), race(1, 'y'), race(2, 'x')])
  })
})

/** Candidates of lengths 3..34 whose scores wander; candidate 7 writes nothing at all. */
const noise = (id: number, tokens: number) => generator(1000 * id + tokens)()
const script = {
  length: (id: number) => (id === 7 ? 0 : 3 + ((id * 13) % 32)),
  token: (_: number, position: number) => 65 + (position % 20),
  score: (id: number, tokens: number) => noise(id, tokens)
}

const scorers = [
  { name: 'head', scorer: rewardHead() },
  { name: 'min-logprob', scorer: minLogprob() }
]

async function recorded(n: number) {
  const panel = new Panel(scorers, 4)
  let seed = 0
  const decide = (view: View) => {
    seed = view.seed
    return { kill: [] }
  }
  const policy = { name: 'watched', checkpoints: every(4), decide }
  const { branches } = await fakeEngine(script).engine.bestOf(n, 'x', { policy, scorer: panel, seed: 5 })
  const lengths = branches.map(({ tokens }) => tokens.length)
  return { seed, lengths, scores: panel.record, final: branches.map(({ score }) => score) }
}

describe('candidates on record', () => {
  it('have the score of every checkpoint they lived to, then the final one, of each scorer', async () => {
    const { lengths, scores, final } = await recorded(9)
    for (const [id, length] of lengths.entries()) {
      const said = scores.head[id]
      expect(said).toHaveLength(Math.floor(length / 4) + 1)
      expect(said.at(-1)).toBeCloseTo(final[id] as number, 8)
      for (const [i, score] of said.slice(0, -1).entries()) expect(score).toBeCloseTo(noise(id, 4 * (i + 1)), 6)
    }
    // Minus infinity, which JSON has not: nothing speaks for an empty answer.
    expect(scores['min-logprob'][7]).toEqual([null])
  })

  it.each([
    ['speculative rejection', specReject({ alpha: 0.3, checkpoints: every(4) })],
    ['a harsher one', specReject({ alpha: 0.6, checkpoints: every(8) })],
    ['kills by lot', randomKill({ alpha: 0.3, checkpoints: every(4) })]
  ])('are raced again by %s as the engine does', async (_, policy) => {
    const record = await recorded(24)
    const live = await fakeEngine(script).engine.bestOf(24, 'x', { policy, seed: 5 })
    const again = replay(policy, record, record.scores.head, 4)
    expect(live.branches.some(({ killedAt }) => killedAt !== null)).toBe(true)
    expect(again.killedAt).toEqual(live.branches.map(({ killedAt }) => killedAt))
    expect(again.winner).toBe(live.winner?.id)
    expect(again.tokens).toBe(live.usage.generatedTokens)
  })

  it('are not recorded where a race looks at them in other places', async () => {
    const panel = new Panel(scorers, 4)
    const { failure } = await fakeEngine(script).engine.bestOf(3, 'x', { scorer: panel, checkpoints: every(6) })
    expect(failure?.message).toContain('Expected candidate 1 at 4 tokens but received it at 6')
  })

  it('cannot be raced again with checkpoints between those on record', async () => {
    const record = await recorded(3)
    const policy = specReject({ checkpoints: every(6) })
    expect(() => replay(policy, record, record.scores.head, 4)).toThrow('multiples of 4 tokens but received one at 6')
    // Where nobody comes nothing need be on record.
    const late = specReject({ alpha: 0.3, checkpoints: at([8, 601]) })
    expect(replay(late, record, record.scores.head, 4).tokens).toBeGreaterThan(0)
  })
})

describe('ranking quality', () => {
  it('reads a score at or after the share of the tokens, and at the end the final one', () => {
    const said = [1, 2, 3, 9]
    expect([25, 50, 75, 100].map((percent) => scoreAt(said, 13, percent, 4))).toEqual([1, 2, 3, 9])
    expect([25, 50, 75, 100].map((percent) => scoreAt(said, 14, percent, 4))).toEqual([1, 2, 3, 9])
    expect(scoreAt([7], 2, 25, 4)).toBe(7)
    expect(scoreAt([null], 0, 25, 4)).toBe(Number.NEGATIVE_INFINITY)
  })

  it('pooled over problems is the area over all their candidates, ties counting half', () => {
    const draw = generator(3)
    const scores = Array.from({ length: 5 }, () => Array.from({ length: 6 }, () => Math.floor(draw() * 4)))
    const right = scores.map((list) => list.map(() => draw() < 0.4))
    const area = pooledAuroc(scores, right)
    const over = (items: number[]) =>
      auroc(
        items.flatMap((i) => scores[i] as number[]),
        items.flatMap((i) => right[i] as boolean[])
      )
    for (const items of [[0, 1, 2, 3, 4], [2, 2, 4, 1, 1], [3]])
      expect(area(items)).toBeCloseTo(over(items) as number, 12)
  })

  it('within problems leaves out those that are all right or all wrong', () => {
    const problem = (right: boolean[], scores: number[]) => ({
      lengths: scores.map(() => 4),
      right,
      scores: { s: scores.map((score) => [score, score]) }
    })
    const mixed = problem([true, false], [2, 1])
    const upside = problem([false, true], [2, 1])
    const all = problem([true, true], [1, 2])
    const drawn = resamples(3, 1)
    expect(rankingOf([mixed, all, upside], 's', 's', 4, drawn).within[100].mean).toBe(0.5)
    expect(rankingOf([all, all, all], 's', 's', 4, drawn).within[100]).toBeNull()
  })
})

describe('two rankings', () => {
  it('are compared problem by problem', () => {
    const scores = { a: [[1], [0]], b: [[0], [1]] }
    const mixed = { lengths: [4, 4], right: [true, false], scores }
    const all = { ...mixed, right: [true, true] }
    const { overFirst } = rankingOf([mixed, all], 'a', 'b', 4, resamples(2, 1))
    expect(overFirst[100]).toEqual({ mean: 1, low: 1, high: 1 })
    expect(rankingOf([mixed], 'a', 'a', 4, resamples(1, 1)).overFirst).toBeNull()
  })
})

describe('an interval', () => {
  it('leaves out what does not exist, resamples and values alike', () => {
    const drawn = resamples(4, 2)
    expect(meanOf([null, 1, 3, null], drawn).mean).toBe(2)
    expect(meanOf([null, null, null, null], drawn)).toBeNull()
    expect(ratioOf([2, 4, 6, 8], [1, 2, 3, 4], drawn)).toEqual({ mean: 2, low: 2, high: 2 })
    const sparse = interval(4, drawn, (items: Int32Array) => (items.includes(0) ? 1 : Number.NaN))
    expect(sparse).toEqual({ mean: 1, low: 1, high: 1 })
  })
})

// Four candidates of 8 tokens. The scorer sees 3 in front at 4 tokens and 1 at the end; 1 and 2 are the same text, and right.
const candidates = {
  type: 'candidates',
  prompt: 0,
  seed: 9,
  lengths: [8, 8, 8, 8],
  right: [false, true, true, false],
  same: [0, 1, 1, 3],
  scores: { head: [4, 1, 3, 5].map((early, id) => [early, 0, [0, 4, 3, 2][id]]) }
}
const schedule = { alpha: 0.5, checkpoints: every(4) }

describe('what a way of choosing returns', () => {
  it('is counted in tokens and compared with best-of-N by the same scorer', () => {
    const { bestOf, specReject: rejected, equalTokens, randomKill: lots } = choicesOf(candidates, 'head', schedule, 4)
    expect(bestOf).toMatchObject({ winner: 1, right: true, tokens: 32, survived: true, regret: 0 })
    // Two are killed at 4 tokens, one more at 8, where all scores are level and the first in order stays.
    expect(rejected).toMatchObject({ winner: 0, right: false, tokens: 24, survived: false, regret: 1 })
    expect(equalTokens).toMatchObject({ n: 3, tokens: 24, winner: 1, right: true, survived: true })
    expect(lots.tokens).toBe(rejected.tokens)
  })

  it('survives as another candidate with the same text', () => {
    const first = { ...candidates, scores: { head: [0, 2, 5, 1].map((early, id) => [early, early, [0, 4, 3, 2][id]]) } }
    const { specReject: rejected } = choicesOf(first, 'head', schedule, 4)
    expect(rejected).toMatchObject({ winner: 2, survived: true, regret: 0.25 })
  })
})

describe('what the driver is asked for', () => {
  const asked = {
    ...{
      limit: '2',
      'live-limit': '0',
      'ratio-limit': '0',
      n: '4',
      grid: '8',
      'max-tokens': '40',
      threads: '1',
      workers: '2'
    },
    ...{ alpha: '0.1', 'ratio-alphas': '0.2,0.5', checkpoints: 'every:16' }
  }

  it('may be checkpoints on the grid as far as a candidate may write', () => {
    expect(() => checkOptions(asked)).not.toThrow()
    expect(() => checkOptions({ ...asked, checkpoints: '8,40,41' })).not.toThrow()
  })

  it.each([
    ['checkpoints', 'every:6', 'Expected --checkpoints at multiples of --grid 8 tokens but received one at 6'],
    ['checkpoints', '8,36', 'received one at 36'],
    ['checkpoints', 'often', 'for checkpoints but received "often"'],
    ['workers', 'x', 'Expected a whole number, at least 1, for --workers but received "x"'],
    ['workers', '0', 'for --workers but received "0"'],
    ['workers', '1.5', 'for --workers but received "1.5"'],
    ['grid', '', 'for --grid but received ""'],
    ['live-limit', '-1', 'Expected a whole number, at least 0, for --live-limit but received "-1"'],
    ['alpha', '1', 'for alpha but received 1'],
    ['ratio-alphas', '0.2,x', 'for alpha but received NaN'],
    ['ratio-alphas', '0.2,', 'for alpha but received NaN']
  ])('is refused before anything is measured: %s %j', (name, text, sentence) => {
    expect(() => checkOptions({ ...asked, [name]: text })).toThrow(sentence)
  })
})

const row = (arm: string, changes: object = {}) => ({
  ...{ type: 'race', prompt: 0, arm, n: 4, winner: 0, right: false, killedAt: [null, 4, 4, 8], promptTokens: 5 },
  ...{ generatedTokens: 24, processedTokens: 30, rewardTokens: 0, wallSeconds: 1, scoreSeconds: 0.25, ...changes }
})
const reading = (prompt: number, kind: string, rewardTokens: number, scoreSeconds: number) => ({
  ...row(`${kind} 0.5`, { rewardTokens, scoreSeconds }),
  ...{ type: 'reading', prompt, alpha: 0.5, kind }
})
const setup = { names: ['head'], schedule, grid: 4, alphas: [0.2, 0.5], seed: 1 }

describe('the figures', () => {
  const entries = [
    candidates,
    row('spec-reject head'),
    row('best-of-n head', { wallSeconds: 4, winner: 1, killedAt: [null, null, null, null] }),
    reading(0, 'mirror', 100, 1),
    reading(0, 'reencode', 500, 2),
    reading(1, 'mirror', 300, 1),
    reading(1, 'reencode', 700, 4),
    // Without its fellow it counts nowhere.
    reading(2, 'mirror', 999, 9)
  ]

  it('have ratios of sums, of pairs alone, and no alpha that was not run', () => {
    const { reading: found } = figuresOf(entries, setup)
    expect(found).toHaveLength(1)
    expect(found[0]).toMatchObject({ alpha: 0.5, problems: 2, sameAnswer: 1, sameRace: 1 })
    expect(found[0].tokens.mean).toBe(3)
    expect(found[0].scoreSeconds.mean).toBe(3)
    expect([found[0].mirrorTokens.mean, found[0].reencodeTokens.mean]).toEqual([200, 600])
  })

  it('say how the live races stand to best-of-N and whether they are what was replayed', () => {
    const [head] = figuresOf(entries, setup).scorers
    expect(head.cost).toMatchObject({ problems: 1, agreement: 1 })
    expect(head.cost.wallShare.mean).toBe(0.25)
    expect(head.cost.scoreShare.mean).toBe(0.25)
    expect(head.specReject.tokensShare.mean).toBe(0.75)
    expect(head.equalTokens.gain.mean).toBe(-1)
    const other = entries.map((entry) => (entry === entries[1] ? row('spec-reject head', { winner: 2 }) : entry))
    expect(figuresOf(other, setup).scorers[0].cost.agreement).toBe(0)
  })

  it('become a page that says what was not run with a dash, and nothing undefined', () => {
    const command = 'node bench/rewards.mjs --limit 1'
    const about = {
      ...{ command, commands: [command], versions: { winnow: '1', llama: '2', node: '3' } },
      hardware: { cpu: 'a', cores: 2, platform: 'b' },
      options: { alpha: 0.5, checkpoints: 'every:4', threads: 1, workers: 2 }
    }
    const page = pageOf({ ...about, figures: figuresOf(entries, setup) })
    expect(page).toContain('| head on its own state |')
    expect(page).toContain(
      `Both were made by\n\n    ${command}\n\n2 cores of a (b), 1 thread in each of 2 processes at a time;`
    )
    expect(page).toContain('3.00x [2.33x, 5.00x]')
    expect(page).toContain('25.0% [25.0%, 25.0%]')
    expect(page).not.toMatch(/undefined|NaN|null/)
    const alone = pageOf({ ...about, figures: figuresOf([candidates], setup) })
    expect(alone).not.toMatch(/undefined|NaN|null|## Cost|## Reading/)
    const merged = { ...about, command: `${command} --merge-only`, commands: [command, `${command} --ratio-limit 1`] }
    expect(pageOf({ ...merged, figures: figuresOf(entries, setup) })).toContain(
      `What they rest on was measured by\n\n    ${command}\n    ${command} --ratio-limit 1\n\nand both files were made of it by\n\n    ${command} --merge-only\n\n`
    )
  })
})
