/** Streams whose readers are slow, or gone. */
import { once } from 'node:events'
import { connect } from 'node:net'
import { describe, expect, it, vi } from 'vitest'
import { Service } from '../src/server/index.js'
import { fakeEngine } from './fakes/engine.js'
import { serving } from './fakes/serving.js'

const endless = { length: () => 5000, stepMs: 1 }
const asking = (fields: object) => ({
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify({ prompt: 'hi', max_tokens: 1000, stream: true, ...fields })
})

describe('a stream', () => {
  it('is cut where its reader leaves too much unread, and the race ends', async () => {
    const { engine } = fakeEngine(endless)
    const lines: Record<string, unknown>[] = []
    const logger = { debug() {}, info: (line: object) => void lines.push({ ...line }), warn() {} }
    const service = new Service({ engine, logger, shadow: 0, limits: { buffer: 2048 } })
    const response = await service.handle(new Request('http://x/v1/completions', asking({})))
    expect(response.status).toBe(200)
    await vi.waitFor(() => expect(engine.occupancy?.live).toBe(0), { timeout: 10_000 })
    await expect(response.text()).rejects.toMatchObject({ code: 'READER_TOO_SLOW' })
    await vi.waitFor(() => expect(lines).toMatchObject([{ status: 200, code: 'READER_TOO_SLOW' }]))
  })

  it('is not begun for what is refused', async () => {
    const { engine } = fakeEngine({ ...endless, fail: { operation: 'fork', code: 'GRAMMAR_INVALID' } })
    const service = new Service({ engine, shadow: 0 })
    const response = await service.handle(new Request('http://x/v1/completions', asking({})))
    expect(response.status).toBe(400)
    expect(await response.json()).toMatchObject({ error: { code: 'GRAMMAR_INVALID' } })
  })

  it('says in an event what failed when it had begun', async () => {
    const failing = { name: 'failing', needs: [], score: () => Promise.reject(new Error('no')) }
    const { engine } = fakeEngine({ length: () => 300, stepMs: 1 })
    const service = new Service({ engine, shadow: 0, scorers: { failing } })
    const response = await service.handle(
      new Request('http://x/v1/completions', asking({ winnow: { scorer: 'failing' } }))
    )
    expect(response.status).toBe(200)
    expect(await response.text()).toMatch(/data: \{"error":\{[^\n]*"code":"SCORER_FAILED"\}\}\n\ndata: \[DONE\]\n\n$/)
  })

  it('ends with its connection, whenever that breaks', async () => {
    const { engine } = fakeEngine(endless)
    await using serves = await serving({ engine, shadow: 0 })
    const { port } = new URL(serves.url)
    const { body } = asking({ best_of: 4 })
    for (const after of [0, 1, 5, 20, 60]) {
      const socket = connect(Number(port), '127.0.0.1')
      socket.on('error', () => {})
      const head = `POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n`
      socket.write(head + body)
      await new Promise((resolve) => setTimeout(resolve, after))
      socket.destroy()
      await once(socket, 'close')
    }
    const idle = async () => {
      const metrics = await (await fetch(`${serves.url}/metrics`)).text()
      expect(metrics).toMatch(/winnow_requests_running 0\n/)
      expect(metrics).toMatch(/winnow_requests_waiting 0\n/)
      expect(metrics).toMatch(/winnow_branches_live 0\n/)
    }
    await vi.waitFor(idle, { timeout: 5000 })
  })
})
