import { describe, expect, it } from 'vitest'
import { at, every } from '../src/checkpoint.js'
import type { WinnowError } from '../src/errors.js'
import { specReject } from '../src/policies/spec-reject.js'
import type { Scorer } from '../src/scorer.js'
import { fakeEngine } from './fakes/engine.js'

const ofTen = { length: () => 10, stepMs: 1 }
const prompts = Array.from({ length: 20 }, (_, i) => 'x'.repeat(1 + i))

describe('races that share a pool', () => {
  it('write what each writes alone, whatever the others do', async () => {
    const script = { length: (id: number) => 5 + ((7 * id) % 30), stepMs: 1 }
    const options = { policy: specReject({ alpha: 0.4, checkpoints: every(4) }), checkpoints: every(4) }
    const alone = fakeEngine(script)
    const shared = fakeEngine(script)
    const one = []
    for (const prompt of prompts) one.push(await alone.engine.bestOf(1 + (prompt.length % 9), prompt, options))
    const all = await Promise.all(prompts.map((p) => shared.engine.bestOf(1 + (p.length % 9), p, options)))
    const told = ({ branches, winner, usage }: (typeof all)[number]) => ({
      branches,
      winner,
      tokens: [usage.generatedTokens, usage.processedTokens, usage.peakCells]
    })
    expect(all.map(told)).toEqual(one.map(told))
    const widths = shared.pools.flatMap(({ calls }) => calls.map((call) => call.split(' ').length - 1))
    expect(Math.max(...widths)).toBeGreaterThan(5)
  })

  it('start in the order of the calls, and a smaller one does not overtake', async () => {
    const { engine } = fakeEngine({ ...ofTen, length: (id) => (id === 0 ? 40 : 2) })
    const ended: string[] = []
    const run = (name: string, n: number) => engine.bestOf(n, 'hi', { onCheckpoint: () => began(name) })
    const begun: string[] = []
    const began = (name: string) => {
      if (!begun.includes(name)) begun.push(name)
    }
    await run('warm', 64)
    const calls = (
      [
        ['a', 40],
        ['b', 60],
        ['c', 1]
      ] as const
    ).map(([name, n]) => run(name, n).then(() => ended.push(name)))
    await Promise.all(calls)
    expect(begun).toEqual(['warm', 'a', 'b', 'c'])
    expect(ended.toSorted()).toEqual(['a', 'b', 'c'])
  })

  it('make room for the next as soon as they have killed enough', async () => {
    const { engine, pools } = fakeEngine({ length: () => 60, stepMs: 1 })
    await engine.bestOf(64, 'warm')
    const policy = specReject({ alpha: 0.9, checkpoints: at([4]) })
    const [first, second] = await Promise.all([
      engine.bestOf(60, 'one', { policy, checkpoints: at([4]) }),
      engine.bestOf(50, 'two')
    ])
    expect(first.branches.filter(({ status }) => status.state === 'killed')).toHaveLength(54)
    expect(second.branches).toHaveLength(50)
    expect(pools).toHaveLength(1)
    const calls = pools[0]?.calls ?? []
    // The second was forked while the first went on, and both advanced together.
    expect(calls.indexOf('fork 50')).toBeLessThan(calls.lastIndexOf('advance 512 512'))
  })

  it('do not wait for one whose scorer thinks', async () => {
    const { engine } = fakeEngine(ofTen)
    let release = () => {}
    const slow: Scorer = {
      name: 'slow',
      needs: ['states'],
      score: (candidates) => new Promise((resolve) => (release = () => resolve(candidates.map(({ id }) => id))))
    }
    await engine.bestOf(8, 'warm')
    const thinking = engine.bestOf(2, 'hi', { scorer: slow, checkpoints: at([3]) })
    const others = await Promise.all([1, 2, 3].map(() => engine.bestOf(2, 'hi', { checkpoints: every(2) })))
    expect(others.map(({ reason }) => reason)).toEqual(['settled', 'settled', 'settled'])
    release()
    await new Promise((resolve) => setTimeout(resolve, 50))
    release()
    expect(await thinking).toMatchObject({ reason: 'settled', winner: { id: 1 } })
  })

  it('end alone, by an abort, a deadline or stop', async () => {
    const { engine, pools } = fakeEngine({ length: () => 100, stepMs: 1 })
    await engine.bestOf(16, 'warm', { maxTokens: 100 })
    const controller = new AbortController()
    const stop = new AbortController()
    const reason = new Error('enough')
    setTimeout(() => controller.abort(reason), 20)
    setTimeout(() => stop.abort(), 40)
    const options = { maxTokens: 100 }
    const [aborted, late, stopped, whole] = await Promise.all([
      engine.bestOf(4, 'hi', { ...options, signal: controller.signal }).catch((error: unknown) => error),
      engine.bestOf(4, 'hi', { ...options, deadlineMs: 60 }),
      engine.bestOf(4, 'hi', { ...options, stop: stop.signal }),
      engine.bestOf(4, 'hi', options)
    ])
    expect(aborted).toBe(reason)
    expect(late).toMatchObject({ reason: 'deadline' })
    expect(stopped).toMatchObject({ reason: 'stopped' })
    expect(whole).toMatchObject({ reason: 'settled' })
    for (const { tokens } of (whole as Awaited<ReturnType<typeof engine.bestOf>>).branches)
      expect(tokens).toHaveLength(100)
    expect(pools).toHaveLength(1)
    expect(pools[0]?.occupancy().live).toBe(0)
  })

  it('hear of an abort whatever else happens at that step, and keep what they wrote', async () => {
    const { engine } = fakeEngine({ length: () => 400, stepMs: 1 })
    await engine.bestOf(16, 'warm', { maxTokens: 400 })
    for (const kind of ['stop', 'signal'] as const) {
      const controller = new AbortController()
      setTimeout(() => controller.abort(new Error('enough')), 30)
      // Somebody is at a checkpoint after every step.
      const others = [1, 2].map(() => engine.bestOf(2, 'hi', { maxTokens: 120, checkpoints: every(1) }))
      const startedAt = performance.now()
      const ended = engine.bestOf(2, 'hi', { maxTokens: 400, [kind]: controller.signal })
      if (kind === 'signal') {
        await expect(ended).rejects.toThrow('enough')
      } else {
        const { reason, branches } = await ended
        expect(reason).toBe('stopped')
        for (const { tokens } of branches) expect(tokens.length).toBeGreaterThan(0)
      }
      expect(performance.now() - startedAt).toBeLessThan(250)
      for (const { branches } of await Promise.all(others)) expect(branches[1]?.tokens).toHaveLength(120)
    }
  })

  it('are all told when their pool fails, and the next have another', async () => {
    let failing = false
    const script = {
      ...ofTen,
      get fail() {
        return failing ? ({ operation: 'advance', code: 'DECODE_FAILED' } as const) : undefined
      }
    }
    const { engine, pools } = fakeEngine(script as never)
    await engine.bestOf(8, 'warm')
    failing = true
    const run = () => engine.bestOf(2, 'hi').catch((error: WinnowError) => error.code)
    expect(await Promise.all([run(), run(), run()])).toEqual(Array(3).fill('DECODE_FAILED'))
    failing = false
    expect(await run()).toMatchObject({ reason: 'settled' })
    expect(pools.map(({ closed }) => closed)).toEqual([true, false])
  })

  it('leave nothing open when the engine closes on them', async () => {
    const { engine, pools } = fakeEngine({ length: () => 1000, stepMs: 1 })
    const runs = prompts.map((prompt) => engine.bestOf(8, prompt).catch((error: WinnowError) => error.code))
    await new Promise((resolve) => setTimeout(resolve, 30))
    await engine.close()
    expect(new Set(await Promise.all(runs))).toEqual(new Set(['ENGINE_CLOSED']))
    expect(pools.every(({ closed }) => closed)).toBe(true)
  })
})
