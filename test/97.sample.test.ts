import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { main } from '../src/cli/main.js'
import { embedded } from '../src/embedded.js'
import type { Engine, open } from '../src/engine.js'
import { WinnowError } from '../src/errors.js'
import { fakeEngine } from './fakes/engine.js'
import type { Script } from './fakes/pool.js'
import { fakeTerminal } from './fakes/terminal.js'

/** A row of the file; the first line says what was run and is not one. */
interface Row {
  readonly id: string | null
  readonly prompt: unknown
  readonly n: number
  readonly text: string
  readonly score: number
  readonly reason: string
  readonly winner: { readonly id: number; readonly tokens: number[]; readonly logprobs: number[] }
  readonly others: { readonly text: string }[]
  readonly usage: { readonly generatedTokens: number }
}

let folder = ''
let problems: string[] = []
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'winnow-sample-'))
  problems = (await readFile(embedded.problems, 'utf8')).split('\n').slice(0, 6)
  await writeFile(join(folder, 'model.gguf'), 'GGUF')
})
afterAll(() => rm(folder, { recursive: true }))

const fresh = () => join(folder, `${Math.random()}.jsonl`)
async function file(...lines: string[]): Promise<string> {
  const path = fresh()
  await writeFile(path, lines.map((line) => `${line}\n`).join(''))
  return path
}
const textOf = (path: string) => readFile(path, 'utf8').catch(() => '')
async function rowsIn(path: string): Promise<Row[]> {
  const lines = (await textOf(path)).trimEnd().split('\n')
  return lines.slice(1).map((line) => JSON.parse(line))
}

async function sample(argv: string[], options: Parameters<typeof fakeTerminal>[0] = {}, opened?: typeof open) {
  const terminal = fakeTerminal(options)
  const code = await main(['sample', ...argv], terminal, opened)
  return { code, out: terminal.out(), err: terminal.err() }
}

const small = ['-n', '8', '--max-tokens', '256', '--threads', '1']

