import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { NativeHead, NativeModel } from '../src/binding.js'
import { extractHead } from '../src/heads/extract.js'
import { deviation } from './fakes/deviation.js'
import { type Case, type Found, MirroredFamily } from './native/mirrored-family.js'
import { binding, forkParams, load, poolParams, Solo } from './native/models.js'

/** What tools/reward_fixture.py wrote: token sequences and the rewards that transformers gives them. */
interface Fixture {
  readonly models: readonly {
    readonly name: string
    /** The first sequence of a family is what its others begin with. */
    readonly families: readonly (readonly Case[])[]
  }[]
}

const folder = fileURLToPath(new URL('./fixtures/rewards/', import.meta.url))
const fixture = JSON.parse(await readFile(join(folder, 'rewards.json'), 'utf8')) as Fixture
// Flash attention rounds keys and values to F16 whatever the cache holds (build_attn_mha in llama-graph.cpp).
const exact = { ...poolParams, kvType: 'f32', flashAttention: 'off' } as const
/** Share of the rewards' standard deviation. */
const tolerance = 1e-3

let out = ''
beforeAll(async () => {
  out = await mkdtemp(join(tmpdir(), 'winnow-rewards-'))
})
afterAll(() => rm(out, { recursive: true, force: true }))

describe.each(fixture.models)('the rewards of a random $name model', ({ name, families }) => {
  const cases = families.flat()
  const spread = deviation(cases.map(({ reward }) => reward))
  let model: NativeModel
  let head: NativeHead
  beforeAll(async () => {
    model = await load(join(folder, `${name}.gguf`))
    const { path } = await extractHead(join(folder, name), join(out, `${name}.gguf`))
    head = await binding.loadHead(path)
  })
  afterAll(() => {
    head.close()
    model.close()
  })

  /** Largest error as a share of the rewards' standard deviation; printed as well. */
  function largestError(by: string, found: readonly Found[]): number {
    const largest = Math.max(...found.map(({ score, of }) => Math.abs(score - of.reward))) / spread
    console.info(`${name}, ${by}: off by at most ${largest.toExponential(1)} deviations in ${found.length} rewards`)
    return largest
  }

  it('are far enough apart for the tolerance to mean something', () => {
    expect(cases.length).toBeGreaterThanOrEqual(24)
    expect(spread).toBeGreaterThan(0.5)
  })

  it('are those of transformers for the states of a pool', async () => {
    const pool = new Solo(await binding.createPool(model, exact))
    const found: Found[] = []
    for (const one of cases) {
      await pool.prefill(Int32Array.from(one.tokens), 0)
      await pool.fork({ ...forkParams, count: 1 })
      const state = await pool.states(Int32Array.of(0))
      const [score] = head.apply(state, new Float32Array(binding.featureNames.length))
      found.push({ score: score as number, of: one, at: 'end' })
    }
    await pool.close()
    expect(largestError('pool', found)).toBeLessThan(tolerance)
  })

  it('are those of transformers for a mirror that reads forks piece by piece', async () => {
    const mirror = await binding.createMirror(model, exact)
    const found: Found[] = []
    await fc.assert(
      fc.asyncProperty(fc.gen(), async (draw) => {
        for (const family of families) found.push(...(await MirroredFamily.follow(mirror, head, family, draw)))
      }),
      { seed: 58, numRuns: 2, endOnFailure: true }
    )
    await mirror.close()
    expect(new Set(found.map(({ of }) => of)).size).toBe(cases.length)
    expect(new Set(found.map(({ at }) => at))).toEqual(new Set(['end', 'mark', 'suffix']))
    expect(largestError('mirror', found)).toBeLessThan(tolerance)
  })
})
