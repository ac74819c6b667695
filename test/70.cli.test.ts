import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { loadBinding } from '../src/binding.js'
import { main } from '../src/cli/main.js'
import type { open } from '../src/engine.js'
import { expected, WinnowError } from '../src/errors.js'
import { writeHeadFile } from '../src/heads/file.js'
import { sha256 } from '../src/model.js'
import { fakeEngine } from './fakes/engine.js'
import type { Script } from './fakes/pool.js'
import { fakeTerminal } from './fakes/terminal.js'

const answer = (id: number) => `The answer is ${id === 5 ? 7 : 1}.`
const script: Script = {
  length: (id) => answer(id).length,
  token: (id, position) => answer(id).charCodeAt(position),
  score: (id, tokens) => (id === 5 && tokens > 10 ? 20 : id)
}

/** How long a test waits for what it is about, milliseconds: whatever else the machine has to do. */
const patience = { timeout: 30_000, interval: 1 }

let folder = ''
let model = ''
let problems = ''
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'winnow-cli-'))
  // The fake engine reads no model, but results carry the checksum of the file.
  model = join(folder, 'model.gguf')
  problems = join(folder, 'problems.jsonl')
  await writeFile(model, 'GGUF')
  await writeFile(problems, ['one', 'two', 'three'].map((prompt) => JSON.stringify({ prompt, answer: 7 })).join('\n'))
})
afterAll(() => rm(folder, { recursive: true }))
afterEach(() => vi.useRealTimers())

const opening = (running: Script = script, head = true): typeof open =>
  (async () => {
    const fake = fakeEngine(running, { head, facts: { path: model } })
    if (fake.head !== null) Object.assign(fake.head.facts, { path: model })
    return fake.engine
  }) as typeof open

async function winnow(argv: string[], options: Parameters<typeof fakeTerminal>[0] = {}, opened = opening()) {
  const terminal = fakeTerminal(options)
  const code = await main(argv, terminal, opened)
  return { code, out: terminal.out(), err: terminal.err(), terminal }
}

