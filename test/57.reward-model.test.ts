import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { loadBinding, type NativeBinding, type NativeMirror } from '../src/binding.js'
import { at, every } from '../src/checkpoint.js'
import { embedded, example } from '../src/embedded.js'
import { type Engine, open } from '../src/engine.js'
import { openModel } from '../src/model.js'
import { resolveOpen } from '../src/options.js'
import { specReject } from '../src/policies/spec-reject.js'
import type { Result } from '../src/result.js'
import { RewardModel, type RewardModelOptions, rewardModel } from '../src/reward/reward-model.js'
import { seamAt } from '../src/reward/seam.js'
import { retokenised } from '../src/reward/transcript.js'
import { generator } from '../src/statistics.js'
import { candidate } from './fakes/candidate.js'
import { deviation } from './fakes/deviation.js'
import { linearHead } from './fakes/linear-head.js'

const { binding } = loadBinding()
const exact = { threads: 1, kvType: 'f32', flashAttention: 'off' } as const
let folder = ''
let engine: Engine
let models: RewardModel[] = []

function randomHead(width: number): Promise<string> {
  const draw = generator(width)
  const weight = Float32Array.from({ length: width }, () => draw() - 0.5)
  return linearHead(join(folder, `head-${width}.gguf`), weight, 0.25)
}

/** A reward model of another vocabulary: bytes. */
async function byteModel(): Promise<string> {
  const path = join(folder, 'bytes.gguf')
  await binding.writeRandomModel({
    path,
    architecture: 'qwen3',
    weights: 'f32',
    tokenizer: 'bytes',
    vocabulary: 320,
    width: 64,
    layers: 2,
    heads: 2,
    headsKv: 1,
    feedForward: 128,
    context: 4096,
    spread: 1,
    seed: 5n,
    chatTemplate: "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] | trim }}\n{% endfor %}"
  })
  return path
}

function reward(options: Pick<RewardModelOptions, 'model' | 'head'> & Partial<RewardModelOptions>): RewardModel {
  const model = rewardModel({ ...exact, ...options })
  models.push(model)
  return model
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'winnow-reward-'))
  engine = await open(undefined, { threads: 1 })
})
afterAll(async () => {
  await engine.close()
  await rm(folder, { recursive: true })
})
afterEach(async () => {
  for (const model of models) await model.close()
  models = []
})

const scoresOf = (result: Result) => result.branches.map(({ scores }) => scores.map(({ score }) => score))
const race = { seed: 4, maxTokens: 80, policy: specReject({ alpha: 0.3, checkpoints: every(16) }) }

