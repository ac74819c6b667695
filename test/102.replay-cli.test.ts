import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { main } from '../src/cli/main.js'
import type { open } from '../src/engine.js'
import { fakeEngine } from './fakes/engine.js'
import type { Script } from './fakes/pool.js'
import { fakeTerminal } from './fakes/terminal.js'

// Candidate 5 is right; candidate 7 has the highest score until its end, then 5 has.
const answer = (id: number) => `The answer is ${id === 5 ? 7 : 1}.`
const script: Script = {
  length: (id) => answer(id).length,
  token: (id, position) => answer(id).charCodeAt(position),
  score: (id, tokens) => (id === 5 && tokens > 10 ? 20 : id)
}

let folder = ''
let problems = ''
let traces = ''
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'winnow-replay-cli-'))
  problems = join(folder, 'problems.jsonl')
  traces = join(folder, 'traces.jsonl')
  await writeFile(join(folder, 'model.gguf'), 'GGUF')
  const lines = ['one', 'two', 'three'].map((prompt, i) => JSON.stringify({ id: i, prompt, answer: 7 }))
  await writeFile(problems, lines.join('\n'))
  await winnow(recording)
})
afterAll(() => rm(folder, { recursive: true }))

const opening = (running: Script = script, model = 'model.gguf'): typeof open =>
  (async () => {
    const path = join(folder, model)
    const { engine, head } = fakeEngine(running, { facts: { path } })
    Object.assign(head?.facts ?? {}, { path })
    return engine
  }) as typeof open

async function winnow(argv: string[] | (() => string[]), opened = opening()) {
  const terminal = fakeTerminal()
  const code = await main(typeof argv === 'function' ? argv() : argv, terminal, opened)
  return { code, out: terminal.out(), err: terminal.err() }
}

const by = ['--scorer', 'head', '--scorer', 'min-logprob']
const recording = () => [
  'record',
  '--prompts',
  problems,
  '--out',
  traces,
  '-n',
  '8',
  '--grid',
  '4',
  ...by,
  '--seed',
  '3'
]

const arms =
  'best-of-n,spec-reject,random-kill:like=spec-reject:name=lots,best-of-n:equal-tokens=spec-reject:name=equal,best-of-n:n=1'

describe('winnow record', () => {
  it('says what is in the file, and the same command goes on with nothing to do', async () => {
    const again = await winnow(recording)
    expect(again.code).toBe(0)
    expect(again.out).toBe(
      `3 of 3 problems are in ${traces}, 0 of them new; 8 candidates each, every 4 tokens by head, min-logprob\n`
    )
  })

  it('tells programs with what it was made', async () => {
    const { out } = await winnow(() => [...recording(), '--json', '--quiet'])
    expect(JSON.parse(out)).toMatchObject({
      schemaVersion: 1,
      versions: { llama: 'none' },
      model: { sha256: expect.stringMatching(/^[0-9a-f]{64}$/) },
      scorers: [
        { name: 'head', sha256: null },
        { name: 'min-logprob', sha256: null }
      ],
      problems: { requested: 3, done: 0, resumed: 3, failed: 0 },
      interrupted: false
    })
  })

  it('records parts of the problems, which replay puts together', async () => {
    const parts = [1, 2].map((part) => join(folder, `part-${part}.jsonl`))
    for (const [i, path] of parts.entries()) {
      const asked = recording().map((word) => (word === traces ? path : word))
      const { out } = await winnow([...asked, '--part', `${i + 1}/2`])
      expect(out).toContain(`${2 - i} of ${2 - i} problems`)
    }
    const table = async (...paths: string[]) => {
      const { out } = await winnow(['replay', ...paths, '--checkpoints', '4,8', '--policy', arms, '--json', '--quiet'])
      return JSON.parse(out).policies.map(({ generatedTokens, regret }: Record<string, unknown>) => ({
        generatedTokens,
        regret
      }))
    }
    expect(await table(...parts)).toEqual(await table(traces))
    expect((await winnow(() => [...recording(), '--part', '3/2'])).err).toContain('a part such as 2/4')
  })

  it('exits with 3 where problems failed, and with 2 for what no recording can be', async () => {
    const long = join(folder, 'long.jsonl')
    await writeFile(long, JSON.stringify({ prompt: 'x'.repeat(5000) }))
    const out = join(folder, 'long-traces.jsonl')
    const failed = await winnow(['record', '--prompts', long, '--out', out, '-n', '2'])
    expect(failed.code).toBe(3)
    expect(failed.err).toContain('prompt 1: ')
    const usage = async (...changes: string[]) => {
      const { code, err } = await winnow(() => [...recording(), ...changes])
      expect(code).toBe(2)
      return err
    }
    expect(await usage('--grid', '0')).toContain('a whole number of tokens, at least 1, for --grid')
    expect(await usage('--limit', '-1')).toContain('--limit')
    expect(await usage('--scorer', 'head')).toContain('each scorer once')
    expect(await usage('-n', '9')).toContain('which differs in n')
    expect((await winnow(['record', '--prompts', problems])).err).toContain('a path for --out')
  })

  it('stops at an interruption with how to go on', async () => {
    const out = join(folder, 'stopped.jsonl')
    const slow = opening({ ...script, stepMs: 5 })
    const argv = ['record', '--prompts', problems, '--out', out, '-n', '2', '--grid', '4']
    const terminal = fakeTerminal()
    const running = main(argv, terminal, slow)
    const began = Date.now()
    while ((await readFile(out).catch(() => [])).length === 0 && Date.now() - began < 30_000)
      await new Promise((resolve) => setTimeout(resolve, 1))
    terminal.send('SIGINT')
    expect(await running).toBe(130)
    expect(terminal.err()).toContain(`Run the same command again to go on from ${out}.`)
    expect((await winnow(argv)).out).toContain(`3 of 3 problems are in ${out}`)
  })
})

