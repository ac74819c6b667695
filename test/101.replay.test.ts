import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { at, type Checkpoints, doubling, every } from '../src/checkpoint.js'
import { embedded } from '../src/embedded.js'
import { type Engine, open } from '../src/engine.js'
import { bestOfN } from '../src/policies/best-of-n.js'
import { keepEnough } from '../src/policies/keep-enough.js'
import { memoryPressure } from '../src/policies/memory-pressure.js'
import { randomKill } from '../src/policies/random-kill.js'
import { specReject } from '../src/policies/spec-reject.js'
import { stopWhenDecided } from '../src/policies/stop-when-decided.js'
import type { Policy, View } from '../src/policy.js'
import { readProblems } from '../src/problems.js'
import type { Result } from '../src/result.js'
import type { Scorer } from '../src/scorer.js'
import { rewardHead } from '../src/scorers/head.js'
import { minLogprob } from '../src/scorers/min-logprob.js'
import { lengthPenalty } from '../src/shapers/length-penalty.js'
import { CostFit, wallOf } from '../src/traces/cost.js'
import { record } from '../src/traces/record.js'
import { type Replay, replay } from '../src/traces/replay.js'
import type { Trace } from '../src/traces/trace.js'
import { openTraces, type Traces } from '../src/traces/trace-file.js'
import { fakeEngine } from './fakes/engine.js'
import type { Script } from './fakes/pool.js'
import { madeTraces } from './fakes/traces.js'

let folder = ''
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'winnow-replay-'))
  await writeFile(join(folder, 'model.gguf'), 'GGUF')
})
afterAll(() => rm(folder, { recursive: true }))

/** An engine of the script whose files have checksums. */
function scripted(script: Script): Engine {
  const path = join(folder, 'model.gguf')
  const { engine, head } = fakeEngine(script, { facts: { path } })
  Object.assign(head?.facts ?? {}, { path })
  return engine
}

/** A policy that keeps every view it was shown. */
function watched(policy: Policy): { readonly policy: Policy; readonly views: View[] } {
  const views: View[] = []
  const decide = (view: View) => {
    views.push(view)
    return policy.decide(view)
  }
  const choose = (view: View) => {
    views.push(view)
    return policy.choose?.(view) ?? null
  }
  return { policy: { ...policy, decide, ...(policy.choose !== undefined && { choose }) }, views }
}

/** Views as plain data, whatever class their standings are of. */
function plain(views: readonly View[]) {
  return views.map(({ branches, memory, room, ...view }) => ({
    ...view,
    memory,
    room,
    branches: branches.map(({ id, state, reason, score, scores, tokens, fresh }) => {
      return { id, state, reason, score, scores: [...scores], tokens, fresh }
    })
  }))
}

/** What of a race a replay must say too. */
function fate({ winner, branches, usage }: Result) {
  return {
    winner: winner?.id ?? null,
    killedAt: branches.map(({ killedAt }) => killedAt ?? -1),
    tokens: branches.map(({ tokens }) => tokens.length),
    generatedTokens: usage.generatedTokens,
    processedTokens: usage.processedTokens,
    peakCells: usage.peakCells
  }
}

function fateOf({ winner, killedAt, tokens, work, processedTokens }: Replay) {
  const { generatedTokens, peakCells } = work
  return { winner, killedAt: [...killedAt], tokens: [...tokens], generatedTokens, processedTokens, peakCells }
}

async function tracesOf(traces: Traces): Promise<Trace[]> {
  const all: Trace[] = []
  for await (const trace of traces.all()) all.push(trace)
  return all
}

