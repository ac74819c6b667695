import { execFile } from 'node:child_process'
import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { NativeBinding } from '../src/binding.js'
import { main } from '../src/cli/main.js'
import { examine, smokeDecode } from '../src/doctor.js'
import { sha256 } from '../src/model.js'
import { atLeast, version } from '../src/version.js'
import { FakeModel } from './fakes/model.js'
import { fakeTerminal } from './fakes/terminal.js'

const script = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url))

function winnow(...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [script, ...args], (_error, stdout, stderr) =>
      resolve({ code: child.exitCode, stdout, stderr })
    )
  })
}

describe('an examination', () => {
  test('finds everything here, and decodes', async () => {
    const { ok, problems, smoke, versions, devices, libraries } = await examine()
    expect(problems).toEqual([])
    expect(ok).toBe(true)
    expect(smoke?.tokens).toBeGreaterThan(0)
    expect(versions).toMatchObject({ winnow: version, addon: version, node: process.version })
    expect(devices.length).toBeGreaterThan(0)
    expect(libraries?.tried.some((attempt) => attempt.ok)).toBe(true)
  })

  test('closes the model when no pool can be made for it', async () => {
    const model = new FakeModel()
    const refusal = new Error('no memory')
    const binding = {
      async writeRandomModel() {},
      loadModel: async () => model,
      createPool: () => Promise.reject(refusal)
    } as unknown as NativeBinding
    await expect(smokeDecode(binding, 'tiny.gguf')).rejects.toBe(refusal)
    expect(model.closed).toBe(true)
  })

  test('tells Node versions apart by number', () => {
    expect(atLeast('v20.17.0', '20.17')).toBe(true)
    expect(atLeast('v20.9.0', '20.17')).toBe(false)
    expect(atLeast('v18.20.1', '20.17')).toBe(false)
    expect(atLeast('v22.0.0', '20.17')).toBe(true)
  })
})

describe('winnow doctor', () => {
  test('prints what it found as text, on stdout alone', async () => {
    const { code, stdout, stderr } = await winnow('doctor', '--gpu', 'cpu')
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toContain('Everything winnow needs is here.')
  })

  test('prints one JSON value with --json', async () => {
    const { code, stdout } = await winnow('doctor', '--gpu', 'cpu', '--json')
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({ schemaVersion: 1, ok: true, libraries: { variant: 'cpu' } })
  })

  test('exits with 4 and a remedy where the variant asked for cannot be had', async () => {
    const { code, stdout, stderr } = await winnow('doctor', '--gpu', 'metal', '--json')
    expect(code).toBe(4)
    expect(JSON.parse(stdout)).toMatchObject({ ok: false, libraries: null, smoke: null })
    expect(stderr).toContain('WINNOW_GPU=auto')
    expect(stderr).not.toContain('    at ')
  })
})

describe('winnow random-model', () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'winnow-random-'))
  })
  afterAll(() => rm(folder, { recursive: true, force: true }))

  async function winnow(...argv: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
    const terminal = fakeTerminal()
    const code = await main(argv, terminal)
    return { code, stdout: terminal.out(), stderr: terminal.err() }
  }

  test('writes a model of the shape asked for, and says with what and on what machine', async () => {
    const out = join(folder, 'a.gguf')
    const { code, stdout } = await winnow('random-model', out, '--width', '256', '--heads', '4', '--json')
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({
      schemaVersion: 1,
      versions: { winnow: version, addon: version, llama: expect.stringMatching(/^\d/), node: process.versions.node },
      hardware: {
        cores: expect.any(Number),
        devices: expect.arrayContaining([expect.objectContaining({ type: 'cpu' })])
      },
      path: out,
      width: 256,
      heads: 4,
      seed: 1,
      bytes: (await stat(out)).size,
      sha256: await sha256(out)
    })
  })

  test('prints the shape as text without --json', async () => {
    const { code, stdout } = await winnow('random-model', join(folder, 'c.gguf'), '--width', '64', '--heads', '1')
    expect(code).toBe(0)
    expect(stdout).toMatch(/^width +64$/m)
  })

  test.each([
    ['--width', '-3'],
    ['--layers', 'many'],
    ['--weights', 'q9'],
    ['--heads', '3'],
    ['--no-such-flag', '1']
  ])('refuses %s %s with exit code 2 and a sentence', async (flag, value) => {
    const { code, stdout, stderr } = await winnow('random-model', join(folder, 'b.gguf'), flag, value)
    expect(code).toBe(2)
    expect(stdout).toBe('')
    expect(stderr).not.toContain('    at ')
    expect(stderr.length).toBeGreaterThan(10)
  })

  test('fails with exit code 1 where it cannot write', async () => {
    const { code, stderr } = await winnow('random-model', join(folder, 'no', 'such', 'folder.gguf'))
    expect(code).toBe(1)
    expect(stderr).toContain('Expected')
  })
})
