import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { BenchFile } from '../src/cli/bench-file.js'
import type { Row } from '../src/trial.js'

let folder = ''
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'winnow-rows-'))
})
afterAll(() => rm(folder, { recursive: true }))

const identity = { seed: '0', n: 8 }
const header = '{"type":"bench","seed":"0","n":8}'
const row = (prompt: number): Row => ({
  prompt,
  arm: 'best-of-n',
  setting: 'best-of-n; against best-of-n',
  n: 8,
  winner: 0,
  text: 'caf\u00e9',
  truncated: false,
  right: true,
  score: 1,
  survived: true,
  regret: 0,
  diverged: 0,
  generatedTokens: 9,
  rewardTokens: 0,
  processedTokens: 10,
  wallSeconds: 0.5,
  seconds: { decode: 0.5 },
  peakCells: 20
})
const line = (prompt: number) => JSON.stringify({ type: 'row', ...row(prompt) })

const written = async (text: string | Buffer) => {
  const path = join(folder, `${Math.random()}.jsonl`)
  await writeFile(path, text)
  return path
}
const refused = (path: string) =>
  BenchFile.open(path, identity).then(
    () => Promise.reject(new Error('it opened')),
    (error: Error & { code: string }) => error
  )

describe("a bench's file", () => {
  it('gives back the rows that were appended, and leaves failures out', async () => {
    const path = join(folder, 'new.jsonl')
    const file = await BenchFile.open(path, identity)
    expect(file.done).toEqual([])
    await file.append('row', row(0))
    await file.append('failure', { prompt: 1, arm: 'best-of-n', code: 'PROMPT_TOO_LONG', message: 'no' })
    const killing = { ...row(2), kills: [{ tokens: 4, killed: 3 }] }
    await file.append('row', killing)
    expect((await BenchFile.open(path, identity)).done).toEqual([row(0), killing])
    expect((await readFile(path, 'utf8')).split('\n')[0]).toBe(header)
  })

  it.each([
    ['without its end', '{"type":"row","prom'],
    ['within a letter', Buffer.from(line(1)).subarray(0, Buffer.from(line(1)).indexOf(0xa9))],
    ['filled with zeros by the disk', `${'\0'.repeat(40)}\n`],
    ['with a line feed', '{"type":"row","prom\n\n']
  ])('drops a last line that was cut off, %s, and writes on after the one before', async (_, torn) => {
    const path = await written(Buffer.concat([Buffer.from(`${header}\n${line(0)}\n`), Buffer.from(torn)]))
    const file = await BenchFile.open(path, identity)
    expect(file.done).toEqual([row(0)])
    await file.append('row', row(1))
    expect(await readFile(path, 'utf8')).toBe(`${header}\n${line(0)}\n${line(1)}\n`)
  })

  it('begins anew where not even the first line was whole', async () => {
    const path = await written(header.slice(0, 9))
    expect((await BenchFile.open(path, identity)).done).toEqual([])
    expect(await readFile(path, 'utf8')).toBe(`${header}\n`)
  })

  it.each([
    ['no JSON', '{"type":"row","prom', '"{\\"type\\":\\"row\\",\\"prom"'],
    ['of another kind', '{"type":"rows"}', '"{\\"type\\":\\"rows\\"}"'],
    ['without its numbers', '{"type":"row","prompt":1,"arm":"a","setting":"b"}', '"{\\"type\\":\\"row\\"'],
    ['about kills that are none', line(1).replace(/}$/, ',"kills":[{"tokens":4,"killed":-1}]}'), '"{'],
    ['about kills without a number', line(1).replace(/}$/, ',"kills":[null]}'), '"{'],
    ['about kills at no token', line(1).replace(/}$/, ',"kills":[{"tokens":0,"killed":1}]}'), '"{'],
    ['with kills that are no list', line(1).replace(/}$/, ',"kills":{}}'), '"{'],
    ['null', 'null', '"null"'],
    ['empty', '', '""']
  ])('is refused with the number of a line within it that is %s, and stays as it is', async (_, corrupt, received) => {
    const text = `${header}\n${line(0)}\n${corrupt}\n${line(2)}\n`
    const path = await written(text)
    const { code, message } = await refused(path)
    expect(code).toBe('RESULTS_CORRUPT')
    expect(message).toContain(`Expected a row of winnow bench for line 3 of ${path} but received ${received}`)
    expect(await readFile(path, 'utf8')).toBe(text)
  })

  it.each(['{"prompt":"one","answer":7}\n{"prompt":"two"}\n', 'notes', '# notes\nmore\n', '[1]\n', 'null\n'])(
    'is refused when it is somebody else\u2019s, and stays as it is: %j',
    async (text) => {
      const path = await written(text)
      const { code, message } = await refused(path)
      expect(code).toBe('RESULTS_MISMATCH')
      expect(message).toBe(`Expected a new file or one written by winnow bench for --out but received "${path}"`)
      expect(await readFile(path, 'utf8')).toBe(text)
    }
  )

  it('is refused under other conditions, and the sentence names them', async () => {
    const path = await written(`{"type":"bench","seed":"1","n":8,"alpha":0.5}\n${line(0)}\n`)
    const { code, message } = await refused(path)
    expect(code).toBe('RESULTS_MISMATCH')
    expect(message).toContain(`but received ${path}, which differs in seed, alpha`)
  })

  it('that cannot be written is an error with the reason', async () => {
    expect(await refused(join(folder, 'no', 'such.jsonl'))).toMatchObject({ code: 'WRITE_FAILED' })
    expect(await refused(folder)).toMatchObject({ code: 'WRITE_FAILED' })
  })
})
