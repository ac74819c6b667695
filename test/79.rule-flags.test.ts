import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { main } from '../src/cli/main.js'
import type { open } from '../src/engine.js'
import { fakeEngine } from './fakes/engine.js'
import { fakeTerminal } from './fakes/terminal.js'

let folder = ''
/** Files of the folder by name. */
const files = {
  'model.gguf': 'GGUF',
  'prompts.jsonl': '{"prompt":"x"}\n',
  'answer.gbnf': '\uFEFFroot ::= "1"',
  'answer.json': '\uFEFF{"type":"object","properties":{"a":{"type":"null"}}}',
  'wide.json': '{"type":"number","minimum":1}',
  'none.json': '{"type":'
}
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'winnow-rules-'))
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text)
})
afterAll(() => rm(folder, { recursive: true }))

/** Names of files in the folder by their paths. */
const placed = (argv: readonly string[]) => argv.map((text) => (text in files ? join(folder, text) : text))

const opened = (async () =>
  fakeEngine({ length: () => 4 }, { head: false, facts: { path: join(folder, 'model.gguf') } }).engine) as typeof open
const never = (() => Promise.reject(new Error('it was opened'))) as typeof open

async function winnow(argv: readonly string[], opening: typeof open, cwd = folder) {
  const terminal = fakeTerminal({ cwd })
  const code = await main(placed(argv), terminal, opening)
  return { code, out: terminal.out(), err: terminal.err() }
}

/** What the rules of a race with these flags are. */
async function rulesOf(argv: readonly string[], cwd = folder) {
  const { out, err } = await winnow(['run', 'hi', '-n', '2', '--json', '--quiet', ...argv], opened, cwd)
  expect(err).toBe('')
  const { temperature: _, topK: __, topP: ___, minP: ____, ...rules } = JSON.parse(out).options.sampling
  return rules
}

/** A folder whose project has these settings. */
async function project(settings: object): Promise<string> {
  const cwd = await mkdtemp(join(folder, 'project-'))
  await writeFile(join(cwd, 'winnow.config.json'), JSON.stringify(settings))
  return cwd
}

describe('flags of rules', () => {
  it.each([
    [[], {}],
    [['--stop', '\n\n'], { stop: ['\n\n'] }],
    [['--stop', '["a","[b"]'], { stop: ['a', '[b'] }],
    [['--stop', '[b'], { stop: ['[b'] }],
    [['--logit-bias', '15=-5, 28=never,3=+0.5'], { logitBias: { 3: 0.5, 15: -5, 28: false } }],
    [['--logit-bias', '{"15":-5,"28":false}'], { logitBias: { 15: -5, 28: false } }],
    [['--grammar', 'answer.gbnf'], { grammar: 'root ::= "1"' }],
    [['--json-schema', 'answer.json'], { jsonSchema: JSON.parse(files['answer.json'].slice(1)) }],
    [
      ['--repeat-penalty', '1.1', '--dry-multiplier', '0.8', '--dry-last-n', '9'],
      { repeatPenalty: 1.1, dryMultiplier: 0.8, dryPenaltyLastN: 9 }
    ]
  ])('say as they are written: %j', async (argv, rules) => {
    expect(await rulesOf(argv)).toEqual(rules)
  })

  it.each([
    [['--stop', ''], 'for sampling.stop but received'],
    [['--stop', '[""]'], 'for sampling.stop but received an array of 1'],
    [['--stop', '[1]'], 'for sampling.stop but received an array of 1'],
    [
      ['--logit-bias', '15'],
      'Expected TOKEN=VALUE or TOKEN=never, separated by commas, or a JSON object for --logit-bias'
    ],
    [['--logit-bias', '15=much'], 'for --logit-bias but received "15=much"'],
    [['--logit-bias', '{"15":'], 'for --logit-bias but received'],
    [['--logit-bias', '15=101'], 'by token id for sampling.logitBias'],
    [['--logit-bias', '015=1'], 'by token id for sampling.logitBias'],
    [['--logit-bias', '{"15":true}'], 'by token id for sampling.logitBias'],
    [['--grammar', '/nowhere/a.gbnf'], 'Expected a file that can be read for --grammar but received "/nowhere/a.gbnf"'],
    [['--json-schema', 'none.json'], /^winnow: Expected JSON for --json-schema but received ".*none\.json": .*JSON/],
    [
      ['--json-schema', 'wide.json'],
      'Expected only keywords a grammar can keep (type) for jsonSchema but received "minimum"'
    ],
    [['--grammar', 'answer.gbnf', '--json-schema', 'answer.json'], 'not both'],
    [['--repeat-penalty', '0'], 'Expected a number from 0.01 to 100 for sampling.repeatPenalty but received 0'],
    [['--dry-base', 'x'], 'Expected a number for --dry-base but received "x"']
  ])('are refused before a model is opened, by every command that has them: %j', async (argv, sentence) => {
    const sampled = ['--prompts', 'prompts.jsonl', '--out', join(folder, 'never.jsonl')]
    for (const command of [['run', 'hi'], ['sample', ...sampled], ['bench'], ['plan', 'hi']]) {
      const { code, out, err } = await winnow([...command, ...argv], never)
      expect({ code, out }).toEqual({ code: 2, out: '' })
      expect(err).toMatch(sentence)
    }
  })

  it('come from a project as JSON has them, or as flags do', async () => {
    const settings = { stop: ['a', 'b'], logitBias: { 15: -5, 28: false } }
    expect(await rulesOf([], await project(settings))).toEqual(settings)
    expect(await rulesOf([], await project({ stop: 'a', logitBias: '15=-5' }))).toEqual({
      stop: ['a'],
      logitBias: { 15: -5 }
    })
    expect(await rulesOf(['--stop', 'c'], await project({ stop: {} }))).toEqual({ stop: ['c'] })
  })

  it.each([{ stop: {} }, { stop: null }, { logitBias: [1] }, { grammar: ['a'] }, { alpha: [1] }])(
    'are refused from a project as anything else: %j',
    async (settings) => {
      const { code, err } = await winnow(['run', 'hi'], never, await project(settings))
      expect(err).toContain(`Expected text or a number for ${Object.keys(settings)[0]} in`)
      expect(code).toBe(2)
    }
  )
})
