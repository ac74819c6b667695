import { afterAll, describe, expect, it } from 'vitest'
import { embedded, example } from '../src/embedded.js'
import { open } from '../src/engine.js'
import type { BestOfOptions, OpenOptions } from '../src/options.js'

const open1 = (options: OpenOptions) => open(undefined, { gpu: 'cpu', threads: 1, head: embedded.head, ...options })
const host = await open1({ drawing: 'host' })
const graph = await open1({ drawing: 'graph' })
afterAll(() => Promise.all([host.close(), graph.close()]))

/** Both with the same draws. */
async function both(options: BestOfOptions) {
  const own = { maxTokens: 24, seed: 5, deterministic: true, ...options } as const
  return Promise.all([host, graph].map((engine) => engine.bestOf(16, example.prompt, own)))
}

const samplings: Record<string, BestOfOptions['sampling']> = {
  'as the model has it': {},
  greedily: { temperature: 0 },
  'by temperature and min-p': { temperature: 0.8, minP: 0.05 },
  'by top-k and top-p, which are the host’s': { topK: 40, topP: 0.95 },
  'under a penalty, which is the host’s': { repeatPenalty: 1.2 }
}

describe('a race whose tokens are drawn in the graph', () => {
  for (const [how, sampling] of Object.entries(samplings)) {
    it(`writes what it writes where the host draws ${how}`, async () => {
      const [expected, found] = await both({ ...(sampling && { sampling }) })
      expect(found?.branches.map(({ text }) => text)).toEqual(expected?.branches.map(({ text }) => text))
      expect(found?.branches.map(({ status }) => status)).toEqual(expected?.branches.map(({ status }) => status))
      expect(found?.winner?.id).toBe(expected?.winner?.id)
      expect(found?.score).toBeCloseTo(expected?.score as number, 3)
    })
  }

  it('says so', async () => {
    const [expected, found] = await both({})
    expect(expected?.compute.drawing).toBe('host')
    expect(found?.compute.drawing).toBe('graph')
    const auto = await open1({})
    expect((await auto.bestOf(2, example.prompt, { maxTokens: 2 })).compute.drawing).toBe('host')
    await auto.close()
  })

  it('is planned with the room that llama.cpp keeps for it', async () => {
    const bytes = async (engine: typeof host) => (await engine.plan(64, example.prompt, { maxTokens: 100 })).peakBytes
    expect(await bytes(graph)).toBeGreaterThan(await bytes(host))
  })
})