const replaying = (...more: string[]) => ['replay', traces, '--checkpoints', '4,8', '--quiet', ...more]

describe('winnow replay', () => {
  it('gives the table a bench of the same arms gives', async () => {
    const conditions = ['--checkpoints', '4,8', '--policies', arms, '-n', '8', '--seed', '3', '--json', '--quiet']
    const bench = JSON.parse((await winnow(['bench', '--prompts', problems, ...conditions])).out)
    const { code, out } = await winnow(replaying('--policy', arms, '--seed', '3', '--json'))
    expect(code).toBe(0)
    const replayed = JSON.parse(out)
    const comparable = ({
      policy,
      n,
      accuracy,
      meanScore,
      generatedTokens,
      processedTokens,
      survival,
      regret
    }: Record<string, unknown>) => {
      return { policy, n, accuracy, meanScore, generatedTokens, processedTokens, survival, regret }
    }
    expect(replayed.policies.map(comparable)).toEqual(bench.policies.map(comparable))
    expect(replayed).toMatchObject({ prompts: 3, reference: 'best-of-n', divergence: null, traces: { n: 8, grid: 4 } })
    expect(replayed.policies[1].rounds).toEqual([
      { tokens: 4, prompts: 3, live: 8, killed: 4, bestAlive: 1 },
      { tokens: 8, prompts: 3, live: 4, killed: 2, bestAlive: 0 }
    ])
  })

  it('ranks by any scorer that was recorded, over any number of them', async () => {
    const list = 'best-of-n:scorer=min-logprob:name=least,spec-reject:scorer=min-logprob:against=least'
    const { out } = await winnow(replaying('--policy', list, '-n', '4', '--json'))
    const [least, rejecting] = JSON.parse(out).policies
    // Best-of-N by another scorer is measured against the first scorer's: it takes the candidate that scores least there.
    expect(least).toMatchObject({ n: 4, regret: { mean: 1 } })
    expect(rejecting.regret.mean).toBe(0)
    expect(rejecting.generatedTokens.mean).toBeLessThan(least.generatedTokens.mean)
    const { code, err } = await winnow(replaying('--policy', 'spec-reject:scorer=perplexity'))
    expect(code).toBe(2)
    expect(err).toContain('Expected one of head, min-logprob as the scorer')
  })

  it('prints survival by round for people, and numbers alone for programs', async () => {
    const { out } = await winnow(replaying('--policy', 'best-of-n,spec-reject'))
    expect(out).toContain('spec-reject: 4: 100.0%  8: 0.0%')
    expect(out).toContain('Seconds are foretold')
    const csv = (await winnow(replaying('--output', 'csv'))).out
    expect(csv.trim().split('\n')).toHaveLength(3)
    const lines = (await winnow(replaying('--output', 'jsonl'))).out.trim().split('\n')
    expect(lines.map((line) => JSON.parse(line).rounds.length)).toEqual([0, 2])
  })

  it('adds the paper’s measures where they are asked for, of a perplexity arm too', async () => {
    const { out } = await winnow(replaying('--policy', 'best-of-n,spec-reject', '--measures', '--json'))
    const { measures, bestOfN, correlations } = JSON.parse(out)
    expect(measures[0]).toMatchObject({ policy: 'best-of-n', improvementScore: 100, relativeCompute: 1, speedUp: 1 })
    // It lost the best and took 7, whose score is 13 below in a spread of 20.
    expect(measures[1].improvementScore).toBeCloseTo(100 * (1 - 13 / 20), 9)
    expect(bestOfN.map(({ n }: { n: number }) => n)).toEqual([1, 2, 4, 8])
    expect(Object.keys(correlations)).toEqual(['head', 'min-logprob'])
    const { out: text } = await winnow(replaying('--policy', 'best-of-n,spec-reject', '--measures'))
    expect(text).toMatch(/policy +improvement score +relative compute +equal to best-of/)
    const file = join(folder, 'perplexity.jsonl')
    await winnow(['record', '--prompts', problems, '--out', file, '-n', '8', '--grid', '4', '--scorer', 'perplexity'])
    const self = await winnow(['replay', file, '--checkpoints', '4', '--measures', '--json', '--quiet'])
    const { policies, measures: own } = JSON.parse(self.out)
    expect(policies[1].generatedTokens.mean).toBeLessThan(policies[0].generatedTokens.mean)
    expect(own[1].improvementScore).toBeLessThanOrEqual(100)
    expect(own[1].relativeGeneration).toBeGreaterThan(0)
  })

  it('is the same, byte for byte, from the same traces', async () => {
    const [one, other] = [await winnow(replaying('--json')), await winnow(replaying('--json'))]
    expect(one.out).toBe(other.out)
  })

  it('counts how live races differ from their replays', async () => {
    const { out } = await winnow(replaying('--policy', arms, '--live', '2', '--json'))
    expect(JSON.parse(out).divergence).toMatchObject({ races: 6, winners: 0, kills: 0, lengths: 0, candidates: 34 })
    // Another mind behind the same file: 7 keeps its lead, and 0 writes one word.
    const other = { ...script, length: (id: number) => (id === 0 ? 1 : answer(id).length), score: (id: number) => id }
    const changed = await winnow(replaying('--policy', 'best-of-n,spec-reject', '--live', '1'), opening(other))
    expect(changed.out).toContain('2 live races went NOT as replayed: 1 other winners')
    expect(changed.out).toMatch(/ 1 other kills and \d other lengths of 16 candidates/)
  })

  it('refuses another model than the one that was recorded', async () => {
    await writeFile(join(folder, 'other.gguf'), 'GGUF2')
    const { code, err } = await winnow(replaying('--live', '1'), opening(script, 'other.gguf'))
    expect(code).toBe(2)
    expect(err).toContain('Expected the model of the recording but received another')
  })

  it('refuses what is no file of traces, and what it cannot replay', async () => {
    const { code, err } = await winnow(['replay', problems])
    expect(code).toBe(2)
    expect(err).toContain(`Expected a file of traces for line 1 of ${problems}`)
    expect((await winnow(['replay', join(folder, 'none.jsonl')])).code).toBe(1)
    const off = await winnow(['replay', traces, '--checkpoints', '6', '--policy', 'spec-reject'])
    expect(off.code).toBe(2)
    expect(off.err).toContain('checkpoints at multiples of 4 tokens')
    expect((await winnow(replaying('-n', '9'))).err).toContain('from 1 to 8')
    expect((await winnow(replaying('--output', 'xml'))).code).toBe(2)
    expect((await winnow(replaying('--live', '-1'))).code).toBe(2)
  })
})
