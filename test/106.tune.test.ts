import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseArm, parseArms } from '../src/arm.js'
import { at } from '../src/checkpoint.js'
import { main } from '../src/cli/main.js'
import type { open } from '../src/engine.js'
import { policyFor, policyOf, policyText, readPolicy } from '../src/policy-file.js'
import type { Interval } from '../src/statistics.js'
import { replay } from '../src/traces/replay.js'
import type { Traces } from '../src/traces/trace-file.js'
import { type Tuned, tune } from '../src/tuning/tune.js'
import { fakeEngine } from './fakes/engine.js'
import { fakeTerminal } from './fakes/terminal.js'
import { madeTraces } from './fakes/traces.js'

const rho = (tokens: number) => Math.sqrt(Math.min(1, tokens / 100))
const { header, traces: made } = madeTraces({ prompts: 200, n: 32, grid: 8, rho, seed: 5 })
const unseen = madeTraces({ prompts: 400, n: 32, grid: 8, rho, seed: 6 })
const traces: Traces = {
  header,
  async *all() {
    yield* made
  }
}

let folder = ''
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'winnow-tune-'))
})
afterAll(() => rm(folder, { recursive: true }))

/** On prompts that tuning has not seen. */
function realised({ chosen, safety }: Tuned) {
  const policy = policyOf(chosen.settings(safety) as NonNullable<ReturnType<typeof chosen.settings>>)
  let [survived, tokens, all] = [0, 0, 0]
  for (const trace of unseen.traces) {
    const done = replay(unseen.header, trace, policy)
    survived += Number(done.winner === done.best)
    tokens += done.work.generatedTokens
    all += trace.lengths.reduce((sum, length) => sum + length, 0)
  }
  return { survival: survived / unseen.traces.length, tokens: tokens / all }
}

const within = (value: number, { low, high }: Interval, slack: number) => value >= low - slack && value <= high + slack

describe('tuning', () => {
  let keeping: Tuned
  beforeAll(async () => {
    keeping = await tune(traces, { goal: { keep: 0.9 } })
  }, 120_000)

  it('keeps what it promises on prompts it has not seen, for a good deal less than best-of-N', () => {
    const { survival, tokens } = realised(keeping)
    expect(keeping.promised.survival.mean).toBeGreaterThanOrEqual(0.9)
    expect(keeping.promised.tokens.mean).toBeLessThan(0.8)
    // Two standard errors of 400 prompts.
    expect(survival).toBeGreaterThan(0.9 - 2 * Math.sqrt(0.09 / 400))
    expect(within(survival, keeping.promised.survival, 0.03)).toBe(true)
    expect(within(tokens, keeping.promised.tokens, 0.03)).toBe(true)
  })

  it('says what choosing is worth on prompts that were held out', () => {
    const { heldOut, agreeing, folds } = keeping
    expect(heldOut.name).toBe('held out')
    expect(within(0.9, heldOut.survival, 0.03)).toBe(true)
    expect(folds).toBe(5)
    expect(agreeing).toBeGreaterThanOrEqual(0)
    expect(agreeing).toBeLessThanOrEqual(5)
  })

  it('has a front on which nobody is beaten in both, best-of-N at its end', () => {
    const { front } = keeping
    expect(front.length).toBeGreaterThan(5)
    for (const [i, point] of front.slice(1).entries()) {
      expect(point.tokens.mean).toBeGreaterThan(front[i]?.tokens.mean as number)
      expect(point.survival.mean).toBeGreaterThan(front[i]?.survival.mean as number)
    }
    expect(front.at(-1)?.survival.mean).toBe(1)
    expect(front.every(({ accuracy }) => accuracy !== null)).toBe(true)
  })

  it('spends no more than it may, and says when nothing costs that little', async () => {
    const spending = await tune(traces, { goal: { tokens: 0.5 } })
    expect(spending.promised.tokens.mean).toBeLessThanOrEqual(0.5)
    expect(spending.promised.survival.mean).toBeGreaterThan(0.3)
    expect(spending.promised.survival.mean).toBeLessThan(keeping.promised.survival.mean)
    await expect(tune(traces, { goal: { tokens: 0.001 } })).rejects.toThrow('the least')
  }, 120_000)

  it('keeps regret below the goal with an error to spare, and falls back to best-of-N for none', async () => {
    const regretting = await tune(traces, { goal: { regret: 0.02 }, n: 16 })
    expect(regretting.promised.regret.mean).toBeLessThan(0.02)
    expect(regretting.promised.tokens.mean).toBeLessThan(1)
    const none = await tune(traces, { goal: { keep: 1 }, n: 8 })
    expect(none.promised).toMatchObject({ survival: { mean: 1 }, tokens: { mean: 1 } })
  }, 120_000)

  it('comes to the same from the same traces', async () => {
    const again = await tune(traces, { goal: { keep: 0.9 } })
    expect(again.front).toEqual(keeping.front)
    expect(again.chosen.name).toBe(keeping.chosen.name)
  }, 120_000)

  it('refuses goals that are none and traces that are too few', async () => {
    await expect(tune(traces, { goal: { keep: 1.5 } })).rejects.toThrow('from 0 to 1')
    await expect(tune(traces, { goal: { keep: 0.5, regret: 0.5 } as never })).rejects.toThrow('one of keep, tokens')
    await expect(tune(traces, { goal: { keep: 0.5 }, folds: 1 })).rejects.toThrow('a whole number from 2')
    await expect(tune(traces, { goal: { keep: 0.5 }, folds: 150 })).rejects.toThrow('traces of 300 prompts at least')
  })
})

