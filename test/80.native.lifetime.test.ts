import { describe, expect, test } from 'vitest'
import { binding, forkParams, load, modelFile, poolParams, Solo, slow, startedPool, tiny } from './native/models.js'

const path = await modelFile(tiny)
const slowPath = await modelFile(slow)

describe('a model', () => {
  test('closes twice, and refuses work afterwards', async () => {
    const model = await load(path)
    model.close()
    model.close()
    await expect(model.tokenize('a', true, false)).rejects.toMatchObject({ code: 'CLOSED' })
    expect(() => model.tokenText(1)).toThrow(/closed/)
    await expect((async () => binding.createPool(model, poolParams))()).rejects.toMatchObject({ code: 'CLOSED' })
    expect(model.facts.width).toBe(128)
  })

  test('may be closed before the pools that use it', async () => {
    const model = await load(path)
    const pool = await startedPool(model)
    model.close()
    expect((await pool.advance(4, 0)).steps).toBe(4)
    await pool.close()
  })

  test('may be closed while it tokenizes', async () => {
    const model = await load(path)
    const tokens = model.tokenize('hello', true, false)
    model.close()
    expect((await tokens).length).toBeGreaterThan(1)
  })

  test('tells the share loaded, up to all of it', async () => {
    const shares: number[] = []
    const params = { gpuLayers: 0, devices: [], split: 'layer', mainGpu: 0, tensorSplit: [] } as const
    const more = { mmap: false, mlock: false, checkTensors: false }
    const model = await binding.loadModel({ path: slowPath, ...params, ...more }, (share) => shares.push(share))
    model.close()
    expect(shares.at(-1)).toBe(1)
    expect(shares).toEqual(shares.toSorted((a, b) => a - b))
  })
})

describe('a pool', () => {
  test('closes twice, and refuses work afterwards', async () => {
    const model = await load(path)
    const pool = await startedPool(model)
    await Promise.all([pool.close(), pool.close()])
    await pool.close()
    pool.abort()
    await expect(pool.advance(1, 0)).rejects.toMatchObject({ code: 'CLOSED' })
    await expect(pool.kill(Int32Array.of(0))).rejects.toMatchObject({ code: 'CLOSED' })
    expect(pool.occupancy().streams).toBe(8)
    model.close()
  })

  test('closed while decoding ends the job at its next step, then frees', async () => {
    const model = await load(slowPath)
    const pool = await startedPool(model, 32, 1024)
    const advancing = pool.advance(1000, 0)
    await new Promise((resolve) => setTimeout(resolve, 50))
    const started = performance.now()
    const order: string[] = []
    const closing = [pool.close(), pool.close()].map((closed) => closed.then(() => order.push('closed')))
    const { reason, steps } = await advancing
    order.push('advanced')
    await Promise.all(closing)
    expect(reason).toBe('aborted')
    expect(steps).toBeLessThan(1000)
    expect(order).toEqual(['advanced', 'closed', 'closed'])
    expect(performance.now() - started).toBeLessThan(5000)
    model.close()
  })

  test('has one job in flight', async () => {
    const model = await load(path)
    const pool = await startedPool(model)
    const first = pool.advance(8, 0)
    await expect(pool.advance(8, 0)).rejects.toMatchObject({ code: 'POOL_BUSY' })
    await expect(pool.confidence(Int32Array.of(0))).rejects.toMatchObject({ code: 'POOL_BUSY' })
    expect((await first).steps).toBe(8)
    expect((await pool.advance(8, 0)).steps).toBe(8)
    await pool.close()
    model.close()
  })

  test('aborted without a job goes on as before', async () => {
    const model = await load(path)
    const pool = await startedPool(model)
    pool.abort()
    expect((await pool.advance(4, 0)).reason).toBe('reached')
    await pool.close()
    model.close()
  })

  test('aborted while decoding resolves with what it has', async () => {
    const model = await load(slowPath)
    const pool = await startedPool(model, 32, 1024)
    const advancing = pool.advance(1000, 0)
    setTimeout(() => pool.abort(), 50)
    const { reason, steps, tokens, counts } = await advancing
    expect(reason).toBe('aborted')
    expect(tokens.length).toBe(counts.reduce((sum, count) => sum + count, 0))
    expect((await pool.advance(1, 0)).steps).toBe(1)
    expect(steps).toBeLessThan(1000)
    await pool.close()
    model.close()
  })

  test('out of time resolves with what it has', async () => {
    const model = await load(slowPath)
    const pool = await startedPool(model, 32, 1024)
    const { reason, steps } = await pool.advance(1000, 0.05)
    expect(reason).toBe('deadline')
    expect(steps).toBeGreaterThan(0)
    await pool.close()
    model.close()
  })

  test('out of cells resolves with reason full, and loses nothing', async () => {
    const model = await load(path)
    const pool = new Solo(await binding.createPool(model, poolParams))
    await pool.prefill(Int32Array.of(1, 70, 80, 90))
    await pool.fork({ ...forkParams, maxTokens: 2000 })
    const { reason, counts } = await pool.advance(2000, 0)
    expect(reason).toBe('full')
    expect(Math.max(...counts)).toBeLessThanOrEqual(252)
    const { live, cellsPerStream } = pool.occupancy()
    expect(live).toBeGreaterThan(0)
    expect(cellsPerStream).toBe(256)
    await pool.close()
    model.close()
  })

  test('of a model keeps working while two others decode at the same time', async () => {
    const model = await load(path)
    const pools = await Promise.all([startedPool(model), startedPool(model), startedPool(model)])
    const results = await Promise.all(pools.map((pool) => pool.advance(32, 0)))
    const [first, ...others] = results.map(({ tokens }) => [...tokens])
    for (const other of others) expect(other).toEqual(first)
    await Promise.all(pools.map((pool) => pool.close()))
    model.close()
  })
})

test('the logger receives llama.cpp lines until it is taken away', async () => {
  const lines: string[] = []
  binding.setLogger((_level, text) => lines.push(text))
  const model = await load(path)
  expect(lines.join('')).toContain('random.gguf')
  binding.setLogger(null)
  const before = lines.length
  const pool = await startedPool(model)
  await pool.close()
  expect(lines.length).toBe(before)
  model.close()
})
