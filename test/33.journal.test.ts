import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import {
  copyFile,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  rm,
  stat,
  truncate,
  utimes,
  writeFile
} from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { contentKey, type Entry, Journal } from '../src/journal.js'

const root = fileURLToPath(new URL('..', import.meta.url))
const built = join(root, 'build-journal')
const writer = fileURLToPath(new URL('fakes/journal-writer.mjs', import.meta.url))

let folder = ''
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'winnow-journal-'))
  // Processes of their own run JavaScript, so they run what the source is compiled to.
  const flags = '--ignoreConfig --rootDir src --module nodenext --target es2023 --types node --skipLibCheck --strict'
  const compiler = join(root, 'node_modules/typescript/bin/tsc')
  execFileSync('node', [compiler, 'src/journal.ts', ...flags.split(' '), '--outDir', built], { cwd: root })
})
afterAll(async () => {
  await rm(folder, { recursive: true })
  await rm(built, { recursive: true })
})

const conditions = { seed: 1, sampling: { temperature: 1, topK: 0 } }
const fresh = () => join(folder, `${Math.random()}.jsonl`)
const [a, b, c] = ['a', 'b', 'c'].map(contentKey) as [string, string, string]

async function journal(path: string, entries: Readonly<Record<string, Entry>>): Promise<string> {
  const file = await Journal.open(path, conditions)
  for (const [key, entry] of Object.entries(entries)) await file.append(key, entry)
  await file.close()
  return path
}

async function refused(path: string, other: Record<string, unknown> = conditions) {
  const before = await readFile(path)
  const error = await Journal.open(path, other).then(
    () => Promise.reject(new Error('it opened')),
    (error: Error & { code: string }) => error
  )
  expect(await readFile(path)).toEqual(before)
  return error
}

const claimsOf = async (path: string) =>
  (await readdir(folder)).filter((name) => name.startsWith(`${basename(path)}.`) && name.endsWith('.lock'))

describe('a journal', () => {
  it('gives back what was appended, here and when it is opened again', async () => {
    const path = fresh()
    const first = await Journal.open(path, conditions)
    const entry = { text: 'café\u2028\n"', list: [1, null], nested: { key: 'its own' } }
    await first.append(a, entry)
    expect(first.has(a)).toBe(true)
    expect(await first.read(a)).toEqual(entry)
    await first.close()
    await first.close()
    const again = await Journal.open(path, { sampling: { topK: 0, temperature: 1 }, seed: 1 })
    expect(again.size).toBe(1)
    expect([again.has(a), again.has(b)]).toEqual([true, false])
    await again.append(b, {})
    expect([await again.read(a), await again.read(b), await again.read(c)]).toEqual([entry, {}, null])
    await again.close()
    expect(await claimsOf(path)).toEqual([])
  })

  it('is lines of JSON, of which the first says what was run', async () => {
    const lines = (await readFile(await journal(fresh(), { [a]: { text: 'x' } }), 'utf8')).trimEnd().split('\n')
    const [header, row] = lines.map((line) => JSON.parse(line))
    const crc32 = expect.stringMatching(/^[0-9a-f]{8}$/)
    expect(header).toEqual({ journal: 1, identity: contentKey(conditions), conditions, crc32 })
    expect(row).toEqual({ key: a, text: 'x', crc32 })
  })

  it('keeps one result a key', async () => {
    const file = await Journal.open(fresh(), conditions)
    const appended = file.append(a, { text: 'x' })
    await expect(file.append(a, { text: 'y' })).rejects.toMatchObject({ code: 'OPTION_INVALID' })
    await appended
    expect(await file.read(a)).toEqual({ text: 'x' })
    await file.close()
  })

  it('acknowledges many results with one sync, and none before it', async () => {
    const path = fresh()
    const file = await Journal.open(path, conditions)
    const handle = await open(path)
    const sync = vi.spyOn(Object.getPrototypeOf(handle), 'datasync')
    await handle.close()
    try {
      const synced: number[] = []
      const append = (i: number) => file.append(contentKey(i), { i }).then(() => synced.push(sync.mock.calls.length))
      const first = Array.from({ length: 50 }, (_, i) => append(i))
      await Promise.resolve()
      // These come while the first are being written.
      await Promise.all([...first, ...Array.from({ length: 50 }, (_, i) => append(50 + i))])
      expect(synced.slice(0, 50)).toEqual(Array(50).fill(1))
      expect(synced.slice(50)).toEqual(Array(50).fill(2))
    } finally {
      sync.mockRestore()
      await file.close()
    }
    expect((await readFile(path, 'utf8')).split('\n')).toHaveLength(102)
  })

  it('writes no more after a write has failed, and says why each time', async () => {
    const path = fresh()
    const file = await Journal.open(path, conditions)
    await file.append(a, {})
    const handle = await open(path)
    const sync = vi.spyOn(Object.getPrototypeOf(handle), 'datasync').mockRejectedValueOnce(new Error('no space left'))
    await handle.close()
    const failure = { code: 'WRITE_FAILED', message: `Expected to write ${path} but received no space left` }
    await expect(file.append(b, {})).rejects.toMatchObject(failure)
    await expect(file.append(c, {})).rejects.toMatchObject(failure)
    sync.mockRestore()
    await file.close()
    expect(await claimsOf(path)).toEqual([])
  })
})

