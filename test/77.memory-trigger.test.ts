import { describe, expect, it } from 'vitest'
import { type CandidateMemory, firstWidth, lengthAt, memoryRungs } from '../src/policies/memory-trigger.js'

const GiB = 2 ** 30

/** Zanette-Labs/SpeculativeRejection b51917f: 46 GB left beside two 16 GB models, of which it leaves 15 alone. */
const card: CandidateMemory = {
  bytes: (46 - 15) * GiB,
  // 0.5 MiB, divided by the 4 query heads that share a key head.
  bytesPerToken: 2 ** 19 / 4,
  block: 1
}
/** Its fit for Meta-Llama-3-8B, and its cap. */
const fit = { a: 61626.403, b: 2.076, most: 1000 }
const promptTokens = 28
const until = 2048 + promptTokens

describe("the paper's trigger, memory", () => {
  it('begins as wide as the reference', () => {
    expect(firstWidth(card, fit, promptTokens)).toBe(1000)
    expect(firstWidth(card, { ...fit, most: 1e9 }, promptTokens)).toBe(4098)
  })

  it("rejects at the reference's widths and lengths", async () => {
    const width = firstWidth(card, fit, promptTokens)
    const rungs = await memoryRungs({ memory: card, width, alpha: 0.5, until })
    expect(rungs).toEqual([
      { width: 1000, cells: 253 },
      { width: 500, cells: 507 },
      { width: 250, cells: 1015 },
      { width: 125, cells: 2031 },
      { width: 62, cells: 2076 }
    ])
  })

  it('begins a tenth narrower, again and again, until each candidate has room for eight tokens', () => {
    const small = { ...card, bytes: 4 * GiB }
    const width = firstWidth(small, fit, promptTokens)
    expect(lengthAt(small, width) - promptTokens).toBeGreaterThanOrEqual(8)
    expect(lengthAt(small, Math.ceil(width / 0.9)) - promptTokens).toBeLessThan(8)
    expect(firstWidth({ ...card, bytes: 1 }, fit, promptTokens)).toBe(0)
  })

  it('never has more cells than memory, in blocks as the pool has them', async () => {
    for (const alpha of [0.1, 0.3, 0.5, 0.9]) {
      const memory = { ...card, block: 256 }
      const rungs = await memoryRungs({ memory, width: 900, alpha, until: 2048 })
      expect(rungs.length).toBeGreaterThan(1)
      for (const { width, cells } of rungs) {
        expect(cells % 256).toBe(0)
        expect(width * cells * memory.bytesPerToken).toBeLessThanOrEqual(memory.bytes)
      }
      expect(rungs.map(({ width }) => width)).toEqual(rungs.map(({ width }) => width).sort((a, b) => b - a))
    }
  })
})
