import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseProblem, readProblems } from '../src/problems.js'

let folder = ''
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'winnow-'))
})
afterAll(() => rm(folder, { recursive: true }))

const file = async (text: string) => {
  const path = join(folder, `${Math.random()}.jsonl`)
  await writeFile(path, text)
  return path
}

describe('problems', () => {
  it('are read one a line, to the limit, empty lines skipped', async () => {
    const path = await file(
      '\uFEFF{"prompt":"a","answer":7}\r\n\n{"prompt":[{"role":"user","content":"b"}]}\n{"prompt":"c"}'
    )
    expect(await readProblems(path, 2)).toEqual([
      { prompt: 'a', answer: '7' },
      { prompt: [{ role: 'user', content: 'b' }], answer: null }
    ])
  })

  it('name the line that cannot be read', async () => {
    const path = await file('{"prompt":"a"}\n\nnonsense\n')
    await expect(readProblems(path)).rejects.toMatchObject({
      code: 'PROBLEMS_INVALID',
      message: `Expected a JSON object for line 3 of ${path} but received "nonsense"`
    })
  })

  it.each([
    ['[]', 'Expected a JSON object for line 1 but received an array of 0'],
    ['7', 'Expected a JSON object for line 1 but received 7'],
    ['{"answer":1}', 'Expected text or messages as "prompt" for line 1 but received nothing'],
    ['{"prompt":""}', 'Expected text or messages as "prompt" for line 1 but received ""'],
    ['{"prompt":[{"role":"user"}]}', 'Expected text or messages as "prompt" for line 1 but received an array of 1'],
    ['{"prompt":"a","answer":" "}', 'Expected text or a number as "answer" for line 1 but received " "'],
    ['{"prompt":"a","answer":{}}', 'Expected text or a number as "answer" for line 1 but received an object']
  ])('refuse %s', (line, sentence) => {
    expect(() => parseProblem(line, 'line 1')).toThrow(sentence)
  })

  it('that are missing or none are errors', async () => {
    await expect(readProblems(join(folder, 'none'))).rejects.toMatchObject({ code: 'PROBLEMS_NOT_FOUND' })
    await expect(readProblems(await file('\n'))).rejects.toMatchObject({ code: 'PROBLEMS_INVALID' })
  })
})
