import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { readdirSync, statSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { sha256 } from '../src/checksum.js'
import { Downloads } from '../src/cli/downloads.js'
import { embedded } from '../src/embedded.js'
import { linearHead } from './fakes/linear-head.js'
import { type ModelHub, modelHub } from './fakes/model-hub.js'
import { fakeTerminal } from './fakes/terminal.js'
import { modelFile, tiny } from './native/models.js'

const root = fileURLToPath(new URL('..', import.meta.url))
const built = join(root, 'build-address')
const reranker = fileURLToPath(new URL('./fixtures/rerankers/qwen3.gguf', import.meta.url))
const megabyte = 1024 * 1024

let hub: ModelHub
let folder = ''

beforeAll(() => {
  const compiler = join(root, 'node_modules/typescript/bin/tsc')
  execFileSync('node', [compiler, '-p', 'tsconfig.build.json', '--outDir', built], { cwd: root })
})
afterAll(() => rm(built, { recursive: true }))
beforeEach(async () => {
  hub = await modelHub()
  folder = await mkdtemp(join(tmpdir(), 'winnow-address-'))
})
afterEach(async () => {
  await hub.close()
  await rm(folder, { recursive: true })
})

interface Ended {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

/** Starts the command; `meet` is called with the process whenever it has written something to stderr. */
function winnow(args: readonly string[], meet: (child: ChildProcess) => void = () => {}): Promise<Ended> {
  const { HF_TOKEN: _, ...rest } = process.env
  const env = { ...rest, HF_ENDPOINT: hub.url, WINNOW_MODELS: join(folder, 'models'), NO_COLOR: '1' }
  const child = spawn('node', [join(built, 'cli/main.js'), ...args], { cwd: folder, env })
  let [out, err] = ['', '']
  child.stdout.on('data', (data) => {
    out += data
  })
  child.stderr.on('data', (data) => {
    err += data
    meet(child)
  })
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, out, err })))
}

function sizeOfPartial(): number {
  const names = readdirSync(join(folder, 'models/.partial'), { recursive: true, encoding: 'utf8' })
  const name = names.find((name) => name.endsWith('.ipull'))
  return name === undefined ? 0 : statSync(join(folder, 'models/.partial', name)).size
}

const short = ['-n', '2', '--max-tokens', '2', '--threads', '1']