describe('a replay of a scripted race', () => {
  // Lengths on both sides of checkpoints, on them and at the end of the line; scores that change their mind; ties.
  const script: Script = {
    length: (id) => [16, 3, 8, 9, 12, 40, 7, 4, 33, 20, 1, 24][id] as number,
    ending: (id) => (id % 3 === 0 ? 'stop' : 'end'),
    score: (id, tokens) => ((id * 7 + Math.floor(tokens / 4) * 5) % 6) - 2
  }
  const options = { maxTokens: 30, seed: 3n, deterministic: true }
  const policies: Record<string, () => Policy> = {
    'best-of-n': () => bestOfN(),
    'spec-reject': () => specReject({ alpha: 0.4, checkpoints: every(4) }),
    'spec-reject with a margin': () => specReject({ alpha: 0.7, margin: 2, checkpoints: at([8, 12, 20, 28]) }),
    'the paper’s rule': () => specReject({ alpha: 0.5, paper: true, checkpoints: every(8) }),
    'the paper’s rule to the last': () => specReject({ alpha: 0.9, paper: true, checkpoints: every(4) }),
    'keep-enough': () => keepEnough({ right: 1.5, checkpoints: every(4) }),
    'random-kill': () => randomKill({ alpha: 0.3, checkpoints: every(4) }),
    'like another': () =>
      randomKill({
        like: [
          { tokens: 8, killed: 3 },
          { tokens: 16, killed: 9 }
        ]
      }),
    'stop when decided': () =>
      stopWhenDecided({
        policy: specReject({ alpha: 0.2, checkpoints: every(8) }),
        shape: lengthPenalty({ alpha: 1 }),
        ceiling: 4
      }),
    'kills all': () => ({
      name: 'all',
      checkpoints: at([12]),
      decide: ({ branches }) => ({ kill: branches.filter(({ state }) => state === 'live').map(({ id }) => id) })
    }),
    'chooses by what it remembers': () => ({
      name: 'memory',
      checkpoints: every(4),
      decide: ({ memory, branches }) => ({ kill: [], memory: ((memory as number) ?? 0) + branches.length }),
      choose: ({ memory, branches, index }) => ((memory as number) + index) % branches.length
    })
  }

  let traces: Traces
  let trace: Trace
  beforeAll(async () => {
    const engine = scripted(script)
    const out = join(folder, 'scripted.jsonl')
    const wanted = { out, n: 12, grid: 4, scorers: [rewardHead(), minLogprob()], ...options }
    await record(engine, [{ prompt: 'hi', answer: '7' }], wanted)
    await engine.close()
    traces = await openTraces(out)
    trace = (await tracesOf(traces))[0] as Trace
  })

  for (const [name, make] of Object.entries(policies)) {
    for (const [n, scorer] of [
      [12, 0],
      [12, 1],
      [7, 0],
      [1, 0]
    ] as const) {
      it(`shows ${name} what a race shows it, and ends alike (${n} candidates, scorer ${scorer})`, async () => {
        const engine = scripted(script)
        const [live, again] = [watched(make()), watched(make())]
        const by = [rewardHead(), minLogprob()][scorer] as Scorer
        const result = await engine.bestOf(n, 'hi', { policy: live.policy, scorer: by, ...options })
        const replayed = replay(traces.header, trace, again.policy, { n, scorer })
        await engine.close()
        expect(plain(again.views)).toEqual(plain(live.views))
        // A scripted pool counts the cells of those that end with the step; the embedded model's races compare the peak.
        const { peakCells: _, ...ended } = fate(result)
        expect(fateOf(replayed)).toMatchObject(ended)
      })
    }
  }

  it('takes a schedule of its own, and says when one does not lie on the grid', () => {
    const policy = specReject({ alpha: 0.5 })
    const looks = replay(traces.header, trace, policy, { checkpoints: at([8, 16]) }).rounds.map(({ tokens }) => tokens)
    expect(looks.slice(0, 2)).toEqual([8, 16])
    const wrong = () => replay(traces.header, trace, policy, { checkpoints: at([6]) })
    expect(wrong).toThrow('Expected checkpoints at multiples of 4 tokens')
    // Nobody lives to see it.
    const late: Checkpoints = at([8, 30, 31])
    expect(replay(traces.header, trace, policy, { checkpoints: late }).rounds).toHaveLength(2)
  })

  it('refuses what it cannot know', () => {
    expect(() => replay(traces.header, trace, bestOfN(), { n: 13 })).toThrow('from 1 to 12')
    expect(() => replay(traces.header, trace, bestOfN(), { scorer: 2 })).toThrow('one of 2 scorers')
    expect(() => replay(traces.header, trace, memoryPressure())).toThrow('at checkpoints alone')
    const twice: Policy = { name: 'twice', checkpoints: every(4), decide: () => ({ kill: [0, 0] }) }
    expect(() => replay(traces.header, trace, twice)).toThrow('each once, from the policy twice but received 0')
    const not = { name: 'not', checkpoints: every(4), decide: () => ({}) } as unknown as Policy
    expect(() => replay(traces.header, trace, not)).toThrow('a decision with an array of ids to kill')
    const nobody: Policy = { ...bestOfN(), choose: () => 99 }
    expect(() => replay(traces.header, trace, nobody)).toThrow('the id of a branch or null')
  })

  it('says round by round who lived and whether the best did', () => {
    const best = replay(traces.header, trace, bestOfN()).best
    const kill: Policy = {
      name: 'kills the best',
      checkpoints: at([4]),
      decide: ({ branches }) => ({
        kill: branches.filter(({ id, state }) => id === best && state === 'live').map(({ id }) => id)
      })
    }
    const { rounds, winner } = replay(traces.header, trace, kill)
    expect(rounds[0]).toMatchObject({ tokens: 4, killed: 1, bestAlive: false })
    expect(winner).not.toBe(best)
  })
})

