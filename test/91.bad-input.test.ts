import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { embedded } from '../src/embedded.js'
import { open } from '../src/engine.js'
import { writeRandomModel } from '../src/random-model.js'

let folder = ''
const at = (name: string) => join(folder, name)

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'winnow-bad-'))
  const model = await readFile(embedded.model)
  const head = await readFile(embedded.head)
  await writeFile(at('text.gguf'), 'this is not a model')
  await writeFile(at('empty.gguf'), '')
  await writeFile(at('header.gguf'), model.subarray(0, 1000))
  await writeFile(at('half.gguf'), model.subarray(0, model.length / 2))
  await writeFile(at('head.gguf'), head.subarray(0, head.length / 2))
  await writeRandomModel(at('wide.gguf'), { width: 128, context: 512 })
  await writeRandomModel(at('odd.gguf'), { context: 300 })
  await writeRandomModel(at('mute.gguf'), { tokenizer: 'none' })
  await writeRandomModel(at('mamba.gguf'), { architecture: 'mamba' })
})
afterAll(() => rm(folder, { recursive: true }))

const refusal = async (promise: Promise<unknown>) => {
  const error = await promise.then(
    () => Promise.reject(new Error('it resolved')),
    (reason: Error & { code?: string }) => reason
  )
  return { code: error.code, message: error.message }
}

describe('a bad model or head is refused with a sentence, and the process lives', () => {
  it.each([
    ['none.gguf', 'MODEL_NOT_FOUND', 'which does not exist'],
    ['.', 'MODEL_NOT_FOUND', 'which is not a file'],
    ['text.gguf', 'MODEL_CORRUPT', 'it does not begin with the bytes GGUF'],
    ['empty.gguf', 'MODEL_CORRUPT', 'it does not begin with the bytes GGUF'],
    ['header.gguf', 'MODEL_CORRUPT', 'Expected a GGUF file for the model'],
    ['half.gguf', 'MODEL_CORRUPT', ''],
    ['mamba.gguf', 'MODEL_UNSUPPORTED', 'recurrent']
  ])('%s', async (name, code, sentence) => {
    const error = await refusal(open(at(name)))
    expect(error.code).toBe(code)
    expect(error.message).toContain(sentence)
  })

  it.each([
    ['none.gguf', 'HEAD_NOT_FOUND', 'which does not exist'],
    ['text.gguf', 'HEAD_CORRUPT', ''],
    ['head.gguf', 'HEAD_CORRUPT', '']
  ])('a head in %s', async (name, code, sentence) => {
    const error = await refusal(open(undefined, { head: at(name) }))
    expect(error.code).toBe(code)
    expect(error.message).toContain(sentence)
  })

  it('a head whose width does not match', async () => {
    const error = await refusal(open(at('wide.gguf'), { head: embedded.head }))
    expect(error.code).toBe('HEAD_WIDTH')
    expect(error.message).toMatch(
      /^Expected a head for states of width 128 for .*wide\.gguf but received one of width \d+/
    )
  })

  it('an unknown option', async () => {
    const error = await refusal(open(undefined, { thread: 4 } as never))
    expect(error.message).toContain('did you mean "threads"?')
  })

  it('a device that is not there', async () => {
    expect((await refusal(open(undefined, { devices: ['Quantum7'] }))).code).toBe('DEVICE_UNKNOWN')
  })
})

describe('bad input to an open model is refused with a sentence, and the engine goes on', () => {
  it('a model without a tokenizer', async () => {
    const engine = await open(at('mute.gguf'))
    const error = await refusal(engine.bestOf(1, 'hi'))
    expect(error.code).toBe('NO_TOKENIZER')
    expect(error.message).toContain('Expected a model with a tokenizer')
    await engine.close()
  })

  it.each([
    [0, 'x', 'OPTION_INVALID'],
    [1e9, 'x', 'OPTION_INVALID'],
    [Number.NaN, 'x', 'OPTION_INVALID'],
    [1, '', 'PROMPT_EMPTY'],
    [1, 'x'.repeat(600), 'PROMPT_TOO_LONG'],
    [1, [{ role: 'user', content: 'hi' }], 'TEMPLATE_MISSING']
  ])('n of %s, prompt %j', async (n, prompt, code) => {
    const engine = await open(at('wide.gguf'), { threads: 1 })
    const error = await refusal(engine.bestOf(n, prompt))
    expect(error.code).toBe(code)
    expect(error.message).toMatch(/^Expected .* but received /)
    const after = await engine.bestOf(2, 'hi', { maxTokens: 4 })
    expect(after.branches).toHaveLength(2)
    expect(after.scorer).toBe('mean-logprob')
    await engine.close()
  })

  it('a context that is no multiple of the cells a stream has is filled to its end', async () => {
    const engine = await open(at('odd.gguf'), { threads: 1 })
    const { branches } = await engine.bestOf(4, 'x'.repeat(250), { maxTokens: 5000 })
    expect(branches.map(({ status }) => status)).toContainEqual({ state: 'finished', reason: 'context' })
    await engine.close()
  })

  it('more tokens than the context holds are cut down, with the reason', async () => {
    const engine = await open(at('wide.gguf'), { threads: 1 })
    const { branches } = await engine.bestOf(2, 'x'.repeat(480), { maxTokens: 5000 })
    for (const { status, tokens } of branches) {
      if (status.state === 'finished' && status.reason === 'context') expect(tokens.length).toBeLessThan(32)
      else expect(status).toEqual({ state: 'finished', reason: 'end' })
    }
    await engine.close()
  })
})
