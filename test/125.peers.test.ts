import { describe, expect, it } from 'vitest'
import { roundHalfEven } from '../src/policy.js'

const { ranked } = await import(new URL('../bench/peers/reference-rule.mjs', import.meta.url).href)
const { arms } = await import(new URL('../bench/peers/winnow.mjs', import.meta.url).href)
const { open } = await import(new URL('../dist/index.js', import.meta.url).href)

const prompt =
  'Leo has 35 books. In July, he finds 9. In August, he shares equally among 2 and keeps one part. How many books does Leo have now?'

describe("the reference's way", () => {
  it('ranks all by descending score and keeps the share 1 - alpha, halves to even', () => {
    for (const n of [1, 2, 3, 5, 16]) {
      const all = Array.from({ length: n }, (_, id) => ({ id, score: (id * 7) % n }))
      for (const alpha of [0, 0.1, 0.5, 0.9]) {
        const kept: { score: number }[] = ranked(all, alpha)
        expect(kept).toHaveLength(roundHalfEven((1 - alpha) * n))
        const lost = all.filter((one) => !kept.includes(one))
        for (const { score } of kept) expect(score).toBeGreaterThan(Math.max(-1, ...lost.map((one) => one.score)))
      }
    }
    expect(ranked([{ id: 0, score: 1 }], 0.5)).toEqual([])
  })

  it('writes as much as rejection does on the same model, and decodes far more', async () => {
    const engine = await open(undefined, { threads: 1 })
    const options = { n: 8, alpha: 0.5, checkpoints: [16, 32], max_tokens: 160 }
    const run = (arm: string) => arms[arm](engine, prompt, options, 3n)
    const [full, ours, theirs] = [
      await run('winnow best-of-n'),
      await run('winnow spec-reject'),
      await run("winnow spec-reject, reference's way")
    ]
    await engine.close()
    expect(ours.generatedTokens).toBeLessThan(full.generatedTokens)
    expect(theirs.generatedTokens).toBeGreaterThan(0.6 * ours.generatedTokens)
    expect(theirs.generatedTokens).toBeLessThan(1.5 * ours.generatedTokens)
    expect(theirs.processedTokens).toBeGreaterThan(2 * ours.processedTokens)
    expect(theirs.text).toMatch(/^\S/)
    expect(theirs.text).toContain('answer')
  })
})
