import { execFileSync, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type ModelHub, modelHub } from './fakes/model-hub.js'
import { splitModel } from './fakes/split-model.js'
import { modelFile, tiny } from './native/models.js'

const root = fileURLToPath(new URL('..', import.meta.url))
const built = join(root, 'build-download')
const megabyte = 1024 * 1024

// A download has a thread, which runs JavaScript: these tests run what the sources are compiled to.
const load = <T>(path: string): Promise<T> => import(pathToFileURL(join(built, path)).href)
let { download } = {} as typeof import('../src/download.js')
let { open } = {} as typeof import('../src/engine.js')

let hub: ModelHub
let models = ''
const variables = ['HF_ENDPOINT', 'HF_TOKEN', 'WINNOW_MODELS', 'XDG_CACHE_HOME'] as const
const before = Object.fromEntries(variables.map((name) => [name, process.env[name]]))

beforeAll(async () => {
  const compiler = join(root, 'node_modules/typescript/bin/tsc')
  execFileSync('node', [compiler, '-p', 'tsconfig.build.json', '--outDir', built], { cwd: root })
  ;({ download } = await load<typeof import('../src/download.js')>('download.js'))
  ;({ open } = await load<typeof import('../src/engine.js')>('engine.js'))
})
beforeEach(async () => {
  hub = await modelHub()
  models = await mkdtemp(join(tmpdir(), 'winnow-models-'))
  for (const name of variables) delete process.env[name]
  process.env.HF_ENDPOINT = hub.url
})
afterEach(async () => {
  await hub.close()
  await rm(models, { recursive: true, force: true })
})
afterAll(async () => {
  await rm(built, { recursive: true, force: true })
  for (const [name, value] of Object.entries(before)) {
    if (value === undefined) delete process.env[name]
    else process.env[name] = value
  }
})

/** Bytes that differ everywhere. */
function content(length: number, seed = 1): Buffer {
  const words = new Uint32Array(Math.ceil(length / 4))
  for (let i = 0; i < words.length; i++) words[i] = Math.imul(i + seed, 2654435761)
  return Buffer.from(words.buffer).subarray(0, length)
}

const digest = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')
const digestOf = async (path: string) => digest(await readFile(path))

/** Every file below the folder of the models. */
async function filesHere(): Promise<string[]> {
  const entries = await readdir(models, { recursive: true, withFileTypes: true })
  return entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name).slice(models.length + 1))
    .sort()
}

/** Rejects with this once so many bytes have arrived. */
const enough = new Error('enough')
async function fetchUntil(bytes: number, address: string): Promise<void> {
  const stop = new AbortController()
  const onDownload = (there: number) => {
    if (there >= bytes) stop.abort(enough)
  }
  await expect(download(address, { models, signal: stop.signal, onDownload })).rejects.toBe(enough)
}

