import { afterAll, describe, expect, it } from 'vitest'
import { loadBinding } from '../src/binding.js'
import { calibrate } from '../src/calibrate.js'
import { embedded, example } from '../src/embedded.js'
import { open } from '../src/engine.js'
import { openModel } from '../src/model.js'
import { resolveOpen } from '../src/options.js'
import { moved, type Settings, type Timing, timed } from '../src/timing.js'

const { binding } = loadBinding({ gpu: 'cpu' })
const model = await openModel(binding, embedded.model, resolveOpen({ gpu: 'cpu' }))
const text = await model.tokenize(example.prompt, false, false)
afterAll(() => model.close())

const plain: Settings = { threads: 1, batch: 512, kvType: 'f16', flashAttention: 'auto', drawing: 'host' }

/** One run over a prompt of a given length. */
async function run(n: number, promptTokens: number, changes: Partial<Settings>): Promise<Timing> {
  const prompt = Int32Array.from({ length: promptTokens }, (_, i) => text[i % text.length] as number)
  const timing = await timed(
    binding,
    model,
    { ...plain, ...changes },
    { n, prompt, steps: 2 },
    performance.now() + 50_000,
    undefined
  )
  if (timing === null) throw new Error('cut short after 50 seconds')
  return timing
}

/** By how much settings move the log-probabilities of the embedded model on the CPU, nats. */
const movedBy = async (n: number, promptTokens: number, changes: Partial<Settings>) =>
  moved(await run(n, promptTokens, {}), await run(n, promptTokens, changes))

describe('calibrating the embedded model', () => {
  it('takes its time, measures every setting and chooses what changes no token', async () => {
    const options = { n: 4, promptTokens: 100, tokens: 16, seconds: 3, gpu: 'cpu', threads: 1 } as const
    const calibration = await calibrate(undefined, options)
    expect(calibration.seconds).toBeLessThan(6)
    expect(calibration.choices.map(({ setting }) => setting)).toEqual([
      'threads',
      'batch',
      'flashAttention',
      'kvType',
      'drawing'
    ])
    expect(calibration.settings).toMatchObject({ kvType: 'f16', flashAttention: 'auto', drawing: 'host' })
    const measured = calibration.trials.filter(({ rounds }) => rounds > 0)
    expect(measured.length).toBeGreaterThan(1)
    for (const { stepSeconds, promptTokensPerSecond, spread, moved, cellBytes } of measured) {
      expect(stepSeconds).toBeGreaterThan(0)
      expect(promptTokensPerSecond).toBeGreaterThan(0)
      expect(spread).toBeGreaterThanOrEqual(0)
      expect(moved).toBeGreaterThanOrEqual(0)
      expect(cellBytes).toBeGreaterThan(0)
    }
    const texts = async (settings: Partial<Settings>) => {
      const engine = await open(undefined, { gpu: 'cpu', threads: 1, ...settings })
      const { branches } = await engine.bestOf(4, example.prompt, { maxTokens: 16, seed: 3 })
      await engine.close()
      return branches.map((branch) => branch.text)
    }
    expect(await texts(calibration.settings)).toEqual(await texts({}))
  })

  it('ends within a step of an abort', async () => {
    const controller = new AbortController()
    const running = calibrate(undefined, { seconds: 60, gpu: 'cpu', threads: 1, signal: controller.signal })
    setTimeout(() => controller.abort(new Error('enough')), 300)
    await expect(running).rejects.toThrow('enough')
  })

  it('does not overrun its time for a run that takes longer', async () => {
    const began = performance.now()
    const { choices } = await calibrate(undefined, { n: 256, promptTokens: 900, seconds: 0.2, gpu: 'cpu', threads: 1 })
    expect(performance.now() - began).toBeLessThan(5000)
    expect(choices.map(({ verdict }) => verdict)).toEqual(Array(5).fill('undecided'))
  })
})

describe('settings move log-probabilities on the CPU', () => {
  it('not at all when nothing is changed', async () => {
    expect(await movedBy(4, 300, {})).toBe(0)
  })

  it('by threads only where one row reads more than 256 tokens', async () => {
    expect(await movedBy(4, 256, { threads: 2 })).toBe(0)
    // The prompt's last token is a row of its own, and so is a single candidate's.
    expect(await movedBy(4, 257, { threads: 2 })).toBeGreaterThan(0)
    expect(await movedBy(1, 256, { threads: 2 })).toBeGreaterThan(0)
  })

  it('by a prompt batch only where fewer than 64 tokens are left over', async () => {
    expect(await movedBy(4, 256, { batch: 128 })).toBe(0)
    expect(await movedBy(4, 300, { batch: 256 })).toBeGreaterThan(0)
  })

  it('by flash attention and by quantised cells', async () => {
    expect(await movedBy(4, 100, { flashAttention: 'off' })).toBeGreaterThan(0)
    expect(await movedBy(4, 100, { kvType: 'q8_0' })).toBeGreaterThan(0)
  })

  it('by drawing in the graph, in the last bits', async () => {
    const far = await movedBy(4, 100, { drawing: 'graph' })
    expect(far).toBeGreaterThan(0)
    expect(far).toBeLessThan(1e-4)
  })

  it('not by cells of 32 bits while flash attention rounds them to 16', async () => {
    expect(await movedBy(4, 100, { kvType: 'f32' })).toBe(0)
    expect(await movedBy(4, 100, { kvType: 'f32', flashAttention: 'off' })).toBeGreaterThan(0)
  })
})