describe('a journal that was cut off', () => {
  it('at any byte of its last line drops that line and is written on after the one before', async () => {
    const path = await journal(fresh(), { [a]: { text: 'one' }, [b]: { text: 'zwölf' } })
    const whole = await readFile(path)
    const start = whole.lastIndexOf(10, whole.length - 2) + 1
    for (let length = start; length < whole.length; length++) {
      await writeFile(path, whole.subarray(0, length))
      const file = await Journal.open(path, conditions)
      expect([file.size, file.has(a), file.has(b)]).toEqual([1, true, false])
      await file.append(b, { text: 'zwölf' })
      await file.close()
      expect(await readFile(path)).toEqual(whole)
    }
    expect(whole.length - start).toBeGreaterThan(100)
  })

  it('within its first line begins anew', async () => {
    const path = await journal(fresh(), {})
    const header = await readFile(path)
    for (let length = 0; length < header.length; length += length < 20 ? 1 : 7) {
      await writeFile(path, header.subarray(0, length))
      await journal(path, {})
      expect(await readFile(path)).toEqual(header)
    }
  })

  it('drops a last line that the disk has filled with zeros', async () => {
    const path = await journal(fresh(), { [a]: {} })
    const { size } = await stat(path)
    await truncate(path, size + 4096)
    await journal(path, {})
    expect((await stat(path)).size).toBe(size)
  })
})

describe('a journal that was damaged', () => {
  it('in any byte of a line is refused with the number of the line, and stays as it is', async () => {
    const path = await journal(fresh(), { [a]: { text: 'one' }, [b]: { text: 'two' }, [c]: { text: 'three' } })
    const whole = await readFile(path)
    const start = whole.indexOf(b) - 8
    for (let at = start; at <= whole.indexOf(10, start); at++) {
      const damaged = Buffer.from(whole)
      damaged[at] = (whole[at] as number) ^ 1
      await writeFile(path, damaged)
      const { code, message } = await refused(path)
      expect({ at, code }).toEqual({ at, code: 'RESULTS_CORRUPT' })
      expect(message).toContain(`Expected a line as it was written for line 3 of ${path} but received`)
    }
  })

  it('within its first line is refused, and stays as it is', async () => {
    const path = await journal(fresh(), { [a]: {} })
    const whole = await readFile(path)
    for (let at = 0; at <= whole.indexOf(10); at += at < 20 ? 1 : 5) {
      const damaged = Buffer.from(whole)
      damaged[at] = (whole[at] as number) ^ 1
      await writeFile(path, damaged)
      const { code, message } = await refused(path)
      expect(['RESULTS_CORRUPT', 'RESULTS_MISMATCH']).toContain(code)
      if (code === 'RESULTS_CORRUPT') expect(message).toContain(`line 1 of ${path}`)
    }
  })

  it.each([
    ['lost', (lines: string[]) => lines.toSpliced(2, 1), 3],
    ['doubled', (lines: string[]) => lines.toSpliced(2, 0, lines[2] as string), 4],
    ['exchanged', (lines: string[]) => lines.toSpliced(1, 2, lines[2] as string, lines[1] as string), 2],
    ['empty', (lines: string[]) => lines.toSpliced(2, 0, ''), 3]
  ])('by a line that is %s is refused with the number of the line', async (_, change, line) => {
    const path = await journal(fresh(), { [a]: { i: 1 }, [b]: { i: 2 }, [c]: { i: 3 } })
    await writeFile(path, change((await readFile(path, 'utf8')).split('\n')).join('\n'))
    expect(await refused(path)).toMatchObject({
      code: 'RESULTS_CORRUPT',
      message: expect.stringContaining(`line ${line} of ${path}`)
    })
  })
})

