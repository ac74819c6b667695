import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'
import { loadBinding } from '../src/binding.js'
import { at, every } from '../src/checkpoint.js'
import { embedded, example } from '../src/embedded.js'
import { open } from '../src/engine.js'
import { openModel, sha256 } from '../src/model.js'
import { resolveOpen } from '../src/options.js'
import { bestOfN } from '../src/policies/best-of-n.js'
import { randomKill } from '../src/policies/random-kill.js'
import { specReject } from '../src/policies/spec-reject.js'
import { readProblems } from '../src/problems.js'
import { readPrompt } from '../src/prompt.js'
import { rewardModel } from '../src/reward/reward-model.js'
import { minLogprob } from '../src/scorers/min-logprob.js'
import { answerOf } from '../src/verifier.js'

interface Fixture {
  readonly model_sha256: string
  readonly head_sha256: string
  readonly cases: readonly {
    readonly prompt: string
    readonly prompt_tokens: readonly number[]
    readonly greedy_tokens: readonly number[]
    readonly logprobs?: readonly number[]
    readonly after?: Readonly<Record<string, { readonly logit: number }>>
  }[]
}

interface RewardFixture {
  readonly model_sha256: string
  readonly head_sha256: string
  readonly cases: readonly {
    readonly prompt: string
    readonly text: string
    /** How much of the text was read, and what it was worth. */
    readonly cuts: readonly { readonly characters: number; readonly score: number }[]
  }[]
}

const rewards = JSON.parse(
  await readFile(new URL('../models/reward-fixture.json', import.meta.url), 'utf8')
) as RewardFixture
const fixture = JSON.parse(await readFile(new URL('../models/fixture.json', import.meta.url), 'utf8')) as Fixture
// One thread: a busy machine makes several wait for each other.
const engine = await open(undefined, { threads: 1 })
const problems = await readProblems(embedded.problems, 4)
const prompt = problems[0]?.prompt as string
afterAll(() => engine.close())

describe('the embedded model', () => {
  it('and its head are the files that the fixture was written with', async () => {
    expect([await sha256(embedded.model), await sha256(embedded.head)]).toEqual([
      fixture.model_sha256,
      fixture.head_sha256
    ])
    expect(engine.model).toMatchObject({ architecture: 'llama', hasTokenizer: true })
    expect(engine.head?.width).toBe(engine.model.width)
  })

  it('reads prompts as they were read in training', async () => {
    const options = resolveOpen({ threads: 1 })
    const model = await openModel(loadBinding().binding, embedded.model, options)
    for (const { prompt, prompt_tokens } of fixture.cases) {
      expect([...(await readPrompt(model, prompt, false)).tokens]).toEqual(prompt_tokens)
    }
    model.close()
  })

  it('writes greedily what it wrote in training, with the same log-probabilities and head scores', async () => {
    expect(fixture.cases.some(({ after }) => after !== undefined && Object.keys(after).length > 0)).toBe(true)
    for (const { prompt, greedy_tokens, logprobs, after } of fixture.cases) {
      const counts = Object.keys(after ?? {}).map(Number)
      const { winner } = await engine.bestOf(1, prompt, {
        sampling: { temperature: 0 },
        maxTokens: greedy_tokens.length,
        checkpoints: at(counts)
      })
      expect([...(winner?.tokens ?? [])]).toEqual(greedy_tokens)
      for (const [i, logprob] of (logprobs ?? []).entries()) expect(winner?.logprobs[i]).toBeCloseTo(logprob, 2)
      for (const { tokens, score } of winner?.scores ?? []) {
        const logit = after?.[tokens]?.logit
        if (logit !== undefined) expect(Math.abs(score - logit)).toBeLessThan(0.05)
      }
      if (after !== undefined) expect(winner?.scores.map(({ tokens }) => tokens)).toEqual(counts)
    }
  })

  it('comes with an example that is one of the held-out problems', async () => {
    expect(await readProblems(embedded.problems)).toContainEqual(example)
  })

  it('ends its solutions with an answer', async () => {
    const { branches } = await engine.bestOf(16, prompt)
    const answered = branches.filter(({ text }) => answerOf(text) !== null)
    expect(answered.length).toBeGreaterThanOrEqual(14)
    expect(branches.every(({ status }) => status.state === 'finished')).toBe(true)
  })
})