describe('the speed of replay', () => {
  it('is that of 300 prompts x 256 candidates x 100 settings in a minute on two cores', () => {
    const { header, traces } = madeTraces({ prompts: 15, n: 256, grid: 16, rho: () => 0.5, length: 400 })
    const schedules = [every(16), every(32), doubling(16), doubling(32)]
    const alphas = [0.02, 0.05, 0.1, 0.3, 0.5]
    const settings = schedules.flatMap((checkpoints) => alphas.map((alpha) => specReject({ alpha, checkpoints })))
    const before = process.cpuUsage()
    for (const trace of traces) for (const policy of settings) replay(header, trace, policy)
    const { user, system } = process.cpuUsage(before)
    // 300 of the 30,000 replays, in the time of two cores.
    expect((user + system) / 1e6).toBeLessThan(60 * (300 / 30_000) * 2)
  })
})

describe('a replay of the embedded model’s races', () => {
  const n = 16
  const options = { maxTokens: 512, seed: 1n, deterministic: true }
  const policies = [
    specReject({ alpha: 0.13, checkpoints: every(8) }),
    specReject({ alpha: 0.5, checkpoints: at([16, 32, 64, 128]) })
  ]

  it('kills the same candidates and has the same winner on 50 problems, at about the time it foretells', async () => {
    const engine = await open(undefined, { threads: 1, gpu: 'cpu' })
    const problems = await readProblems(embedded.problems, 50)
    const out = join(folder, 'embedded.jsonl')
    const lived: Result[] = []
    // In turn, so that whatever else the machine does shows in both.
    for (const [i, { prompt }] of problems.entries()) {
      await record(engine, problems.slice(0, i + 1), { out, n, grid: 8, ...options })
      const policy = policies[i % policies.length] as Policy
      lived.push(await engine.bestOf(n, prompt, { ...options, policy }))
    }
    await engine.close()
    const { header, all } = await openTraces(out)
    const fit = new CostFit(header)
    for await (const trace of all()) fit.add(trace)
    const model = fit.model()
    let [foretold, measured] = [0, 0]
    for await (const trace of all()) {
      const replayed = replay(header, trace, policies[trace.prompt % policies.length] as Policy)
      const live = lived[trace.prompt] as Result
      expect(fateOf(replayed)).toEqual(fate(live))
      foretold += wallOf(model.seconds(replayed))
      measured += live.usage.wallSeconds
    }
    expect(foretold / measured).toBeGreaterThan(0.5)
    expect(foretold / measured).toBeLessThan(2)
  }, 600_000)
})
