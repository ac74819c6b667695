import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { copyFile, mkdtemp, readFile, rm, truncate } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { embedded } from '../src/embedded.js'

const root = fileURLToPath(new URL('..', import.meta.url))
const script = join(root, 'build-test/cli/main.js')
let folder = ''

beforeAll(async () => {
  // The sources as they are now, beside dist, so that a stale build is not what is tested.
  execFileSync(
    'node',
    [join(root, 'node_modules/typescript/bin/tsc'), '-p', 'tsconfig.build.json', '--outDir', 'build-test'],
    {
      cwd: root
    }
  )
  folder = await mkdtemp(join(tmpdir(), 'winnow-process-'))
})
afterAll(() => rm(folder, { recursive: true }))

interface Ended {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

/** Starts the command; `meet` is called with the process whenever it has written something to stderr. */
function winnow(args: readonly string[], meet: (child: ChildProcess, err: string) => void = () => {}): Promise<Ended> {
  const child = spawn('node', [script, ...args], { cwd: folder, env: { ...process.env, NO_COLOR: '1' } })
  let [out, err] = ['', '']
  child.stdout.on('data', (data) => {
    out += data
  })
  child.stderr.on('data', (data) => {
    err += data
    meet(child, err)
  })
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, out, err })))
}

const long = ['-n', '128', '--checkpoints', '4', '--alpha', '0', '--threads', '1']

describe('the winnow command', () => {
  it('runs the main job on the embedded model', async () => {
    const { code, out } = await winnow(['run', '-n', '8', '--threads', '1'])
    expect(code).toBe(0)
    expect(out).toContain('The answer is')
    expect(out).toMatch(/of 8 wins with .* \(head\)/)
  })

  it('says what was wrong with a model, without a stack, and exits with 1', async () => {
    const { code, out, err } = await winnow(['run', 'x', '-m', 'none.gguf'])
    expect({ code, out }).toEqual({ code: 1, out: '' })
    expect(err).toBe('winnow: Expected a GGUF file for the model but received none.gguf, which does not exist\n')
  })

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143]
  ] as const)(
    'ends orderly within five seconds of %s, with what is known, and exits with %i',
    async (signal, exitCode) => {
      let sentAt = 0
      const { code, out, err } = await winnow(['run', ...long], (child, err) => {
        if (sentAt > 0 || !err.includes('tokens deep')) return
        sentAt = performance.now()
        child.kill(signal)
      })
      expect(performance.now() - sentAt).toBeLessThan(5000)
      expect(code).toBe(exitCode)
      expect(err).toContain('interrupt again to stop at once')
      expect(out).toContain('Ended early: stopped. This is the best so far.')
    }
  )

  it.each([
    ['SIGINT', 'SIGTERM', 143],
    ['SIGTERM', 'SIGINT', 130]
  ] as const)('exits at once at the second interrupt: %s, then %s, is %i', async (first, second, exitCode) => {
    // An orderly end with --json includes the head's checksum, which takes seconds for a file this long.
    const head = join(folder, `${first}.head.gguf`)
    await copyFile(embedded.head, head)
    await truncate(head, 4 * 2 ** 30)
    const sent: NodeJS.Signals[] = []
    let sentAt = 0
    const send = (child: ChildProcess, signal: NodeJS.Signals) => {
      sent.push(signal)
      sentAt = performance.now()
      child.kill(signal)
    }
    const { code, out } = await winnow(['run', '--json', '--head', head, ...long], (child, err) => {
      if (sent.length === 0 && err.includes('tokens deep')) send(child, first)
      if (sent.length === 1 && err.includes('interrupt again')) send(child, second)
    })
    expect(performance.now() - sentAt).toBeLessThan(1000)
    expect(sent).toEqual([first, second])
    expect({ code, out }).toEqual({ code: exitCode, out: '' })
  })

  it('keeps every finished row of a bench that is killed, and goes on from there', async () => {
    const file = join(folder, 'rows.jsonl')
    const args = ['bench', '--limit', '3', '-n', '8', '--threads', '1', '--out', file]
    const rows = async () =>
      (await readFile(file, 'utf8').catch(() => '')).split('\n').filter((line) => line.includes('"row"'))
    let killed = false
    await winnow(args, (child) => {
      // Its first words come with its first row.
      killed = child.kill('SIGKILL')
    })
    expect(killed).toBe(true)
    const before = await rows()
    expect(before.length).toBeGreaterThanOrEqual(1)
    expect(before.length).toBeLessThan(6)
    const { code, out } = await winnow([...args, '--json', '--quiet'])
    expect(code).toBe(0)
    const after = await rows()
    expect(after).toHaveLength(6)
    expect(after.slice(0, before.length)).toEqual(before)
    const result = JSON.parse(out)
    expect(result.prompts).toMatchObject({ requested: 3, complete: 3 })
    expect(result.policies.map(({ diverged }: { diverged: number }) => diverged)).toEqual([0, 0])
    expect(result.versions.llama).toMatch(/^0\.5\.0/)
  })
})