describe('a race on the embedded model', () => {
  const fixed = { deterministic: true, seed: 11 } as const

  it('gives every candidate the same tokens whoever else is alive', async () => {
    const full = await engine.bestOf(16, prompt, fixed)
    const policies = [
      specReject({ checkpoints: every(16) }),
      specReject({ alpha: 0.8, checkpoints: at([24]) }),
      specReject({ paper: true, checkpoints: every(24) }),
      randomKill({ alpha: 0.7, checkpoints: every(20) })
    ]
    for (const policy of policies) {
      const { branches } = await engine.bestOf(16, prompt, { ...fixed, policy })
      for (const { id, tokens } of branches) expect(tokens).toEqual(full.branches[id]?.tokens.slice(0, tokens.length))
    }
    const fewer = await engine.bestOf(3, prompt, fixed)
    for (const { id, tokens } of fewer.branches) expect(tokens).toEqual(full.branches[id]?.tokens)
    const one = await engine.bestOf(1, prompt, fixed)
    expect(one.branches[0]?.tokens).toEqual(full.branches[0]?.tokens)
  })

  it('writes fewer tokens and uses fewer cells than best-of-N', async () => {
    const full = await engine.bestOf(16, prompt, { ...fixed, policy: bestOfN() })
    const { usage, branches } = await engine.bestOf(16, prompt, {
      ...fixed,
      policy: specReject({ checkpoints: every(16) })
    })
    expect(usage.generatedTokens).toBeLessThan(full.usage.generatedTokens)
    expect(usage.processedTokens).toBeLessThan(full.usage.processedTokens)
    expect(usage.peakCells).toBeLessThanOrEqual(full.usage.peakCells)
    expect(usage.generatedTokens).toBe(branches.reduce((sum, { tokens }) => sum + tokens.length, 0))
    expect(branches.filter(({ status }) => status.state === 'killed').length).toBeGreaterThan(8)
  })

  it('is repeated by its seed, and another seed writes something else', async () => {
    const texts = async (seed: number) =>
      (await engine.bestOf(4, prompt, { ...fixed, seed })).branches.map(({ text }) => text)
    const first = await texts(1)
    expect(await texts(1)).toEqual(first)
    expect(await texts(2)).not.toEqual(first)
    expect(new Set(first).size).toBeGreaterThan(1)
  })

  it('scores by the smallest log-probability too', async () => {
    const { branches } = await engine.bestOf(4, prompt, { ...fixed, scorer: minLogprob() })
    for (const { score, logprobs } of branches) expect(score).toBe(Math.min(...logprobs))
  })

  it('can be aborted at any moment, and the engine goes on', async () => {
    for (const after of [0, 1, 5, 20, 80]) {
      const reason = new Error(`after ${after} ms`)
      const controller = new AbortController()
      setTimeout(() => controller.abort(reason), after)
      const race = engine.bestOf(16, prompt, { ...fixed, seed: 100 + after, signal: controller.signal })
      await race.then(
        ({ reason }) => expect(reason).toBe('settled'),
        (error: unknown) => expect(error).toBe(reason)
      )
    }
    expect((await engine.bestOf(2, prompt, fixed)).reason).toBe('settled')
  })

  it('ends at a deadline with the best so far', async () => {
    const { reason, branches } = await engine.bestOf(64, prompt, { deadlineMs: 30 })
    expect(reason).toBe('deadline')
    expect(branches).toHaveLength(64)
  })

  it('stops at a stop token', async () => {
    const { branches } = await engine.bestOf(2, prompt, { ...fixed, stopTokens: [19] })
    const [free] = (await engine.bestOf(1, prompt, fixed)).branches
    expect(branches[0]?.status).toEqual({ state: 'finished', reason: 'stop' })
    const whole = [...(free?.tokens ?? [])]
    expect([...(branches[0]?.tokens ?? [])]).toEqual(whole.slice(0, whole.indexOf(19)))
  })

  it('ends with ENGINE_CLOSED when the engine is closed under it', async () => {
    const other = await open(undefined, { threads: 1 })
    const race = other.bestOf(64, prompt)
    const refused = expect(race).rejects.toMatchObject({ code: 'ENGINE_CLOSED' })
    await new Promise((resolve) => setTimeout(resolve, 50))
    await other.close()
    await refused
  })

  it('serves many callers at once', async () => {
    const results = await Promise.all(problems.map(({ prompt }) => engine.bestOf(4, prompt, fixed)))
    for (const [i, result] of results.entries()) {
      const alone = await engine.bestOf(4, problems[i]?.prompt as string, fixed)
      expect(result.branches.map(({ text }) => text)).toEqual(alone.branches.map(({ text }) => text))
    }
  })
})

describe('the reward model', () => {
  const gguf = fileURLToPath(new URL('../models/winnow-arith-reward.gguf', import.meta.url))
  const head = gguf.replace('.gguf', '.head.gguf')
  const exact = { threads: 1, kvType: 'f32', flashAttention: 'off' } as const

  it('and its head are the files that their fixture was written with', async () => {
    expect([await sha256(gguf), await sha256(head)]).toEqual([rewards.model_sha256, rewards.head_sha256])
  })

  it('gives answers of any length the scores they had in training, in words of its own', async () => {
    const judge = rewardModel({ model: gguf, head, ...exact })
    for (const { prompt, text, cuts } of rewards.cases) {
      const answers = cuts.map(({ characters }) => text.slice(0, characters))
      const { branches, usage } = await engine.score(prompt, answers, { scorer: judge, maxTokens: 900 })
      expect(branches.map((branch) => branch.text)).toEqual(answers)
      for (const [i, { score }] of cuts.entries()) {
        // Weights and states in 16 bits there, weights in 16 bits here.
        expect(Math.abs((branches[i]?.score as number) - score)).toBeLessThan(0.01)
      }
      expect(usage.rewardTokens).toBeGreaterThan(cuts.length)
    }
    await judge.close()
  })

  it('scores a race at every checkpoint as it scores the same texts read again', async () => {
    const race = { policy: bestOfN(), checkpoints: every(9), seed: 4, maxTokens: 120 }
    const scores = []
    for (const reencode of [false, true]) {
      const judge = rewardModel({ model: gguf, head, reencode, ...exact })
      const { branches } = await engine.bestOf(6, prompt, { ...race, scorer: judge })
      scores.push(branches.map(({ scores }) => scores))
      await judge.close()
    }
    const [mirrored, again] = scores as [(typeof scores)[number], (typeof scores)[number]]
    expect(mirrored.flat().length).toBeGreaterThan(40)
    for (const [i, branch] of mirrored.entries()) {
      expect(branch.map(({ tokens }) => tokens)).toEqual(again[i]?.map(({ tokens }) => tokens))
      for (const [at, { score }] of branch.entries()) expect(score).toBeCloseTo(again[i]?.[at]?.score as number, 3)
    }
  })
})