describe('winnow run', () => {
  it('prints the winner and the cost on stdout, and nothing else there', async () => {
    const { code, out, err } = await winnow(['run', 'hi', '-n', '8', '--checkpoints', '4'])
    expect(code).toBe(0)
    expect(out).toMatch(/^The answer is 7\.\n\n#5 of 8 wins with 20\.00 \(head\), ended by end\n/)
    expect(out).toMatch(/\d+ tokens written, about \d+ not \(\d+%, estimated\); \d+\.\d\d s \(prefill/)
    expect(err).toContain('4 tokens deep: 4 of 8 live, 4 killed now')
  })

  it('compares with best-of-N on the same candidates', async () => {
    const { out } = await winnow(['run', 'hi', '-n', '8', '--checkpoints', '4', '--compare'])
    expect(out).toMatch(/best-of-n\s+128 /)
    expect(out).toMatch(/spec-reject\s+80 /)
    expect(out).toMatch(/of best-of-n\s+63% .* same pick/)
  })

  it('says so when it ranks by log-probability for want of a head', async () => {
    const { out } = await winnow(['run', 'hi', '-n', '4'], {}, opening(script, false))
    expect(out).toContain('(mean-logprob)')
    expect(out).toContain('Ranked by mean log-probability, for want of a reward head.')
  })

  it('prints one JSON object that can be made again from what it says', async () => {
    const { out, code } = await winnow(['run', 'hi', '-n', '4', '--seed', '18446744073709551615', '--json', '--quiet'])
    const result = JSON.parse(out)
    expect(code).toBe(0)
    expect(result).toMatchObject({
      schemaVersion: 1,
      seed: '18446744073709551615',
      prompt: 'hi',
      text: 'The answer is 1.',
      policy: 'spec-reject',
      scorer: 'head',
      reason: 'settled',
      options: {
        candidates: 4,
        alpha: 0.5,
        checkpoints: 'doubling:32',
        maxTokens: 512,
        deterministic: false,
        gpu: 'auto',
        gpuLayers: -1,
        threads: availableParallelism(),
        kvType: 'f16',
        batch: 512,
        flashAttention: 'auto',
        drawing: 'auto',
        layout: 'streams'
      },
      failure: null,
      versions: { winnow: expect.any(String), llama: 'none' },
      hardware: { cores: expect.any(Number) },
      model: { file: 'model.gguf', sha256: expect.stringMatching(/^[0-9a-f]{64}$/) }
    })
    expect(result.branches).toHaveLength(4)
    expect(result.branches[0]).toMatchObject({ id: 0, text: 'The answer is 1.', tokens: 16 })
  })

  it('says in JSON what margin the policy has, if it knows one', async () => {
    const marginOf = async (policy: string) => {
      const { out } = await winnow(['run', 'hi', '-n', '4', '--json', '--quiet', '--margin', '1.5', '--policy', policy])
      return JSON.parse(out).options.margin
    }
    expect(await marginOf('spec-reject')).toBe(1.5)
    expect(await marginOf('random-kill')).toBeNull()
    expect(await marginOf('best-of-n')).toBeNull()
  })

  it('says in JSON which head file the scorer named has read', async () => {
    // The scripted engine loads no libraries, and the head must not choose for the whole process.
    loadBinding({ gpu: 'cpu' })
    const path = join(folder, 'own,head.gguf')
    const outer = { weight: new Float32Array(8), bias: Float32Array.of(1) }
    const shape = { width: 8, features: [], inner: null, activation: 'silu' } as const
    await writeHeadFile(path, { ...shape, outer, trainedOn: 'nothing', modelSha256: '' })
    const headsOf = async (...more: string[]) => {
      const { out } = await winnow(['run', 'hi', '-n', '2', '--json', '--quiet', ...more])
      return JSON.parse(out).heads
    }
    expect(await headsOf('--scorer', `head@${path}`)).toEqual({ [`head@${path}`]: await sha256(path) })
    expect(await headsOf('--scorer', `head@"${path}"`)).toEqual({ [`head@${path}`]: await sha256(path) })
    expect(await headsOf()).toEqual({})
  })

  it('prints what there is when the scorer fails, says why, and exits with 1', async () => {
    const failing = opening({ ...script, fail: { operation: 'score', code: 'DECODE_FAILED' } })
    const { code, out, err } = await winnow(['run', 'hi', '-n', '2', '--json', '--quiet'], {}, failing)
    const failure = { code: 'DECODE_FAILED', message: 'The scripted pool says DECODE_FAILED' }
    expect(JSON.parse(out)).toMatchObject({ reason: 'failed', failure, winner: null })
    expect({ code, err }).toEqual({ code: 1, err: 'winnow: The scripted pool says DECODE_FAILED\n' })
  })

  it('draws the branches over each other on a terminal, within its width', async () => {
    const { err } = await winnow(['run', 'hi', '-n', '200', '--checkpoints', '2,4,8'], {
      tty: true,
      env: { NO_COLOR: '1' }
    })
    const esc = '\u001b'
    expect(err).toContain(`${esc}[7A${esc}[J`)
    expect(err).toContain('×')
    expect(err).not.toContain(`${esc}[32m`)
    const text = err.replaceAll(new RegExp(`${esc}\\[\\d*[AJ]`, 'g'), '')
    for (const line of text.split('\n')) expect([...line].length).toBeLessThan(80)
    // However fast it went, how it ended is shown.
    expect(text).toMatch(/16 tokens deep {2}0 live {2}25 finished {2}175 killed.*\n.*\n$/)
  })

  it('draws nothing on a build server, and says how far it is', async () => {
    const { err } = await winnow(['run', 'hi', '-n', '8', '--checkpoints', '4'], { tty: true, env: { CI: 'true' } })
    expect(err).toBe('4 tokens deep: 4 of 8 live, 4 killed now\n')
  })

  it('computes with a thread a core at most, and says so once', async () => {
    const cores = availableParallelism()
    const { out, err } = await winnow(['run', 'hi', '-n', '2', '--threads', '512', '--json'])
    expect(err.match(/threads/g)).toHaveLength(1)
    expect(err).toContain(`Using ${cores} of the 512 threads asked for: one a core.\n`)
    expect(JSON.parse(out).options.threads).toBe(cores)
  })

  it('colours where that is wanted', async () => {
    const colored = await winnow(['run', 'hi', '-n', '4', '--checkpoints', '4'], { tty: true })
    expect(colored.err).toContain('\u001b[32m')
  })

  it('is quiet when told to', async () => {
    const { err } = await winnow(['run', 'hi', '-n', '4', '--quiet'], { tty: true })
    expect(err).toBe('')
  })

  it('reads the prompt from standard input for "-"', async () => {
    const { out } = await winnow(['run', '-', '-n', '2', '--json'], { stdin: 'piped\n' })
    expect(JSON.parse(out).prompt).toBe('piped')
  })

  it('takes the best so far at the first interrupt and exits with 130', async () => {
    const terminal = fakeTerminal()
    const slow = opening({ ...script, length: () => 400, token: () => 97, stepMs: 5 })
    const running = main(['run', 'hi', '-n', '2'], terminal, slow)
    await vi.waitUntil(() => terminal.err().includes('32 tokens deep'), patience)
    terminal.send('SIGINT')
    const code = await running
    expect(code).toBe(130)
    expect(terminal.out()).toMatch(/^a+\n\nEnded early: stopped\. This is the best so far\./)
    expect(terminal.err()).toContain('interrupt again to stop at once')
    expect(terminal.exits).toEqual([])
  })

  it('exits at once at the second', async () => {
    const terminal = fakeTerminal()
    const slow = opening({ ...script, length: () => 100, stepMs: 5 })
    const running = main(['run', 'hi', '-n', '2'], terminal, slow)
    await vi.waitUntil(() => terminal.err().includes('32 tokens deep'), patience)
    terminal.send('SIGTERM')
    terminal.send('SIGTERM')
    await running
    expect(terminal.exits).toEqual([143])
  })

  it('ends with the best so far at a deadline', async () => {
    const slow = opening({ ...script, length: () => 400, token: () => 97, stepMs: 5 })
    const { code, out } = await winnow(['run', 'hi', '-n', '2', '--deadline', '0.05'], {}, slow)
    expect(code).toBe(0)
    expect(out).toContain('Ended early: deadline')
  })
})

describe('bad input to the command line', () => {
  it.each([
    [['run', 'x', '-n', '0'], 2, 'Expected a whole number from 1 to 4096 for n but received 0'],
    [['run', 'x', '-n', '1e9'], 2, 'Expected a whole number from 1 to 4096 for n but received 1000000000'],
    [['run', 'x', '-n', 'NaN'], 2, 'Expected a number for --candidates but received "NaN"'],
    [['run', 'x', '--alpha', '1.5'], 2, 'Expected a number from 0 to below 1 for alpha but received 1.5'],
    [['run', 'x', '--alpa', '1'], 2, "error: unknown option '--alpa'\n(Did you mean --alpha?)"],
    [['run', 'x', '--policy', 'spec-rejct'], 2, 'did you mean "spec-reject"?'],
    [
      ['run', 'x', '--policy', 'spec-reject-paper', '--margin', '1'],
      2,
      "Expected no margin for the paper's rule but received 1"
    ],
    [['run', 'x', '--checkpoints', 'often'], 2, 'Expected token counts such as "64,128", or "every:32"'],
    [['run', 'x', '--temperature', '-1'], 2, 'Expected a number from 0 to 100 for sampling.temperature'],
    [['run', 'x', '--max-tokens', '0'], 2, 'for maxTokens but received 0'],
    [['run', 'x', '--seed', '-1'], 2, 'Expected a whole number from 0 to 2^64-1 for --seed but received "-1"'],
    [['run', 'x', '--gpu', 'rocm'], 2, 'for gpu but received "rocm"'],
    [
      ['run', 'x', '--deadline', '0'],
      2,
      'Expected a number of seconds above 0 and at most 2000000 for --deadline but received "0"'
    ],
    [['run', 'x', '--deadline', 'soon'], 2, 'for --deadline but received "soon"'],
    [['run', 'x', '--checkpoints', 'every:8:9'], 2, 'for checkpoints but received "every:8:9"'],
    [['run', 'x', '--threads', '513'], 2, 'Expected a whole number from 0 to 512 for threads but received 513'],
    [['run', ''], 2, 'Expected text for the prompt but received ""'],
    [['run', 'x'.repeat(2000)], 1, 'Expected at most 1023 tokens for the prompt'],
    [['bench', '--prompts', '/nowhere/p.jsonl'], 1, '/nowhere/p.jsonl, which does not exist'],
    [['bench', '--policies', 'best-of-n,,x'], 2, 'Expected policies separated by commas'],
    [['bench', '--output', 'xml'], 2, 'Expected one of text, md, csv, jsonl for --output but received "xml"'],
    [['bench', '--limit', '-1'], 2, 'Expected a whole number, 0 or more for --limit but received -1'],
    [['rum'], 2, "unknown command 'rum'"]
  ])('%j exits with %i and a sentence', async (argv, exitCode, sentence) => {
    const { code, out, err } = await winnow(argv)
    expect(err).toContain(sentence)
    expect(code).toBe(exitCode)
    expect(out).toBe('')
    expect(err).not.toMatch(/\n\s+at /)
  })

  it('in a line of problems names the line', async () => {
    const path = join(folder, 'bad.jsonl')
    await writeFile(path, '{"prompt":"a"}\n{"prompt":\n')
    const { code, err } = await winnow(['bench', '--prompts', path])
    expect(err).toContain(`Expected a JSON object for line 2 of ${path} but received`)
    expect(code).toBe(1)
  })

  it.each([
    ['MODEL_NOT_FOUND', 1],
    ['HEAD_WIDTH', 1],
    ['OPTION_INVALID', 2],
    ['GRAMMAR_INVALID', 2],
    ['TOKEN_INVALID', 2],
    ['ADDON_MISSING', 4],
    ['OUT_OF_MEMORY', 4]
  ])('%s on opening exits with %i', async (code, exitCode) => {
    const refusing = (async () => {
      throw new WinnowError(code, 'Expected something else')
    }) as typeof open
    const result = await winnow(['run', 'x'], {}, refusing)
    expect(result).toMatchObject({ code: exitCode, out: '', err: 'winnow: Expected something else\n' })
  })

  it('shows a stack only with --verbose', async () => {
    const refusing = (async () => {
      throw expected('MODEL_NOT_FOUND', 'a', 'b', 'c')
    }) as typeof open
    expect((await winnow(['run', 'x', '--verbose'], {}, refusing)).err).toMatch(/\n\s+at /)
  })
})

describe('settings', () => {
  const options = async (argv: string[], terminal: Parameters<typeof fakeTerminal>[0]) =>
    JSON.parse((await winnow(['run', 'hi', '--json', ...argv], terminal)).out).options

  it('come from a flag before the environment before the project before the default', async () => {
    await writeFile(
      join(folder, 'winnow.config.json'),
      '{"candidates": 3, "alpha": 0.25, "maxTokens": 99, "raw": true}'
    )
    vi.stubEnv('WINNOW_ALPHA', '0.75')
    vi.stubEnv('WINNOW_CANDIDATES', '5')
    try {
      expect(await options(['-n', '7'], { cwd: folder })).toMatchObject({
        candidates: 7,
        alpha: 0.75,
        maxTokens: 99,
        raw: true,
        sampling: { temperature: 1 }
      })
    } finally {
      vi.unstubAllEnvs()
    }
  })

  it.each([
    ['1', true],
    ['TRUE', true],
    ['0', false],
    ['false', false]
  ])('of a flag without a value are on or off in the environment: %s is %s', async (text, on) => {
    vi.stubEnv('WINNOW_RAW', text)
    vi.stubEnv('WINNOW_NO_DETERMINISTIC', text)
    try {
      expect(await options([], { cwd: folder })).toMatchObject({ raw: on })
      const { out } = await winnow(['bench', '--prompts', problems, '-n', '2', '--json', '--quiet'])
      expect(JSON.parse(out).options).toMatchObject({ raw: on, deterministic: !on })
      expect((await winnow(['run', 'hi', '--json', '--raw'])).out).toContain('"raw":true')
    } finally {
      vi.unstubAllEnvs()
    }
  })

  it('of a flag without a value are refused in the environment as anything else', async () => {
    vi.stubEnv('WINNOW_RAW', 'maybe')
    try {
      const { code, err } = await winnow(['run', 'hi'])
      expect(err).toContain('Expected true, false, 1 or 0 for WINNOW_RAW but received "maybe"')
      expect(code).toBe(2)
    } finally {
      vi.unstubAllEnvs()
    }
  })

  it('in a project file that cannot be read keep neither help nor doctor from working', async () => {
    const cwd = await mkdtemp(join(folder, 'broken-'))
    await writeFile(join(cwd, 'winnow.config.json'), '{"alpa":')
    for (const argv of [['--help'], ['run', '--help'], ['--version'], ['doctor', '--gpu', 'cpu']]) {
      expect(await winnow(argv, { cwd })).toMatchObject({ code: 0, err: '' })
    }
    expect(await winnow(['run', 'hi'], { cwd })).toMatchObject({ code: 2, out: '' })
  })

  it.each([
    ['{"alpa": 1}', 'did you mean "alpha"?'],
    ['[]', 'Expected a JSON object for'],
    ['{"raw": 3}', 'Expected true or false for raw in'],
    ['{"alpha": {}}', 'Expected text or a number for alpha in'],
    ['{', 'Expected a JSON object in']
  ])('in a project file as %s are refused', async (text, sentence) => {
    await writeFile(join(folder, 'winnow.config.json'), text)
    const { code, err } = await winnow(['run', 'hi'], { cwd: folder })
    expect(err).toContain(sentence)
    expect(code).toBe(2)
    await rm(join(folder, 'winnow.config.json'))
  })

  it('in a project file are read for the command that runs alone, and where nothing comes before them', async () => {
    const cwd = await mkdtemp(join(folder, 'own-'))
    const settings = { alpha: 'much', policies: {}, grammar: 'none.gbnf' }
    await writeFile(join(cwd, 'winnow.config.json'), JSON.stringify(settings))
    const grammar = join(folder, 'one.gbnf')
    await writeFile(grammar, 'root ::= "1"')
    expect(await winnow(['run', 'hi', '--alpha', '0.5', '--grammar', grammar], { cwd })).toMatchObject({ code: 0 })
    const { code, err } = await winnow(['run', 'hi', '--alpha', '0.5'], { cwd })
    expect(err).toContain('Expected a file that can be read for --grammar')
    expect(code).toBe(2)
    // It gets as far as its own mistake.
    const calibration = await winnow(['calibrate', '-n', '0'], { cwd })
    expect(calibration.err).toContain('from 1 to 256 for n but received 0')
  })

  it('are all in the help, with their defaults', async () => {
    const { out, code } = await winnow(['run', '--help'])
    expect(code).toBe(0)
    for (const flag of ['-m, --model', '-n, --candidates', '--alpha', '--checkpoints', '--seed', '--json', '--raw']) {
      expect(out).toContain(flag)
    }
    expect(out.replaceAll(/\s+/g, ' ')).toContain('env: WINNOW_MAX_TOKENS')
  })
})

describe('winnow bench', () => {
  const policies = 'best-of-n,spec-reject,random-kill,best-of-n:equal-tokens=spec-reject,best-of-n:n=1'
  const base = () => [
    'bench',
    '--prompts',
    problems,
    '-n',
    '8',
    '--checkpoints',
    '4',
    '--policies',
    policies,
    '--quiet'
  ]

  it('prints JSON with provenance, options, means with intervals and paired differences', async () => {
    const { out, code } = await winnow([...base(), '--json', '--limit', '2'])
    const result = JSON.parse(out)
    expect(code).toBe(0)
    expect(result).toMatchObject({
      schemaVersion: 1,
      seed: '0',
      reference: 'best-of-n',
      command: expect.stringMatching(/^winnow bench --prompts .* --limit 2$/),
      interrupted: false,
      options: { n: 8, alpha: 0.5, checkpoints: 'at:4', deterministic: true },
      prompts: { file: 'problems.jsonl', requested: 2, complete: 2, failures: [] }
    })
    const [reference, reject] = result.policies
    for (const key of [
      'accuracy',
      'meanScore',
      'generatedTokens',
      'processedTokens',
      'wallSeconds',
      'survival',
      'regret'
    ]) {
      expect(reject[key]).toEqual({ mean: expect.any(Number), low: expect.any(Number), high: expect.any(Number) })
    }
    expect(reject).toMatchObject({ policy: 'spec-reject', n: 8, prompts: 2, peakCells: expect.any(Number) })
    expect(reject.versus['best-of-n:equal-tokens=spec-reject'].accuracy).toHaveProperty('low')
    expect(reference.survival.mean).toBe(1)
  })

  it.each([
    ['text', /^policy +n +prompts/],
    ['md', /^\| policy +\| +n \|/],
    ['csv', /^policy,n,prompts,accuracy,accuracyLow,accuracyHigh,.*\nbest-of-n,8,3,1,1,1,/],
    ['jsonl', /^\{"policy":"best-of-n","n":8,"prompts":3,"accuracy":\{"mean":1,"low":1,"high":1\}/]
  ])('prints its table as %s', async (style, start) => {
    const { out } = await winnow([...base(), '--output', style])
    expect(out).toMatch(start)
    expect(out).toContain('spec-reject')
  })

  it('prints as jsonl what --json says of each policy, and leaves out of csv what is not known', async () => {
    const plain = [...base(), '--prompts', problems]
    const lines = (await winnow([...plain, '--output', 'jsonl'])).out.trimEnd().split('\n')
    const { policies: said } = JSON.parse((await winnow([...plain, '--json'])).out)
    const keys = (value: object) => Object.keys(value).sort()
    expect(lines.map((line) => keys(JSON.parse(line)))).toEqual(said.map(keys))
    const { out } = await winnow([
      'bench',
      '--prompts',
      problems,
      '-n',
      '2',
      '--policies',
      'spec-reject',
      '--output=csv'
    ])
    const [columns, cells] = out.split('\n').map((line) => line.split(','))
    expect(cells?.[columns?.indexOf('survival') ?? -1]).toBe('')
    expect(Number(cells?.[columns?.indexOf('generatedTokens') ?? -1])).toBeGreaterThan(0)
  })

  it('keeps every finished row when it is interrupted, and goes on from there', async () => {
    const file = join(folder, 'rows.jsonl')
    const terminal = fakeTerminal()
    const slow = opening({ ...script, stepMs: 2 })
    const running = main([...base(), '--out', file], terminal, slow)
    const written = async () => (await readFile(file, 'utf8').catch(() => '')).split('\n').length
    await vi.waitUntil(async () => (await written()) > 3, patience)
    terminal.send('SIGINT')
    expect(await running).toBe(130)
    expect(terminal.err()).toContain(`Run the same command again to go on from ${file}.`)
    const before = (await readFile(file, 'utf8')).trimEnd().split('\n')
    expect(before.length).toBeGreaterThan(1)
    expect(before.length).toBeLessThan(16)
    // As if the process had died in the middle of a line.
    await writeFile(file, `${before.join('\n')}\n{"type":"row","prom`)
    const { code, out } = await winnow([...base(), '--out', file, '--json'])
    expect(code).toBe(0)
    const after = (await readFile(file, 'utf8')).trimEnd().split('\n')
    expect(after.slice(0, before.length)).toEqual(before)
    expect(after).toHaveLength(1 + 15)
    const keys = after
      .slice(1)
      .map((line) => JSON.parse(line))
      .map(({ prompt, arm }) => `${prompt} ${arm}`)
    expect(new Set(keys).size).toBe(15)
    expect(JSON.parse(out).prompts.complete).toBe(3)
  })

  it('measures again in the same file what an arm of that name meant otherwise before', async () => {
    const file = join(folder, 'renamed.jsonl')
    const run = async (...more: string[]) => {
      const argv = ['bench', '--prompts', problems, '-n', '8', '--checkpoints', '4', '--quiet', '--out', file]
      const { out } = await winnow([...argv, '--json', ...more])
      const [, ...lines] = (await readFile(file, 'utf8')).trimEnd().split('\n')
      const { policies } = JSON.parse(out)
      const tokens = policies.find(({ policy }: { policy: string }) => policy.startsWith('spec-reject')).generatedTokens
      return { rows: lines.length, tokens: tokens.mean as number }
    }
    const alone = await run('--policies', 'spec-reject')
    expect(alone.rows).toBe(3)
    // The reference comes later, then the default alpha changes.
    const compared = await run('--policies', 'best-of-n,spec-reject')
    expect(compared).toEqual({ rows: 9, tokens: alone.tokens })
    const harsher = await run('--policies', 'best-of-n,spec-reject', '--alpha', '0.75')
    expect(harsher.rows).toBe(12)
    expect(harsher.tokens).toBeLessThan(alone.tokens)
    expect(await run('--policies', 'best-of-n,spec-reject', '--alpha', '0.75')).toEqual({ ...harsher, rows: 12 })
  })

  it('refuses to mix rows of other conditions', async () => {
    const file = join(folder, 'mixed.jsonl')
    await winnow([...base(), '--out', file])
    const { code, err } = await winnow([...base(), '--out', file, '--seed', '9'])
    expect(code).toBe(2)
    expect(err).toContain(`received ${file}, which differs in seed\n`)
  })

  it('exits with 3 when some prompts failed, and measures the others', async () => {
    const path = join(folder, 'long.jsonl')
    await writeFile(path, ['short', 'x'.repeat(3000)].map((prompt) => JSON.stringify({ prompt, answer: 7 })).join('\n'))
    const { code, out } = await winnow(['bench', '--prompts', path, '-n', '4', '--json', '--quiet'])
    expect(code).toBe(3)
    const { prompts } = JSON.parse(out)
    expect(prompts).toMatchObject({ requested: 2, complete: 1 })
    expect(prompts.failures[0]).toMatchObject({ prompt: 1, code: 'PROMPT_TOO_LONG' })
  })
})