describe("somebody else's file", () => {
  it.each(['notes', '# notes\nmore\n', '{"prompt":"one"}\n', '[1]\n', '\n', '{"type":"bench"}\n'])(
    'is refused and stays as it is: %j',
    async (text) => {
      const path = fresh()
      await writeFile(path, text)
      expect(await refused(path)).toMatchObject({
        code: 'RESULTS_MISMATCH',
        message: `Expected a new file or a journal for the results but received "${path}"`
      })
      expect(await claimsOf(path)).toEqual([])
    }
  )

  it('of another version is refused', async () => {
    const path = fresh()
    await writeFile(path, '{"journal":2,"identity":"x"}\n')
    expect(await refused(path)).toMatchObject({
      code: 'RESULTS_MISMATCH',
      message: `Expected a journal of version 1 for ${path} but received 2`
    })
  })

  it('of other conditions is refused, and the sentence names what differs', async () => {
    const path = await journal(fresh(), {})
    const { code, message } = await refused(path, { sampling: { temperature: 0.7, topK: 0 }, seed: 1, model: 'm' })
    expect(code).toBe('RESULTS_MISMATCH')
    expect(message).toContain(`but received ${path}, which differs in sampling.temperature, model`)
  })

  it('that cannot be written is an error with the reason', async () => {
    await expect(Journal.open(join(folder, 'no', 'such.jsonl'), {})).rejects.toMatchObject({ code: 'WRITE_FAILED' })
    await expect(Journal.open(folder, {})).rejects.toMatchObject({ code: 'WRITE_FAILED' })
  })
})

interface Writer {
  readonly child: ChildProcess
  /** Resolves with its first words. */
  readonly begun: Promise<void>
  /** Resolves with what it has said once it has been killed. */
  kill(): Promise<string>
}

function write(path: string, count: number): Writer {
  const child = spawn('node', [writer, join(built, 'journal.js'), path, String(count)])
  let [out, err] = ['', '']
  const begun = new Promise<void>((resolve, reject) => {
    child.stdout.on('data', (data) => {
      out += data
      resolve()
    })
    child.stderr.on('data', (data) => {
      err += data
    })
    child.on('close', () => reject(new Error(err)))
  })
  begun.catch(() => {})
  const closed = new Promise<void>((resolve) => child.on('close', () => resolve()))
  return {
    child,
    begun,
    async kill() {
      child.kill('SIGKILL')
      await closed
      expect(err).toBe('')
      return out
    }
  }
}

