import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadBinding, type NativeBinding, type NativeMirror, type NativeMirrorRequest } from '../src/binding.js'
import { every } from '../src/checkpoint.js'
import { embedded, example } from '../src/embedded.js'
import { type Engine, open } from '../src/engine.js'
import { specReject } from '../src/policies/spec-reject.js'
import { RewardModel } from '../src/reward/reward-model.js'
import { linearHead } from './fakes/linear-head.js'

const { binding } = loadBinding()
const template = "{% for m in messages %}Q{{ m['content'] }}A{% endfor %}. So it is"
let folder = ''
let engine: Engine
let head = ''
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'winnow-reward-tokens-'))
  engine = await open(undefined, { threads: 1 })
  const weight = Float32Array.from({ length: engine.model.width }, (_, i) => (i % 5) - 2)
  head = await linearHead(join(folder, 'head.gguf'), weight)
})
afterAll(async () => {
  await engine.close()
  await rm(folder, { recursive: true })
})

/** What the model behind a mirror was really given: tokens of the prefix, new ones, closing ones, and scores read. */
class Diary {
  prefix = 0
  fresh = 0
  suffix = 0
  reads = 0
  /** Tokens of the answers as they stood at each score, summed over all scores. */
  whole = 0

  watch(): NativeBinding {
    return Object.assign(Object.create(binding) as NativeBinding, {
      createMirror: async (...args: Parameters<NativeBinding['createMirror']>) => {
        const mirror = await binding.createMirror(...args)
        return {
          prefill: (tokens, deadline) => {
            this.prefix += tokens.length
            return mirror.prefill(tokens, deadline)
          },
          score: (by, request, deadline) => {
            this.#note(request)
            return mirror.score(by, request, deadline)
          },
          fork: (count) => mirror.fork(count),
          drop: (ids) => mirror.drop(ids),
          occupancy: () => mirror.occupancy(),
          abort: () => mirror.abort(),
          close: () => mirror.close()
        } satisfies NativeMirror
      }
    })
  }

  #note({ ids, keep, tokens, suffix }: NativeMirrorRequest): void {
    this.fresh += tokens.length
    this.suffix += ids.length * suffix.length
    this.reads += ids.length
    this.whole += tokens.length + keep.reduce((sum, length) => sum + length, 0) - ids.length * this.prefix
  }
}

async function race(reencode: boolean) {
  const diary = new Diary()
  const options = { model: embedded.model, head, template, reencode, threads: 1 }
  const scorer = new RewardModel(options, () => diary.watch())
  try {
    const policy = specReject({ alpha: 0.3, checkpoints: every(8) })
    const result = await engine.bestOf(8, example.prompt, { seed: 2, maxTokens: 48, policy, scorer })
    expect(result.failure).toBeNull()
    return { ...result, diary }
  } finally {
    await scorer.close()
  }
}

describe('reward-model tokens of a race', () => {
  it('are the prompt once, every generated token once, and the closing tokens of every score', async () => {
    const { usage, branches, diary } = await race(false)
    expect(branches.some(({ killedAt }) => killedAt !== null)).toBe(true)
    expect(diary.suffix).toBeGreaterThan(diary.reads)
    expect(diary.fresh).toBe(usage.generatedTokens)
    expect(usage.rewardTokens).toBe(diary.prefix + usage.generatedTokens + diary.suffix)
  })

  it('are the whole text of every score where everything is read again', async () => {
    const [once, again] = [await race(false), await race(true)]
    expect(again.diary.reads).toBe(once.diary.reads)
    const { prefix, reads, suffix, whole } = once.diary
    expect(again.usage.rewardTokens).toBe(prefix + reads * prefix + whole + suffix)
    expect(again.usage.rewardTokens).toBeGreaterThan(3 * once.usage.rewardTokens)
  })
})