describe('winnow sample on the embedded model', () => {
  it('writes a row for each prompt, and races none of them again', async () => {
    const [prompts, out] = [await file(...problems.slice(0, 3)), fresh()]
    const argv = ['--prompts', prompts, '--out', out, ...small]
    const first = await sample(argv)
    expect(first.err).toBe('0 of 3 prompts\n')
    expect(first.code).toBe(0)
    expect(first.out).toMatch(
      /^3 of 3 prompts are in .*, 3 of them new\n24 candidates, [\d,]+ tokens in .* s: .* candidates\/s, .* tokens\/s\n$/
    )
    const rows = await rowsIn(out)
    expect(rows.map(({ prompt }) => prompt).sort()).toEqual(
      problems
        .slice(0, 3)
        .map((line) => JSON.parse(line).prompt)
        .sort()
    )
    for (const { text, n, score, reason, winner, others, usage } of rows) {
      expect(text).toContain('The answer is')
      expect({ n, reason, others }).toEqual({ n: 8, reason: 'settled', others: [] })
      expect(score).toEqual(expect.any(Number))
      expect(winner.tokens.length).toBeGreaterThan(10)
      expect(winner.logprobs).toHaveLength(winner.tokens.length)
      expect(usage.generatedTokens).toBeGreaterThan(winner.tokens.length)
    }
    const before = await textOf(out)
    const again = await sample(argv)
    expect(again.code).toBe(0)
    expect(again.out).toMatch(/^3 of 3 prompts are in .*, 0 of them new\n0 candidates, 0 tokens/)
    expect(await textOf(out)).toBe(before)
    // More prompts in the same file of prompts: what is new is raced.
    await writeFile(prompts, problems.slice(1, 5).join('\n'))
    expect((await sample(argv)).out).toMatch(/^4 of 4 prompts are in .*, 2 of them new/)
    const after = await textOf(out)
    expect(after.startsWith(before)).toBe(true)
    expect(await rowsIn(out)).toHaveLength(5)
    const other = await sample([...argv, '--seed', '1'])
    expect(other.code).toBe(2)
    expect(other.err).toContain(`received ${out}, which differs in seed`)
    expect(await textOf(out)).toBe(after)
  })

  it('stops at the first Ctrl-C with what is done, and the same command goes on to the same rows', async () => {
    const [prompts, out] = [await file(...problems), fresh()]
    const argv = ['--prompts', prompts, '--out', out, ...small, '--concurrency', '2', '--deterministic']
    const terminal = fakeTerminal({ tty: true })
    const running = main(['sample', ...argv], terminal)
    while (!(await textOf(out)).includes('"reason"')) await new Promise((resolve) => setTimeout(resolve, 5))
    const sentAt = performance.now()
    terminal.send('SIGINT')
    expect(await running).toBe(130)
    expect(performance.now() - sentAt).toBeLessThan(5000)
    expect(terminal.exits).toEqual([])
    expect(terminal.err()).toContain('Stopping after this step')
    expect(terminal.err()).toContain(`Interrupted. Run the same command again to go on from ${out}.`)
    const interrupted = await rowsIn(out)
    expect(interrupted.length).toBeGreaterThan(0)
    expect(interrupted.length).toBeLessThan(6)
    expect(terminal.out()).toContain(`${interrupted.length} of 6 prompts are in ${out}`)
    expect((await sample(argv)).code).toBe(0)
    const whole = fresh()
    await sample([...argv.slice(0, 3), whole, ...argv.slice(4)])
    const told = (rows: Row[]) => rows.map(({ prompt, text, score }) => ({ prompt, text, score }))
    const resumed = await rowsIn(out)
    expect(resumed.slice(0, interrupted.length)).toEqual(interrupted)
    expect(resumed).toHaveLength(6)
    expect(told(resumed)).toEqual(expect.arrayContaining(told(await rowsIn(whole))))
  })

  it('goes on when a prompt is too long, says so, and exits with 3', async () => {
    const long = JSON.stringify({ prompt: 'Tom has 1 coin. '.repeat(3000) })
    const [prompts, out] = [await file(long, problems[0] as string), fresh()]
    const { code, err } = await sample(['--prompts', prompts, '--out', out, ...small])
    expect(code).toBe(3)
    expect(err).toMatch(/^prompt 1: .*tokens/m)
    expect(await rowsIn(out)).toHaveLength(1)
  })
})

const answer = (id: number) => `The answer is ${id === 5 ? 7 : 1}.`
const script: Script = {
  length: (id) => answer(id).length,
  token: (id, position) => answer(id).charCodeAt(position),
  score: (id, tokens) => (id === 5 && tokens > 10 ? 20 : id)
}

const chatTemplate = '{% for message in messages %}{{ message.content }}{% endfor %}'

/** An engine that is scripted, whose races may be made to fail. */
const opening = (bestOf: (engine: Engine) => Engine['bestOf'] | null = () => null): typeof open =>
  (async () => {
    const model = join(folder, 'model.gguf')
    const fake = fakeEngine(script, { facts: { path: model, chatTemplate } })
    if (fake.head !== null) Object.assign(fake.head.facts, { path: model })
    const own = bestOf(fake.engine)
    return own === null ? fake.engine : Object.assign(fake.engine, { bestOf: own })
  }) as typeof open