describe('a journal and processes', () => {
  it('survives kill -9 at 50 random moments: no acknowledged result is lost, none is there twice', async () => {
    const path = join(folder, 'killed.jsonl')
    const count = 100_000
    const acknowledged: number[] = []
    for (let round = 0; round < 50; round++) {
      const { begun, kill } = write(path, count)
      // Some die while they open it.
      if (round % 5 > 0) await begun
      await sleep(Math.random() * (round % 5 > 0 ? 30 : 80))
      const said = await kill()
      // What a line break does not follow was perhaps not said to its end.
      for (const [, i] of said.matchAll(/^ack (\d+)\n/gm)) acknowledged.push(Number(i))
      if (round % 10 !== 9) continue
      // Read beside the writers: opening it would mend for them what they are to mend themselves.
      const copy = fresh()
      await copyFile(path, copy)
      const file = await Journal.open(copy, { seed: 1 })
      expect(new Set(acknowledged).size).toBe(acknowledged.length)
      for (const i of acknowledged) {
        expect(await file.read(contentKey(i))).toEqual({ i, text: 'é'.repeat((i * 7919) % 9000) })
      }
      const lines = (await readFile(copy, 'utf8')).trimEnd().split('\n')
      expect(lines).toHaveLength(file.size + 1)
      await file.close()
    }
    expect(acknowledged.length).toBeGreaterThan(100)
    // Each took the file from a dead one, and what it left was taken in turn.
    expect((await claimsOf(path)).length).toBeLessThanOrEqual(2)
  }, 120_000)

  it('is refused to the second of two, which may have it once the first is dead', async () => {
    const path = fresh()
    const { child, begun, kill } = write(path, 1)
    await begun
    const error = await Journal.open(path, { seed: 1 }).catch((error: unknown) => error)
    expect(error).toMatchObject({ code: 'RESULTS_BUSY', retryable: true })
    expect((error as Error).message).toContain(
      `received ${path}, which process ${child.pid} has open (if that is over,`
    )
    await kill()
    await (await Journal.open(path, { seed: 1 })).close()
  })

  it('is refused to the second within one process too', async () => {
    const path = fresh()
    const first = await Journal.open(path, conditions)
    await expect(Journal.open(path, conditions)).rejects.toMatchObject({ code: 'RESULTS_BUSY' })
    await first.append(a, {})
    await first.close()
    await (await Journal.open(path, conditions)).close()
  })

  it('is refused while another machine has it open, for nobody here knows whether that lives', async () => {
    const path = fresh()
    const claim = `${path}.1-0123abcd@elsewhere.lock`
    await writeFile(claim, '')
    await expect(Journal.open(path, conditions)).rejects.toMatchObject({
      code: 'RESULTS_BUSY',
      message: expect.stringContaining(`which process 1 of elsewhere has open (if that is over, remove ${claim})`)
    })
    await rm(claim)
    await journal(path, {})
  })

  it('says so where what a dead process left cannot be removed, and leaves nothing', async () => {
    const path = fresh()
    const claim = `${path}.99999999-0123abcd@${encodeURIComponent(hostname())}.lock`
    await mkdir(claim)
    await expect(Journal.open(path, conditions)).rejects.toMatchObject({
      code: 'WRITE_FAILED',
      message: expect.stringContaining(`Expected to write ${path} but received `)
    })
    expect(await claimsOf(path)).toEqual([basename(claim)])
    await rm(claim, { recursive: true })
    await journal(path, {})
  })

  it('is taken from a process of the same number that died before this one began', async () => {
    const path = fresh()
    const claim = `${path}.${process.pid}-0123abcd@${encodeURIComponent(hostname())}.lock`
    await writeFile(claim, '')
    await utimes(claim, 1, 1)
    await journal(path, {})
    expect(await claimsOf(path)).toEqual([])
  })

  it('goes to one at most of many that open it at once', async () => {
    const path = fresh()
    const opened = await Promise.allSettled(Array.from({ length: 8 }, () => Journal.open(path, conditions)))
    const journals = opened.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
    expect(journals.length).toBeLessThanOrEqual(1)
    for (const one of opened) if (one.status === 'rejected') expect(one.reason).toMatchObject({ code: 'RESULTS_BUSY' })
    for (const one of journals) await one.close()
    expect(await claimsOf(path)).toEqual([])
  })
})
