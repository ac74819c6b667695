import { describe, expect, it, vi } from 'vitest'
import { main } from '../src/cli/main.js'
import type { open } from '../src/engine.js'
import { WinnowError } from '../src/errors.js'
import { fakeEngine } from './fakes/engine.js'
import { fakeTerminal } from './fakes/terminal.js'

const tens = { length: () => 10 }

function serve(argv: string[], opened: typeof open) {
  const terminal = fakeTerminal()
  const code = main(['serve', '--port', '0', ...argv], terminal, opened)
  const url = async () => {
    const [, found] = await vi.waitFor(() => {
      const match = /"url":"([^"]+)"/.exec(terminal.err())
      if (match === null) throw new Error('it does not listen yet')
      return match
    })
    return found as string
  }
  return { terminal, code, url }
}
const opens = (engine = fakeEngine(tens).engine) => (async () => engine) as typeof open

describe('winnow serve', () => {
  it('serves on this machine until SIGTERM, and logs by pino', async () => {
    const { terminal, code, url } = serve(['--best-of', '4'], opens())
    const at = await url()
    expect(at).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/)
    await vi.waitFor(async () => expect((await fetch(`${at}/health`)).status).toBe(200))
    const response = await fetch(`${at}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ prompt: 'hi' })
    })
    expect(await response.json()).toMatchObject({ winnow: { candidates: 4, policy: 'spec-reject' } })
    terminal.send('SIGTERM')
    expect(await code).toBe(143)
    await expect(fetch(`${at}/health`)).rejects.toThrow()
    const lines = terminal
      .err()
      .split('\n')
      .filter((line) => line.startsWith('{'))
    const messages = lines.map((line) => (JSON.parse(line) as { msg: string }).msg)
    expect(messages).toEqual(expect.arrayContaining(['listening', 'ready', 'request']))
    expect(terminal.out()).toBe('')
  })

  it('answers who is in when it is told to end', async () => {
    const { engine } = fakeEngine({ length: () => 100, stepMs: 2 })
    const { terminal, code, url } = serve([], opens(engine))
    const at = await url()
    await vi.waitFor(async () => expect((await fetch(`${at}/health`)).status).toBe(200))
    const answer = fetch(`${at}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ prompt: 'hi' })
    })
    await vi.waitFor(() => expect(engine.occupancy?.live).toBe(1))
    terminal.send('SIGINT')
    expect((await answer).status).toBe(200)
    expect(await code).toBe(130)
    expect(terminal.exits).toEqual([])
  })

  it('says 503 while the model loads, and fails as other commands do where it cannot', async () => {
    let fail = (_: Error) => {}
    const never = new Promise<never>((_, reject) => {
      fail = reject
    })
    const { terminal, code, url } = serve([], (() => never) as typeof open)
    const at = await url()
    expect((await fetch(`${at}/health`)).status).toBe(503)
    fail(new WinnowError('OUT_OF_MEMORY', 'Expected memory but received none'))
    expect(await code).toBe(4)
    expect(terminal.err()).toContain('winnow: Expected memory')
  })

  it('ends at once when it is told twice', async () => {
    const { engine } = fakeEngine({ length: () => 300, stepMs: 2 })
    const { terminal, code, url } = serve([], opens(engine))
    const at = await url()
    await vi.waitFor(async () => expect((await fetch(`${at}/health`)).status).toBe(200))
    const answer = fetch(`${at}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ prompt: 'hi' })
    })
    await vi.waitFor(() => expect(engine.occupancy?.live).toBe(1))
    terminal.send('SIGTERM')
    terminal.send('SIGTERM')
    expect(terminal.exits).toEqual([143])
    await answer
    await code
  })

  it.each([
    [['--policy', 'nobody'], '"nobody"'],
    [['--best-of', '0'], 'bestOf'],
    [['--most-tokens', 'x'], '--most-tokens'],
    [['--name', 'two words'], 'name']
  ])('refuses %s before it listens', async (argv, named) => {
    const { terminal, code } = serve(argv, opens())
    expect(await code).toBe(2)
    expect(terminal.err()).toContain(named)
    expect(terminal.err()).not.toContain('listening')
  })

  it('warns where anybody may use it', async () => {
    const { terminal, code, url } = serve(['--host', '0.0.0.0'], opens())
    await url()
    expect(terminal.err()).toContain('there is no API key')
    await vi.waitFor(() => expect(terminal.err()).toContain('ready'))
    terminal.send('SIGTERM')
    expect(await code).toBe(143)
  })
})