describe('the winnow command with models by address', () => {
  it('fetches all it needs, once, and names files and checksums in its result', async () => {
    const [model, judge] = [await readFile(await modelFile(tiny)), await readFile(embedded.model)]
    hub.files.set('org/model/tiny.gguf', model)
    hub.files.set('org/judge/judge.gguf', judge)
    hub.files.set('org/ranker/ranker.gguf', await readFile(reranker))
    const head = await linearHead(join(folder, 'head.gguf'), new Float32Array(192), 0)
    const rewards = ['--reward-model', 'hf:org/judge:judge.gguf', '--reward-head', head]
    const flags = ['a', '-m', 'hf:org/model:tiny.gguf', ...rewards, '--reranker', 'hf:org/ranker:ranker.gguf', '--raw']
    const first = await winnow(['run', ...flags, ...short, '--json'])
    expect({ code: first.code, err: first.err }).toEqual({ code: 0, err: expect.any(String) })
    const result = JSON.parse(first.out)
    expect(result.model).toMatchObject({ file: 'tiny.gguf' })
    expect(result.rewardModel).toMatchObject({
      file: 'judge.gguf',
      sha256: await sha256(embedded.model),
      reranker: 'ranker.gguf',
      rerankerSha256: await sha256(reranker)
    })
    expect(await readdir(join(folder, 'models/hf/org'))).toEqual(['judge', 'model', 'ranker'])
    const requests = hub.requests.length
    const second = await winnow(['run', ...flags, ...short, '--json'])
    expect(JSON.parse(second.out).model).toEqual(result.model)
    expect(hub.requests.length).toBe(requests)
  })

  it('plans for a model that it fetches first', async () => {
    hub.files.set('org/model/tiny.gguf', await readFile(await modelFile(tiny)))
    const { code, out } = await winnow(['plan', 'a', '-m', 'hf:org/model:tiny.gguf', '--raw', ...short, '--json'])
    expect({ code, file: JSON.parse(out).model.file }).toEqual({ code: 0, file: 'tiny.gguf' })
  })

  it('calibrates for a model that it fetches first, and runs with what was chosen', async () => {
    hub.files.set('org/model/tiny.gguf', await readFile(await modelFile(tiny)))
    const model = ['-m', `${hub.url}/files/org/model/tiny.gguf?key=secret`, '--models', join(folder, 'own')]
    const sizes = ['-n', '2', '--prompt-tokens', '8', '--seconds', '0.2']
    const calibrated = await winnow(['calibrate', ...model, ...sizes, '--json'])
    expect({ code: calibrated.code, err: calibrated.err }).toEqual({
      code: 0,
      err: expect.stringContaining('Written to')
    })
    expect(JSON.parse(calibrated.out).model.file).toBe('tiny.gguf')
    const requests = hub.requests.length
    const { code, err } = await winnow(['run', 'a', ...model, '--raw', '-n', '2', '--max-tokens', '2'])
    expect({ code, err }).toEqual({ code: 0, err: expect.stringContaining('From winnow.calibration.json: ') })
    expect(hub.requests.length).toBe(requests)
    await rm(join(folder, 'own'), { recursive: true })
    const again = await winnow(['run', 'a', ...model, '--raw', ...short])
    expect(again.err).toContain('is not used: it was made for tiny.gguf, and the model of this address is not here yet')
    expect(again.err).not.toContain('secret')
  })

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143]
  ] as const)('ends within five seconds of %s with %i, says how to go on, and goes on', async (signal, exitCode) => {
    // Bytes behind the last tensor are nobody's.
    const model = Buffer.concat([await readFile(await modelFile(tiny)), Buffer.alloc(32 * megabyte)])
    hub.files.set('org/model/big.gguf', model)
    hub.mood.slowMs = 50
    const flags = ['run', 'a', '-m', 'hf:org/model:big.gguf', '--raw', ...short]
    let [watch, sentAt]: [NodeJS.Timeout | undefined, number] = [undefined, 0]
    const { code, out, err } = await winnow(flags, (child) => {
      watch ??= setInterval(() => {
        // Behind the content the downloader notes which pieces of 5 MiB are whole: these are not fetched again.
        if (sizeOfPartial() <= model.length) return
        clearInterval(watch)
        sentAt = performance.now()
        child.kill(signal)
      }, 50)
    })
    expect(performance.now() - sentAt).toBeLessThan(5000)
    expect({ code, out }).toEqual({ code: exitCode, out: '' })
    expect(err).toMatch(/^downloading: .* of 32\.\d MiB\n/)
    expect(err).toContain('interrupt again to stop at once')
    expect(err).toContain('the same command goes on from there')
    expect(err.trimEnd().split('\n').at(-1)).toBe(`winnow: Interrupted by ${signal}`)
    hub.mood.slowMs = 0
    const requests = hub.requests.length
    expect(await winnow([...flags, '--quiet'])).toMatchObject({ code: 0, err: '' })
    expect(hub.asked(requests)).toBeLessThan(model.length)
  })

  it.each([
    ['hf:org/model:none.gguf', 1, 'which the hub does not have'],
    ['hf:org/model', 2, 'Expected hf:ORG/REPO:FILE.gguf']
  ])('refuses %s with exit code %i', async (address, exitCode, text) => {
    const { code, out, err } = await winnow(['run', 'a', '-m', address, ...short])
    expect({ code, out }).toEqual({ code: exitCode, out: '' })
    expect(err).toContain(text)
    expect(err).not.toContain('    at ')
  })
})

describe('the progress of downloads', () => {
  const never = new AbortController().signal

  it('is one live line, which is gone once all has arrived', () => {
    const terminal = fakeTerminal({ tty: true })
    const downloads = new Downloads(terminal, false, never)
    downloads.options.onDownload?.(megabyte, 4 * megabyte)
    downloads.options.onDownload?.(4 * megabyte, 4 * megabyte)
    downloads.end()
    expect(terminal.err()).toBe('\r\u001b[Kdownloading: 1.00 MiB of 4.00 MiB\r\u001b[K')
  })

  it('says how to go on where one did not end', () => {
    const terminal = fakeTerminal()
    const downloads = new Downloads(terminal, false, never)
    downloads.options.onDownload?.(megabyte, 4 * megabyte)
    downloads.end()
    downloads.end()
    expect(terminal.err()).toBe(
      'downloading: 1.00 MiB of 4.00 MiB\nWhat has arrived is kept: the same command goes on from there.\n'
    )
  })

  it('says nothing where it is to be quiet', () => {
    const terminal = fakeTerminal({ tty: true })
    const downloads = new Downloads(terminal, true, never)
    downloads.options.onDownload?.(megabyte, 4 * megabyte)
    downloads.end()
    expect(terminal.err()).toBe('')
  })
})