describe('a policy file', () => {
  const evidence = { prompts: 1 }
  const saved = async (name: string, settings: Parameters<typeof policyOf>[0]) => {
    const path = join(folder, name)
    await writeFile(path, policyText({ settings, n: 8, scorer: 'head', evidence }))
    return path
  }

  it('comes out as the policy that went in', async () => {
    const shares = [{ tokens: 8, share: 0.5 }]
    for (const settings of [
      { policy: 'spec-reject', alpha: 0.3, checkpoints: 'every:8' },
      { policy: 'keep-enough', right: 4, checkpoints: 'doubling:8' },
      { policy: 'best-of-n', checkpoints: 'every:8' },
      { policy: 'safe-reject', checkpoints: 'at:8+16', shares }
    ] as const) {
      const read = readPolicy(await saved('one.json', settings))
      for (const trace of made.slice(0, 5)) {
        const fate = (policy: typeof read) => {
          const { winner, killedAt } = replay(header, trace, policy)
          return { winner, killedAt }
        }
        expect(fate(read)).toEqual(fate(policyOf(settings)))
      }
      expect(read.name).toMatch(/^one\.json#[0-9a-f]{8}$/)
    }
  })

  it('is taken wherever a policy has a name, and is another under other settings', async () => {
    const path = await saved('two.json', { policy: 'spec-reject', alpha: 0.3, checkpoints: 'every:8' })
    const defaults = { alpha: 0.5, checkpoints: at([4]) }
    const arm = parseArm(`policy@${path}`, defaults)
    expect(arm.policy.checkpoints.name).toBe('every:8')
    expect(parseArms(['best-of-n', `policy@"${path}":name=tuned`], defaults)[1]?.name).toBe('tuned')
    expect(policyFor(`policy@"${path}"`, defaults).name).toBe(arm.policy.name)
    await saved('two.json', { policy: 'spec-reject', alpha: 0.4, checkpoints: 'every:8' })
    expect(parseArm(`policy@${path}`, defaults).definition).not.toBe(arm.definition)
    expect(() => parseArm(`policy@${path}:alpha=0.2`, defaults)).toThrow('no settings beside those of the file')
  })

  it('is refused with what is wrong in it', async () => {
    const path = join(folder, 'wrong.json')
    const received = async (text: string) => {
      await writeFile(path, text)
      try {
        readPolicy(path)
      } catch (error) {
        return String((error as Error).message)
      }
      return 'nothing'
    }
    const good = JSON.parse(
      await readFile(await saved('good.json', { policy: 'best-of-n', checkpoints: 'every:8' }), 'utf8')
    )
    expect(await received('{')).toContain(`Expected a policy in ${path}`)
    expect(await received(JSON.stringify({ ...good, winnowPolicy: 2 }))).toContain('wrong in winnowPolicy')
    expect(await received(JSON.stringify({ ...good, settings: { policy: 'other' } }))).toContain(
      'wrong in settings.policy'
    )
    expect(
      await received(JSON.stringify({ ...good, settings: { policy: 'best-of-n', checkpoints: 'often' } }))
    ).toContain('every:32')
    expect(await received(JSON.stringify({ ...good, more: 1 }))).toContain('wrong in its keys')
    expect(() => readPolicy(join(folder, 'none.json'))).toThrow('Expected a policy in')
  })
})

describe('winnow tune', () => {
  const answer = (id: number) => `The answer is ${id === 5 ? 7 : 1}.`
  const script = {
    length: (id: number) => answer(id).length,
    token: (id: number, position: number) => answer(id).charCodeAt(position),
    score: (id: number, tokens: number) => (id === 5 && tokens > 10 ? 20 : id)
  }
  const opening = (async () => {
    const path = join(folder, 'model.gguf')
    const { engine, head } = fakeEngine(script, { facts: { path } })
    Object.assign(head?.facts ?? {}, { path })
    return engine
  }) as typeof open

  const winnow = async (...argv: string[]) => {
    const terminal = fakeTerminal()
    const code = await main(argv, terminal, opening)
    return { code, out: terminal.out(), err: terminal.err() }
  }

  it('writes a policy that run, bench, sample and replay take', async () => {
    await writeFile(join(folder, 'model.gguf'), 'GGUF')
    const [problems, recorded, out] = [join(folder, 'p.jsonl'), join(folder, 't.jsonl'), join(folder, 'tuned.json')]
    const lines = Array.from({ length: 10 }, (_, i) => JSON.stringify({ prompt: `prompt ${i}`, answer: 7 }))
    await writeFile(problems, lines.join('\n'))
    await winnow('record', '--prompts', problems, '--out', recorded, '-n', '8', '--grid', '4', '--quiet')
    const tuned = await winnow('tune', recorded, '--tokens', '0.7', '--out', out, '--folds', '2', '--json', '--quiet')
    expect(tuned.code).toBe(0)
    const { settings, evidence, front } = JSON.parse(tuned.out)
    expect(evidence.promised.tokens.mean).toBeLessThanOrEqual(0.7)
    expect(evidence).toMatchObject({ prompts: 10, folds: 2, goal: { tokens: 0.7 }, model: expect.any(String) })
    expect(front.length).toBeGreaterThan(0)
    expect(JSON.parse(await readFile(out, 'utf8')).settings).toEqual(settings)
    const text = await winnow(
      'tune',
      recorded,
      '--regret',
      '0.5',
      '--out',
      join(folder, 'other.json'),
      '--folds',
      '2',
      '--quiet'
    )
    expect(text.out).toMatch(/Chosen: .*\n[\s\S]*promised[\s\S]*held out/)
    const [policy, rows] = [`policy@${out}`, join(folder, 'rows.jsonl')]
    const run = await winnow('run', 'hi', '-n', '8', '--policy', policy, '--json', '--quiet')
    expect(JSON.parse(run.out).policy).toMatch(/^tuned\.json#/)
    const bench = await winnow(
      'bench',
      '--prompts',
      problems,
      '-n',
      '8',
      '--policies',
      `best-of-n,${policy}`,
      '--json',
      '--quiet'
    )
    expect(
      JSON.parse(bench.out).policies[1].generatedTokens.mean / JSON.parse(bench.out).policies[0].generatedTokens.mean
    ).toBeLessThanOrEqual(0.7)
    expect(
      (await winnow('sample', '--prompts', problems, '--out', rows, '-n', '8', '--policy', policy, '--quiet')).code
    ).toBe(0)
    const replayed = await winnow('replay', recorded, '--policy', `best-of-n,${policy}`, '--json', '--quiet')
    expect(JSON.parse(replayed.out).policies[1].generatedTokens).toEqual(
      JSON.parse(bench.out).policies[1].generatedTokens
    )
  })

  it('wants one goal, and a scorer that was recorded', async () => {
    const recorded = join(folder, 't.jsonl')
    expect((await winnow('tune', recorded)).err).toContain('one of --keep, --tokens and --regret')
    expect((await winnow('tune', recorded, '--keep', '0.9', '--tokens', '0.3')).code).toBe(2)
    expect((await winnow('tune', recorded, '--keep', '0.9', '--scorer', 'x')).err).toContain(
      'one of head, which were recorded'
    )
    expect((await winnow('tune', recorded, '--keep', '0.9', '-n', '9')).code).toBe(2)
  })
})
