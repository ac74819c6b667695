/** Streams whose readers are slow, or gone. */
import { once } from 'node:events'
import { Agent, type ClientRequest, request } from 'node:http'
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

  it('is not what a body without end gets: it is refused, and the connection goes on', async () => {
    const { engine } = fakeEngine({ length: () => 3 })
    await using serves = await serving({ engine, shadow: 0 })
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    const ask = (write: (sent: ClientRequest) => void) =>
      new Promise<number>((resolve, reject) => {
        const headers = { 'content-type': 'application/json' }
        const sent = request(`${serves.url}/v1/completions`, { method: 'POST', agent, headers }, (response) => {
          response.resume().once('end', () => resolve(response.statusCode ?? 0))
        })
        sent.on('error', reject)
        write(sent)
      })
    const endlessBody = (sent: ClientRequest) => {
      for (let i = 0; i < 40; i++) sent.write(' '.repeat(100_000))
      sent.end()
    }
    // What is left may lie in a buffer on the way or not, as it happens.
    for (let i = 0; i < 8; i++) {
      expect(await ask(endlessBody)).toBe(413)
      expect(await ask((sent) => sent.end('{"prompt":"hi"}'))).toBe(200)
    }
    agent.destroy()
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
