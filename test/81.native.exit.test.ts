import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { modelFile, slow } from './native/models.js'

const path = await modelFile(slow)
const script = fileURLToPath(new URL('native/scenario.mjs', import.meta.url))

interface Ended {
  readonly code: number | null
  readonly signal: string | null
  readonly stdout: string
  readonly stderr: string
  /** When it was over, for scenarios that print when they began to end. */
  readonly at: number
}

function run(scenario: string, flags: readonly string[] = []): Promise<Ended> {
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [...flags, script, scenario, path], (_error, stdout, stderr) => {
      resolve({ code: child.exitCode, signal: child.signalCode, stdout, stderr, at: Date.now() })
    })
  })
}

/** A step takes tens of milliseconds, the whole decode minutes: so this tells an abort from a wait for the end. */
const soon = 5000

describe('the process', () => {
  test('exits in the middle of a decode with its own code', async () => {
    const { code, signal, stdout, at } = await run('exit-mid-decode')
    expect({ code, signal }).toEqual({ code: 7, signal: null })
    expect(at - Number(stdout)).toBeLessThan(soon)
  })

  test('dies of an uncaught exception in the middle of a decode as it would without one', async () => {
    const { code, signal, stdout, stderr, at } = await run('throw-mid-decode')
    expect({ code, signal }).toEqual({ code: 1, signal: null })
    expect(stderr).toContain('uncaught')
    expect(at - Number(stdout)).toBeLessThan(soon)
  })

  test('exits while worker threads decode too', async () => {
    const { code, signal, stdout, at } = await run('exit-with-workers')
    expect({ code, signal }).toEqual({ code: 7, signal: null })
    expect(at - Number(stdout)).toBeLessThan(soon)
  })

  test('exits in a callback of a fit with its own code', async () => {
    expect(await run('exit-in-epoch')).toMatchObject({ code: 7, signal: null, stderr: '' })
  })

  test.each(['exit-open', 'end-open'])('ends well with models and pools left open (%s)', async (scenario) => {
    const { code, signal, stderr } = await run(scenario)
    expect({ code, signal, stderr }).toEqual({ code: 0, signal: null, stderr: '' })
  })
})

describe('a worker thread', () => {
  test('is terminated in the middle of a decode, many times over', async () => {
    const { code, signal, stdout } = await run('terminate-workers')
    expect({ code, signal }).toEqual({ code: 0, signal: null })
    const waits = stdout.trim().split('\n').map(Number)
    expect(waits).toHaveLength(3)
    expect(Math.max(...waits)).toBeLessThan(soon)
  })

  test('is terminated while the addon and the model are being loaded', async () => {
    const { code, signal } = await run('terminate-loading')
    expect({ code, signal }).toEqual({ code: 0, signal: null })
  })

  test('exits by itself in the middle of a decode', async () => {
    const { code, signal, stdout } = await run('worker-exits-mid-decode')
    expect({ code, signal, stdout }).toEqual({ code: 0, signal: null, stdout: '5\n' })
  })

  test.each([
    ['exits by itself in a callback of a fit', 'worker-exits-in-epoch', '5\n'],
    ['is terminated in a callback of a fit', 'terminate-in-epoch', '1\n'],
    ['is terminated while it fits', 'terminate-fitting', '1\n']
  ])('%s, and the process lives', async (_what, scenario, stdout) => {
    expect(await run(scenario)).toMatchObject({ code: 0, signal: null, stdout, stderr: '' })
  })

  test('does the same work as the main thread, beside another', async () => {
    const { code, signal, stdout } = await run('worker-results')
    expect({ code, signal }).toEqual({ code: 0, signal: null })
    expect(JSON.parse(stdout)).toEqual(['aborted', 'aborted'])
  })
})

test('the garbage collector may take model, pool and promise in any order', async () => {
  const { code, signal, stderr } = await run('collect-in-any-order', ['--expose-gc'])
  expect({ code, signal, stderr }).toEqual({ code: 0, signal: null, stderr: '' })
})