describe('a model by address', () => {
  it('comes from the hub whole, says how far it is, and is found again without asking', async () => {
    hub.files.set('org/model/sub/big.gguf', content(12 * megabyte))
    hub.mood.holdFrom = 10 * megabyte
    const said: [number, number][] = []
    const onDownload = (...progress: [number, number]) => {
      said.push(progress)
      if (progress[0] >= 5 * megabyte) hub.mood.holdFrom = Number.POSITIVE_INFINITY
    }
    const address = 'hf:org/model:sub/big.gguf'
    const path = await download(address, { models, onDownload })
    expect(path).toBe(join(models, 'hf/org/model/sub/big.gguf'))
    expect(await digestOf(path)).toBe(digest(content(12 * megabyte)))
    expect(await filesHere()).toEqual(['hf/org/model/sub/big.gguf'])
    expect(said.length).toBeGreaterThan(2)
    expect(said.every(([bytes, total], i) => total === 12 * megabyte && bytes >= (said[i - 1]?.[0] ?? 0))).toBe(true)
    expect(said.at(-1)).toEqual([12 * megabyte, 12 * megabyte])
    await hub.close()
    expect(await download(address, { models, onDownload: () => expect.unreachable() })).toBe(path)
  })

  it('comes from any server, which gives no checksum, and follows it to where it leads', async () => {
    hub.files.set('org/model/a b.gguf', content(megabyte))
    process.env.HF_ENDPOINT = 'http://127.0.0.1:1'
    const path = await download(`${hub.url}/files/org/model/a%20b.gguf`, { models })
    expect(path).toBe(join(models, 'http', encodeURIComponent(new URL(hub.url).host), 'files/org/model/a%20b.gguf'))
    expect(await digestOf(path)).toBe(digest(content(megabyte)))
    const other = await modelHub()
    other.mood.elsewhere = hub.url
    const led = await download(`${other.url}/org/model/resolve/main/a%20b.gguf?download=true`, { models })
    await other.close()
    expect(await digestOf(led)).toBe(digest(content(megabyte)))
    expect(led).not.toBe(path)
  })

  it('goes on where an aborted download ended, of which nothing but that is left', async () => {
    // The downloader counts a short last piece of 5 MiB as a whole one.
    const whole = content(35 * megabyte)
    hub.files.set('org/model/big.gguf', whole)
    hub.mood.holdFrom = 20 * megabyte
    await fetchUntil(20 * megabyte, 'hf:org/model:big.gguf')
    const [left, ...others] = await filesHere()
    expect([left, others]).toEqual([expect.stringMatching(/^\.partial\/[0-9a-f]{32}\/part\.gguf\.ipull$/), []])
    const requests = hub.requests.length
    hub.mood.holdFrom = Number.POSITIVE_INFINITY
    const began: number[] = []
    const path = await download('hf:org/model:big.gguf', { models, onDownload: (bytes) => void began.push(bytes) })
    expect(await digestOf(path)).toBe(digest(whole))
    expect(began[0]).toBeGreaterThanOrEqual(5 * megabyte)
    expect(hub.asked(requests)).toBe(whole.length - (began[0] as number))
    expect(await filesHere()).toEqual(['hf/org/model/big.gguf'])
  })

  it('goes on where a process that was killed ended', async () => {
    const whole = content(32 * megabyte)
    hub.files.set('org/model/big.gguf', whole)
    hub.mood.holdFrom = 20 * megabyte
    const script = `
      import { download } from ${JSON.stringify(pathToFileURL(join(built, 'download.js')).href)}
      const onDownload = (bytes) => { if (bytes >= ${20 * megabyte}) process.kill(process.pid, 'SIGKILL') }
      await download('hf:org/model:big.gguf', { models: ${JSON.stringify(models)}, onDownload })`
    const child = spawn('node', ['--input-type=module', '-e', script], { stdio: 'inherit' })
    const signal = await new Promise((resolve) => child.on('close', (_, signal) => resolve(signal)))
    expect(signal).toBe('SIGKILL')
    hub.mood.holdFrom = Number.POSITIVE_INFINITY
    const began: number[] = []
    const path = await download('hf:org/model:big.gguf', { models, onDownload: (bytes) => void began.push(bytes) })
    expect(began[0]).toBeGreaterThanOrEqual(5 * megabyte)
    expect(await digestOf(path)).toBe(digest(whole))
    expect(await filesHere()).toEqual(['hf/org/model/big.gguf'])
  })

  it('comes whole to each of two processes that want it at the same time', async () => {
    const whole = content(12 * megabyte)
    hub.files.set('org/model/big.gguf', whole)
    hub.mood.slowMs = 5
    const script = `
      import { download } from ${JSON.stringify(pathToFileURL(join(built, 'download.js')).href)}
      await download('hf:org/model:big.gguf', { models: ${JSON.stringify(models)} })`
    const processes = [1, 2].map(() => spawn('node', ['--input-type=module', '-e', script], { stdio: 'inherit' }))
    const codes = await Promise.all(processes.map((child) => new Promise((resolve) => child.on('close', resolve))))
    expect(codes).toEqual([0, 0])
    expect(await digestOf(join(models, 'hf/org/model/big.gguf'))).toBe(digest(whole))
    expect(await filesHere()).toEqual(['hf/org/model/big.gguf'])
  })

  it('is not put together from two contents', async () => {
    hub.files.set('org/model/big.gguf', content(32 * megabyte))
    const address = `${hub.url}/files/org/model/big.gguf`
    process.env.HF_ENDPOINT = 'http://127.0.0.1:1'
    hub.mood.holdFrom = 20 * megabyte
    await fetchUntil(20 * megabyte, address)
    hub.files.set('org/model/big.gguf', content(32 * megabyte, 7))
    hub.mood.holdFrom = Number.POSITIVE_INFINITY
    expect(await digestOf(await download(address, { models }))).toBe(digest(content(32 * megabyte, 7)))
  })

  it('is fetched once for all who want it at the same time, and goes on while one of them still does', async () => {
    const whole = content(12 * megabyte)
    hub.files.set('org/model/big.gguf', whole)
    hub.mood.holdFrom = 5 * megabyte
    const leaving = new AbortController()
    const seen = [0, 0]
    const first = download('hf:org/model:big.gguf', {
      models,
      signal: leaving.signal,
      onDownload: (bytes) => {
        seen[0] = bytes
        if (bytes > megabyte) leaving.abort(enough)
      }
    })
    const onDownload = (bytes: number) => {
      seen[1] = bytes
    }
    const rest = [1, 2].map(() => download('hf:org/model:big.gguf', { models, onDownload }))
    await expect(first).rejects.toBe(enough)
    hub.mood.holdFrom = Number.POSITIVE_INFINITY
    const [path, same] = await Promise.all(rest)
    expect(path).toBe(same)
    expect(await digestOf(path as string)).toBe(digest(whole))
    // What the downloader asks for first has no range.
    expect(hub.requests.filter((request) => request.endsWith('big.gguf'))).toHaveLength(1)
    expect(seen[0]).toBeLessThan(whole.length)
    expect(seen[1]).toBe(whole.length)
  })

  it('can be wanted anew the moment its last download was given up', async () => {
    const whole = content(12 * megabyte)
    hub.files.set('org/model/big.gguf', whole)
    hub.mood.slowMs = 30
    const leaving = new AbortController()
    const again: Promise<string>[] = []
    const first = download('hf:org/model:big.gguf', {
      models,
      signal: leaving.signal,
      onDownload: (bytes) => {
        if (bytes < megabyte || again.length > 0) return
        leaving.abort(enough)
        setImmediate(() => again.push(download('hf:org/model:big.gguf', { models })))
      }
    })
    await expect(first).rejects.toBe(enough)
    expect(await digestOf((await again[0]) as string)).toBe(digest(whole))
  })

  it('goes on by itself while a server that breaks off lets it come further', async () => {
    const whole = content(32 * megabyte)
    hub.files.set('org/model/big.gguf', whole)
    hub.mood.rangesAVisit = 3
    const path = await download('hf:org/model:big.gguf', { models })
    expect(await digestOf(path)).toBe(digest(whole))
    expect(hub.requests.filter((request) => request.endsWith('bytes=0-0')).length).toBeGreaterThan(1)
  })

  it('is refused with a reason where the server breaks off for good', async () => {
    hub.files.set('org/model/big.gguf', content(12 * megabyte))
    hub.mood.rangesAVisit = 0
    await expect(download('hf:org/model:big.gguf', { models })).rejects.toMatchObject({
      code: 'DOWNLOAD_FAILED',
      retryable: true,
      message: 'Expected the file at hf:org/model:big.gguf but received status 403'
    })
    expect((await filesHere()).filter((name) => !name.startsWith('.partial/'))).toEqual([])
  })

  it('is deleted where its checksum is not what the hub says', async () => {
    hub.files.set('org/model/big.gguf', content(megabyte))
    hub.mood.lies = true
    await expect(download('hf:org/model:big.gguf', { models })).rejects.toMatchObject({
      code: 'DOWNLOAD_CORRUPT',
      message: expect.stringMatching(
        /^Expected a file with SHA-256 [0-9a-f]{64} for hf:org\/model:big.gguf but received one with [0-9a-f]{64}; it was deleted$/
      )
    })
    expect(await filesHere()).toEqual([])
    hub.mood.lies = false
    expect(await digestOf(await download('hf:org/model:big.gguf', { models }))).toBe(digest(content(megabyte)))
  })

  it('is refused where it does not exist or nobody answers, before anything is written', async () => {
    const refusal = (address: string) => download(address, { models }).then(expect.unreachable, (error) => error)
    hub.files.set('org/model/big.gguf', content(100))
    expect(await refusal('hf:org/model:none.gguf')).toMatchObject({
      code: 'MODEL_NOT_FOUND',
      message: 'Expected a GGUF file for the model but received hf:org/model:none.gguf, which the hub does not have'
    })
    expect(await refusal('hf:org/model:Q8_0')).toMatchObject({ code: 'MODEL_NOT_FOUND' })
    expect(await refusal('hf:org/model@v2:big.gguf')).toMatchObject({ code: 'SOURCE_NOT_FOUND' })
    process.env.HF_ENDPOINT = 'http://127.0.0.1:1'
    expect(await refusal(`${hub.url}/files/none.gguf?key=secret`)).toMatchObject({
      code: 'MODEL_NOT_FOUND',
      message: `Expected a GGUF file at ${hub.url}/files/none.gguf but received status 404`
    })
    expect(await refusal('hf:org/model:big.gguf')).toMatchObject({ code: 'HUB_FAILED', retryable: true })
    expect(await refusal('http://127.0.0.1:1/a.gguf')).toMatchObject({ code: 'DOWNLOAD_FAILED', retryable: true })
    expect(await filesHere()).toEqual([])
  })

  it('sends the token to the hub and to nobody the hub leads to, and names it nowhere', async () => {
    hub.files.set('org/model/big.gguf', content(megabyte))
    const store = await modelHub()
    store.files.set('org/model/big.gguf', content(megabyte))
    hub.mood.token = 'hf_secret'
    hub.mood.elsewhere = store.url
    const denied = await download('hf:org/model:big.gguf', { models }).then(expect.unreachable, (error) => error)
    expect(denied).toMatchObject({ code: 'SOURCE_NOT_FOUND', message: expect.stringContaining('HF_TOKEN') })
    process.env.HF_TOKEN = 'hf_wrong'
    const wrong = await download('hf:org/model:big.gguf', { models }).then(expect.unreachable, (error) => error)
    expect(`${wrong.stack} ${JSON.stringify(wrong)}`).not.toContain('hf_wrong')
    process.env.HF_TOKEN = 'hf_secret'
    const path = await download('hf:org/model:big.gguf', { models })
    expect(await digestOf(path)).toBe(digest(content(megabyte)))
    expect(hub.authorizations).toContain('Bearer hf_secret')
    expect(store.authorizations.size).toBe(0)
    // A hub that sends files itself gets it with them.
    hub.mood.elsewhere = null
    await rm(path)
    expect(await digestOf(await download('hf:org/model:big.gguf', { models }))).toBe(digest(content(megabyte)))
    await store.close()
  })

  it.each(['led elsewhere', 'sent by the hub itself'])('comes in all its parts where it is split, %s', async (way) => {
    const name = (part: number) => `Model-Q4_K_M-0000${part}-of-00003.gguf`
    for (const part of [1, 2, 3]) hub.files.set(`org/Model-GGUF/${name(part)}`, content(part * megabyte, part))
    if (way === 'led elsewhere') hub.mood.elsewhere = hub.url
    const said: number[] = []
    const onDownload = (bytes: number, total: number) => {
      expect(total).toBe(6 * megabyte)
      said.push(bytes)
    }
    // Whichever part is named.
    const path = await download(`hf:org/Model-GGUF:${name(2)}`, { models, onDownload })
    expect(path).toBe(join(models, 'hf/org/Model-GGUF', name(1)))
    expect(await filesHere()).toEqual([1, 2, 3].map((part) => `hf/org/Model-GGUF/${name(part)}`))
    for (const part of [1, 2, 3]) {
      expect(await digestOf(join(models, `hf/org/Model-GGUF/${name(part)}`))).toBe(
        digest(content(part * megabyte, part))
      )
    }
    expect(said).toEqual(said.toSorted((a, b) => a - b))
    expect(said.at(-1)).toBe(6 * megabyte)
    expect(hub.asked(0)).toBe(6 * megabyte)
    // The same by its quantisation.
    const other = await download('hf:org/Model-GGUF:q4_k_m', { models })
    expect(other).toBe(join(models, 'hf/org/Model-GGUF/Model.Q4_K_M-00001-of-00003.gguf'))
    await hub.close()
    expect(await download('hf:org/Model-GGUF:Q4_K_M', { models })).toBe(other)
  })

  it('comes by its quantisation', async () => {
    hub.files.set('org/Model-GGUF/Model-Q4_K_M.gguf', content(megabyte))
    const path = await download('hf:org/Model-GGUF:Q4_K_M', { models })
    expect(path).toBe(join(models, 'hf/org/Model-GGUF/Model.Q4_K_M.gguf'))
    expect(await digestOf(path)).toBe(digest(content(megabyte)))
  })

  it('leaves signals alone, prints nothing and lets the process end', async () => {
    hub.files.set('org/model/big.gguf', content(12 * megabyte))
    const script = `
      import { download } from ${JSON.stringify(pathToFileURL(join(built, 'download.js')).href)}
      const listeners = () => ['SIGINT', 'SIGTERM', 'unhandledRejection'].map((name) => process.listenerCount(name))
      const onDownload = () => { if (listeners().some((count) => count > 0)) throw new Error('listens') }
      await download('hf:org/model:big.gguf', { models: ${JSON.stringify(models)}, onDownload })
      if (listeners().some((count) => count > 0)) process.exit(9)`
    const child = spawn('node', ['--input-type=module', '-e', script])
    let printed = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (printed += data))
    const code = await new Promise((resolve) => child.on('close', resolve))
    expect({ code, printed }).toEqual({ code: 0, printed: '' })
  })

  it('ends with what its callback throws', async () => {
    hub.files.set('org/model/big.gguf', content(megabyte))
    const onDownload = () => {
      throw enough
    }
    await expect(download('hf:org/model:big.gguf', { models, onDownload })).rejects.toBe(enough)
  })

  it('goes on for others where the callback of one throws', async () => {
    const whole = content(12 * megabyte)
    hub.files.set('org/model/big.gguf', whole)
    hub.mood.slowMs = 30
    const onDownload = () => {
      throw enough
    }
    const one = download('hf:org/model:big.gguf', { models, onDownload })
    const other = download('hf:org/model:big.gguf', { models })
    await expect(one).rejects.toBe(enough)
    expect(await digestOf(await other)).toBe(digest(whole))
  })

  it('goes where the environment says if no option does', async () => {
    hub.files.set('org/model/big.gguf', content(100))
    process.env.XDG_CACHE_HOME = join(models, 'cache')
    expect(await download('hf:org/model:big.gguf')).toBe(join(models, 'cache/winnow/models/hf/org/model/big.gguf'))
    process.env.WINNOW_MODELS = join(models, 'own')
    expect(await download('hf:org/model:big.gguf')).toBe(join(models, 'own/hf/org/model/big.gguf'))
  })

  it('says so where its folder cannot be written', async () => {
    hub.files.set('org/model/big.gguf', content(100))
    hub.files.set('org/model/other.gguf', content(100))
    const file = await download('hf:org/model:big.gguf', { models })
    await expect(download('hf:org/model:other.gguf', { models: file })).rejects.toMatchObject({ code: 'WRITE_FAILED' })
  })

  it('opens like one by path', async () => {
    const file = await readFile(await modelFile(tiny))
    hub.files.set('org/model/tiny.gguf', file)
    const totals = new Set<number>()
    const options = { models, threads: 1, onDownload: (_: number, total: number) => void totals.add(total) }
    const engine = await open('hf:org/model:tiny.gguf', options)
    expect(engine.model.path).toBe(join(models, 'hf/org/model/tiny.gguf'))
    expect([...totals]).toEqual([file.length])
    expect((await engine.bestOf(2, 'a', { raw: true, maxTokens: 2 })).branches).toHaveLength(2)
    await engine.close()
  })

  it('opens in parts as it does in one, and writes the same', async () => {
    const whole = await modelFile(tiny)
    const parts = await splitModel(whole, await readFile(whole))
    for (const [i, part] of parts.entries()) hub.files.set(`org/model/tiny-0000${i + 1}-of-00002.gguf`, part)
    const write = async (path: string) => {
      const engine = await open(path, { models, threads: 1 })
      const { branches } = await engine.bestOf(2, 'a', { raw: true, maxTokens: 8, deterministic: true })
      await engine.close()
      return branches.map(({ tokens }) => [...tokens])
    }
    expect(await write('hf:org/model:tiny-00001-of-00002.gguf')).toEqual(await write(whole))
  })
})