describe('winnow sample', () => {
  const scripted = ['-n', '8', '--checkpoints', '4', '--quiet']

  it('reads text, messages and names, and passes over everything else in a line', async () => {
    const messages = [{ role: 'user', content: 'two\u2028lines' }]
    const prompts = await file(
      '\uFEFF{"prompt":"one","answer":7,"id":1}',
      '',
      JSON.stringify({ messages, id: 'second' }),
      `${JSON.stringify({ prompt: messages })}\r`,
      '{"prompt":"one","id":1}'
    )
    const out = fresh()
    expect((await sample(['--prompts', prompts, '--out', out, ...scripted], {}, opening())).code).toBe(0)
    const rows = await rowsIn(out)
    expect(rows.map(({ id, prompt }) => ({ id, prompt }))).toEqual([
      { id: '1', prompt: 'one' },
      { id: 'second', prompt: messages },
      { id: null, prompt: messages },
      { id: '1', prompt: 'one' }
    ])
    expect(rows[0]).toMatchObject({ text: 'The answer is 7.', score: 20, winner: { id: 5 }, scorer: 'head' })
  })

  it('takes each line for a prompt where it is told to, also from standard input', async () => {
    const out = fresh()
    const argv = ['--prompts', '-', '--format', 'lines', '--out', out, ...scripted]
    await sample(argv, { stdin: 'one\n\n {"prompt":"two"}\r\nthree' }, opening())
    expect((await rowsIn(out)).map(({ prompt }) => prompt)).toEqual(['one', ' {"prompt":"two"}', 'three'])
  })

  it('keeps every candidate with --all', async () => {
    const out = fresh()
    await sample(['--prompts', await file('{"prompt":"x"}'), '--out', out, '--all', ...scripted], {}, opening())
    const [row] = await rowsIn(out)
    expect(row?.others.map(({ text }) => text.length)).toEqual([4, 4, 4, 4, 16, 16, 16])
  })

  it('prints one JSON object that can be made again from what it says', async () => {
    const argv = ['--prompts', await file('{"prompt":"x"}'), '--out', fresh(), '--json', ...scripted]
    const { out } = await sample(argv, {}, opening())
    expect(JSON.parse(out)).toMatchObject({
      schemaVersion: 1,
      command: `winnow sample ${argv.join(' ')}`,
      seed: '0',
      model: { sha256: expect.stringMatching(/^[0-9a-f]{64}$/) },
      options: { candidates: 8, policy: 'spec-reject', alpha: 0.5, margin: 0, checkpoints: 'at:4', keep: 'winner' },
      prompts: { requested: 1, done: 1, resumed: 0, failed: 0 },
      failures: [],
      interrupted: false,
      candidates: 8,
      generatedTokens: expect.any(Number)
    })
  })

  it('says its command without the secrets of an address', async () => {
    const model = 'https://example.org/model.gguf?key=secret'
    const argv = ['--prompts', await file('{"prompt":"x"}'), '--out', fresh(), '--json', ...scripted]
    const { out } = await sample([...argv, '-m', model], {}, opening())
    expect(JSON.parse(out).command).toBe(`winnow sample ${argv.join(' ')} -m https://example.org/model.gguf`)
  })

  it('says on a terminal how far it is, how fast, and how long it will take', async () => {
    const argv = ['--prompts', await file('{"prompt":"x"}', '{"prompt":"y"}'), '--out', fresh(), '-n', '8']
    let calls = 0
    const slow = opening((engine) => async (...args) => {
      // A live line is drawn ten times a second at most.
      await new Promise((resolve) => setTimeout(resolve, 150 * ++calls))
      return Object.getPrototypeOf(engine).bestOf.apply(engine, args)
    })
    const { err } = await sample(argv, { tty: true, columns: 120 }, slow)
    expect(err).toMatch(/\r\S*1 of 2 prompts; [\d.]+ candidates\/s, \d+ tokens\/s; about 1 s left/)
    expect(err.endsWith('\r\u001b[K')).toBe(true)
  })

  it('tells apart runs whose policies have the same name', async () => {
    const argv = ['--prompts', await file('{"prompt":"x"}'), '--out', fresh(), ...scripted]
    await sample(argv, {}, opening())
    const { code, err } = await sample([...argv, '--alpha', '0.25'], {}, opening())
    expect(code).toBe(2)
    expect(err).toMatch(/differs in identity\.alpha\n$/)
  })

  it('ends with the error where the next prompt would fail too, and keeps what is done', async () => {
    let calls = 0
    const full = opening((engine) => async (...args) => {
      if (++calls === 3) throw new WinnowError('OUT_OF_MEMORY', 'The memory is full')
      return Object.getPrototypeOf(engine).bestOf.apply(engine, args)
    })
    const prompts = await file(...Array.from({ length: 9 }, (_, i) => `{"prompt":"p${i}"}`))
    const argv = ['--prompts', prompts, '--out', fresh(), ...scripted, '--concurrency', '1']
    const { code, err } = await sample(argv, {}, full)
    expect({ code, err }).toEqual({ code: 4, err: 'winnow: The memory is full\n' })
    expect((await sample(argv, {}, opening())).out).toMatch(/^9 of 9 prompts are in .*, 7 of them new/)
  })

  it.each([
    ['no prompts', () => ['--out', 'x.jsonl'], 2, 'Expected a path for --prompts but received nothing'],
    ['nowhere to write', () => ['--prompts', 'x.jsonl'], 2, 'Expected a path for --out but received nothing'],
    ['no such file', () => ['--prompts', 'none.jsonl', '--out', fresh()], 1, 'none.jsonl, which does not exist'],
    [
      'another format',
      () => ['--prompts', 'x.jsonl', '--out', fresh(), '--format', 'csv'],
      2,
      'Expected one of jsonl, lines for --format but received "csv"'
    ],
    [
      'no prompts at a time',
      () => ['--prompts', 'x.jsonl', '--out', fresh(), '--concurrency', '0'],
      2,
      'Expected a whole number, 1 or more for --concurrency but received 0'
    ],
    ['too many candidates', () => ['--prompts', 'x.jsonl', '--out', fresh(), '-n', '4097'], 2, 'from 1 to 4096']
  ])('refuses %s before a model is opened', async (_, argv, exitCode, message) => {
    const never = (() => Promise.reject(new Error('it was opened'))) as typeof open
    const { code, err, out } = await sample(argv(), {}, never)
    expect({ code, out }).toEqual({ code: exitCode, out: '' })
    expect(err).toContain(message)
  })

  it.each([
    ['an empty file', [''], 'Expected at least one prompt for'],
    ['what is no JSON', ['{"prompt":"x"}', '{"prompt":'], 'Expected a JSON object for line 2 of'],
    [
      'a line without a prompt',
      ['{"prompt":"x"}', '', '{"id":"a"}'],
      'Expected text or messages as "prompt" for line 3'
    ],
    ['messages that are none', ['{"messages":[{"role":"user"}]}'], 'Expected text or messages as "prompt" for line 1'],
    ['a name that is none', ['{"prompt":"x","id":{}}'], 'Expected text or a number as "id" for line 1']
  ])('refuses %s with the number of the line, before a model is opened', async (_, lines, message) => {
    const never = (() => Promise.reject(new Error('it was opened'))) as typeof open
    const out = fresh()
    const { code, err } = await sample(['--prompts', await file(...lines), '--out', out], {}, never)
    expect(code).toBe(1)
    expect(err).toContain(message)
    expect(await textOf(out)).toBe('')
  })

  it("refuses somebody else's file and leaves it as it is", async () => {
    const [prompts, out] = [await file('{"prompt":"x"}'), await file('{"prompt":"mine"}')]
    const { code, err } = await sample(['--prompts', prompts, '--out', out, ...scripted], {}, opening())
    expect(code).toBe(2)
    expect(err).toContain('Expected a new file or a journal')
    expect(await textOf(out)).toBe('{"prompt":"mine"}\n')
  })

  it('takes its flags from the project too', async () => {
    const cwd = await mkdtemp(join(folder, 'project-'))
    const [prompts, out] = [await file('x'), fresh()]
    await writeFile(join(cwd, 'winnow.config.json'), JSON.stringify({ prompts, out, format: 'lines', candidates: 4 }))
    expect((await sample(['--quiet'], { cwd }, opening())).code).toBe(0)
    expect((await rowsIn(out))[0]).toMatchObject({ prompt: 'x', n: 4 })
  })
})