describe('a reward model', () => {
  // F16 weights make a token's state depend on how many tokens stand beside it in the batch.
  it.each([
    ['the same vocabulary', 'F16', 1e-3],
    ['another vocabulary', 'F32', 1e-4]
  ])('of %s scores as if it read everything again (%s weights)', async (kind, _, tolerance) => {
    const model = kind === 'the same vocabulary' ? embedded.model : await byteModel()
    const head = await randomHead(kind === 'the same vocabulary' ? engine.model.width : 64)
    const options = { model, head }
    const mirrored = await engine.bestOf(12, example.prompt, { ...race, scorer: reward(options) })
    const again = await engine.bestOf(12, example.prompt, { ...race, scorer: reward({ ...options, reencode: true }) })
    expect(mirrored.failure).toBeNull()
    const [own, other] = [scoresOf(mirrored).flat(), scoresOf(again).flat()]
    expect(own).toHaveLength(other.length)
    expect(mirrored.branches.map(({ killedAt }) => killedAt)).toEqual(again.branches.map(({ killedAt }) => killedAt))
    const worst = Math.max(...own.map((score, i) => Math.abs(score - (other[i] as number))))
    expect(deviation(own)).toBeGreaterThan(0.01)
    expect(worst / deviation(own)).toBeLessThan(tolerance)
    expect(mirrored.usage.rewardTokens).toBeLessThan(again.usage.rewardTokens / 3)
  })

  it('reads the prompt once, every written token once, and its closing tokens at each score', async () => {
    const scorer = reward({ model: embedded.model, head: await randomHead(engine.model.width) })
    const result = await engine.bestOf(6, example.prompt, { seed: 1, maxTokens: 60, scorer, checkpoints: at([10, 30]) })
    const reads = result.branches.reduce((sum, { scores }) => sum + scores.length, 0)
    // The embedded template closes an answer with one token; its frame is the prompt's.
    const { promptTokens, generatedTokens, rewardTokens } = result.usage
    const closing = (rewardTokens - promptTokens - generatedTokens) / reads
    expect(closing).toBe(Math.round(closing))
    expect(closing).toBeLessThanOrEqual(1)
  })

  it('serves one race after another, and races of another size', async () => {
    const scorer = reward({ model: embedded.model, head: await randomHead(engine.model.width) })
    const small = await engine.bestOf(3, example.prompt, { seed: 1, maxTokens: 40, scorer })
    const large = await engine.bestOf(9, example.prompt, { seed: 1, maxTokens: 90, scorer })
    const once = await engine.bestOf(3, example.prompt, { seed: 1, maxTokens: 40, scorer })
    expect(scoresOf(once)).toEqual(scoresOf(small))
    expect(large.branches).toHaveLength(9)
  })

  it('scores races side by side, each as if it were alone', async () => {
    const scorer = reward({ model: embedded.model, head: await randomHead(engine.model.width) })
    const settings = { ...race, deterministic: true, scorer }
    const going = new Set<number>()
    let most = 0
    const run = async (seed: number) => {
      const onCheckpoint = () => {
        going.add(seed)
        most = Math.max(most, going.size)
      }
      const result = await engine.bestOf(8, example.prompt, { ...settings, seed, onCheckpoint })
      going.delete(seed)
      return scoresOf(result)
    }
    const together = await Promise.all([1, 2, 3].map(run))
    expect(most).toBeGreaterThan(1)
    for (const [i, scores] of together.entries()) expect(scores).toEqual(await run(i + 1))
  })

  it('has races take turns where memory has no room for the cells of several', async () => {
    let open = 0
    let refused = 0
    const scarce = Object.assign(Object.create(binding) as NativeBinding, {
      createMirror: async (...args: Parameters<NativeBinding['createMirror']>) => {
        if (open > 0) {
          refused++
          throw Object.assign(new Error('no room'), { code: 'OUT_OF_MEMORY' })
        }
        open++
        const mirror = await binding.createMirror(...args)
        return {
          prefill: (tokens, deadline) => mirror.prefill(tokens, deadline),
          fork: (count) => mirror.fork(count),
          score: (by, request, deadline) => mirror.score(by, request, deadline),
          drop: (ids) => mirror.drop(ids),
          occupancy: () => mirror.occupancy(),
          abort: () => mirror.abort(),
          close: async () => {
            open--
            await mirror.close()
          }
        } satisfies NativeMirror
      }
    })
    const head = await randomHead(engine.model.width)
    const scorer = new RewardModel({ ...exact, model: embedded.model, head }, () => scarce)
    models.push(scorer)
    const settings = { ...race, deterministic: true, scorer }
    const results = await Promise.all([5, 6, 7].map((n) => engine.bestOf(n, example.prompt, settings)))
    expect(results.map(({ reason }) => reason)).toEqual(['settled', 'settled', 'settled'])
    expect(refused).toBeGreaterThan(0)
    const alone = await engine.bestOf(6, example.prompt, settings)
    expect(scoresOf(alone)).toEqual(scoresOf(results[1] as Result))
  })

  it('reads an answer in the tokens that the whole text has', async () => {
    const model = await openModel(binding, embedded.model, resolveOpen({ threads: 1 }))
    const joined: boolean[] = []
    for (const [prefix, suffix] of [
      ['Answer: ', '\n'],
      ['We start with 1', '2.\n\n'],
      ['The an', ' so far.']
    ] as const) {
      const [opening, closing] = [await model.tokenize(prefix, true, true), await model.tokenize(suffix, false, true)]
      const [before, after] = [await seamAt(model, opening, 'end'), await seamAt(model, closing, 'start')]
      const frame = { prefix, suffix, trimsStart: false, trimsEnd: false }
      const { of } = retokenised(model, frame, before, after)
      for (const text of ['swer is 23', '', '7 apples.', ' 12', '\nMax', 'Lily takes 3 ']) {
        const { tokens } = await of(candidate(0, text))
        const start = opening.subarray(0, opening.length - before.length)
        const whole = await model.tokenize(prefix + text + suffix, true, true)
        expect([...start, ...tokens, ...closing.subarray(after.length)]).toEqual([...whole])
        const apart = [...opening, ...(await model.tokenize(text, false, false)), ...closing]
        joined.push(apart.join() !== whole.join())
      }
    }
    expect(joined).toContain(true)
    model.close()
  })

  it('refuses a head of the wrong width, files that are not there, and use after it was closed', async () => {
    const head = await randomHead(7)
    const wrong = engine.bestOf(2, 'x', { scorer: reward({ model: embedded.model, head }) })
    await expect(wrong).rejects.toMatchObject({ code: 'HEAD_WIDTH' })
    const absent = engine.bestOf(2, 'x', { scorer: reward({ model: join(folder, 'none.gguf'), head }) })
    await expect(absent).rejects.toMatchObject({ code: 'MODEL_NOT_FOUND' })
    const closed = reward({ model: embedded.model, head })
    await closed.close()
    await closed.close()
    await expect(engine.bestOf(2, 'x', { scorer: closed })).rejects.toMatchObject({ code: 'CLOSED' })
    expect((await engine.bestOf(2, example.prompt, { maxTokens: 5 })).reason).toBe('settled')
  })

  it('takes no memory once it is closed, also where that came while it was loading', async () => {
    const scorer = reward({ model: embedded.model, head: await randomHead(engine.model.width) })
    const loading = scorer.load().catch(() => {})
    await scorer.close()
    await loading
    expect(scorer.present).toBeNull()
  })

  it('refuses a head that wants confidence features, which it does not have', async () => {
    const scorer = reward({ model: embedded.model, head: embedded.head })
    const result = await engine.bestOf(2, example.prompt, { scorer, maxTokens: 5 }).catch((error: unknown) => error)
    const failure = result instanceof Error ? result : (result as Result).failure
    expect(failure).toMatchObject({ code: 'HEAD_FEATURES' })
  })

  it('that does not render its template says so', async () => {
    const template = "{{ raise_exception('no turns at all') }}"
    const scorer = reward({ model: embedded.model, head: await randomHead(engine.model.width), template })
    await expect(engine.bestOf(2, example.prompt, { scorer })).rejects.toMatchObject({
      code: 'TEMPLATE_FAILED',
      message: expect.stringContaining('no turns at all')
    })
  })

  it.each([
    [{ model: '', head: 'x' }, 'Expected a path for model but received ""'],
    [{ model: 'x' }, 'Expected a path for head but received nothing'],
    [{ model: 'x', head: 'y', steps: {} }, 'Expected the text of a token for steps.marker but received nothing'],
    [{ model: 'x', head: 'y', reencode: 1 }, 'Expected true or false for reencode but received 1'],
    [{ model: 'x', head: 'y', treads: 1 }, 'did you mean "threads"?']
  ])('of %j is refused', (options, sentence) => {
    expect(() => rewardModel(options as never)).toThrow(sentence)
  })

  it('leaves a deadline in force', async () => {
    const scorer = reward({ model: await byteModel(), head: await randomHead(64) })
    await scorer.load()
    const result = await engine.bestOf(16, example.prompt, { scorer, checkpoints: every(4), deadlineMs: 60 })
    expect(result.reason).toBe('deadline')
  })
})
