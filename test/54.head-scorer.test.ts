import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseArm } from '../src/arm.js'
import { every } from '../src/checkpoint.js'
import { embedded, example } from '../src/embedded.js'
import { type Engine, open } from '../src/engine.js'
import { sha256 } from '../src/model.js'
import type { Result } from '../src/result.js'
import { headFile } from '../src/scorers/head-file.js'
import { linearHead } from './fakes/linear-head.js'
import { FakeModel } from './fakes/model.js'

let folder = ''
let engine: Engine
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'winnow-head-file-'))
  engine = await open(undefined, { threads: 1, head: null })
})
afterAll(async () => {
  await engine.close()
  await rm(folder, { recursive: true })
})

function linear(name: string, width: number): Promise<string> {
  const weight = Float32Array.from({ length: width }, (_, i) => i % 3)
  return linearHead(join(folder, name), weight, 2)
}

const race = { seed: 3, maxTokens: 40, checkpoints: every(8) }
const scoresOf = ({ branches }: Result) => branches.map(({ scores }) => scores)

describe('a head in a file of its own', () => {
  it('scores as if the engine had been opened with it, race after race', async () => {
    const scorer = headFile(embedded.head)
    const own = [1, 2].map(() => engine.bestOf(4, example.prompt, { ...race, scorer }))
    await using opened = await open(undefined, { threads: 1 })
    const expected = scoresOf(await opened.bestOf(4, example.prompt, race))
    for (const result of await Promise.all(own)) expect(scoresOf(result)).toEqual(expected)
  })

  it('ranks beside another one on the same engine', async () => {
    const path = await linear('other.gguf', engine.model.width)
    const [a, b] = [
      await engine.bestOf(4, example.prompt, { ...race, scorer: headFile(path) }),
      headFile(embedded.head)
    ]
    const other = await engine.bestOf(4, example.prompt, { ...race, scorer: b })
    expect(a.branches.map(({ text }) => text)).toEqual(other.branches.map(({ text }) => text))
    expect(scoresOf(a)).not.toEqual(scoresOf(other))
    expect(a.scorer).toBe(`head@${path}`)
  })

  it('is refused where there is none, where it is none, and where it has another width', async () => {
    expect(() => headFile(join(folder, 'none.gguf'))).toThrow(expect.objectContaining({ code: 'HEAD_NOT_FOUND' }))
    const text = join(folder, 'text.gguf')
    await writeFile(text, 'not a head')
    const run = (path: string) => engine.bestOf(2, 'x', { maxTokens: 4, scorer: headFile(path) })
    await expect(run(text)).rejects.toMatchObject({ code: 'HEAD_CORRUPT' })
    await expect(run(await linear('narrow.gguf', 7))).rejects.toMatchObject({ code: 'HEAD_WIDTH' })
  })

  it('is refused where the file is another by the time it is opened, and taken once it is back', async () => {
    const path = join(folder, 'moved.gguf')
    await copyFile(embedded.head, path)
    const scorer = headFile(path)
    await copyFile(await linear('later.gguf', engine.model.width), path)
    const run = () => engine.bestOf(2, 'x', { maxTokens: 4, scorer })
    const [before, now] = [scorer.sha256, await sha256(path)]
    await expect(run()).rejects.toMatchObject({
      code: 'HEAD_CORRUPT',
      message: `Expected the reward head of SHA-256 ${before} in ${path} but received one of ${now}`
    })
    await copyFile(embedded.head, path)
    expect((await run()).failure).toBeNull()
  })

  it('is refused by an engine of another width than the first', async () => {
    const scorer = headFile(embedded.head)
    await engine.bestOf(2, 'x', { maxTokens: 4, scorer })
    const { path, width } = engine.model
    const race = { head: null, turns: [], n: 2, atOnce: 2, maxTokens: 4, signal: new AbortController().signal }
    const other = { ...race, model: { ...new FakeModel().facts, path, width: width + 1 } }
    await expect(scorer.begin(other)).rejects.toMatchObject({ code: 'HEAD_WIDTH' })
    expect((await engine.bestOf(2, 'x', { maxTokens: 4, scorer })).failure).toBeNull()
  })

  it('ranks for a policy on the command line, which tells two files of one name apart', async () => {
    const path = join(folder, 'replaced.gguf')
    const arm = () => parseArm(`spec-reject:scorer=head@${path}:name=x`, { alpha: 0.5, checkpoints: every(8) })
    await copyFile(embedded.head, path)
    const before = arm()
    expect(before.definition).toBe(`spec-reject:alpha=0.5:checkpoints=every:8:scorer=head@${path}`)
    expect(before.headSha256).toBe(await sha256(embedded.head))
    await writeFile(path, await readFile(await linear('small.gguf', 3)))
    expect(arm().definition).toBe(before.definition)
    expect(arm().headSha256).not.toBe(before.headSha256)
    expect(parseArm('best-of-n', { alpha: 0.5, checkpoints: every(8) }).headSha256).toBeNull()
  })
})
