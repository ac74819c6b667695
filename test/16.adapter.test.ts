import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { type AdapterSet, keyOf, localAdapters } from '../src/adapter.js'
import { main } from '../src/cli/main.js'
import { embedded } from '../src/embedded.js'
import type { open } from '../src/engine.js'
import { sha256 } from '../src/model.js'
import { resolveBestOf } from '../src/options.js'
import { type PoolNeeds, poolsFor } from '../src/streams.js'
import { fakeAdapter, fakePairs } from './fakes/adapter.js'
import { fakeEngine } from './fakes/engine.js'
import { fakeTerminal } from './fakes/terminal.js'

let folder = ''
const at = (name: string) => join(folder, name)
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'winnow-lora-'))
  await writeFile(at('a.gguf'), fakeAdapter(fakePairs(1, 1).slice(0, 1), 1))
  await writeFile(at('b.gguf'), fakeAdapter(fakePairs(2, 1).slice(0, 1), 1))
  await writeFile(at('model.gguf'), 'GGUF')
  await symlink(at('a.gguf'), at('link.gguf'))
})
afterAll(() => rm(folder, { recursive: true }))
afterEach(() => vi.unstubAllEnvs())

describe('adapters as an option', () => {
  it('have a scale of 1 unless they say', () => {
    const asked = [{ path: 'a.gguf' }, { path: 'hf:o/r:b.gguf', scale: -0.5 }]
    expect(resolveBestOf({ lora: asked }).lora).toEqual([
      { path: 'a.gguf', scale: 1 },
      { path: 'hf:o/r:b.gguf', scale: -0.5 }
    ])
    expect(resolveBestOf({}).lora).toEqual([])
  })

  it.each([
    [[{ path: '' }], 'OPTION_INVALID', 'Expected a path or an address for lora.0.path but received ""'],
    [[{ path: 'a', scale: Number.NaN }], 'OPTION_INVALID', 'Expected a finite number for lora.0.scale'],
    [[{ path: 'a' }, { path: 'b', scale: 1e39 }], 'OPTION_INVALID', 'Expected a finite number for lora.1.scale'],
    [[{ path: 'a', sclae: 1 }], 'OPTION_UNKNOWN', 'for lora.0 but received "sclae"; did you mean "scale"?'],
    ['a.gguf', 'OPTION_INVALID', 'Expected an array for lora but received "a.gguf"'],
    [['a.gguf'], 'OPTION_INVALID', 'Expected an object for lora.0 but received "a.gguf"']
  ])('are refused with a sentence: %j', (lora, code, message) => {
    const wrong = { code, message: expect.stringContaining(message) }
    expect(() => resolveBestOf({ lora } as never)).toThrow(expect.objectContaining(wrong))
  })

  it('are the same in any order, under the names that their files have', async () => {
    const [a, b] = [
      { path: at('link.gguf'), scale: 0.1 },
      { path: at('b.gguf'), scale: 1 }
    ]
    const local = await localAdapters([a, b], {})
    expect(local).toEqual([{ path: at('a.gguf'), scale: 0.1 }, b])
    expect(await localAdapters([b, a], {})).toEqual(local)
    const twice = localAdapters([a, { path: at('a.gguf'), scale: 2 }], {})
    await expect(twice).rejects.toMatchObject({ code: 'OPTION_INVALID' })
    const none = localAdapters([{ path: at('none.gguf'), scale: 1 }], {})
    await expect(none).rejects.toMatchObject({ code: 'ADAPTER_NOT_FOUND' })
  })

  it('are told apart by file and scale, and none by what counts nothing', () => {
    const key = (...scales: number[]) => keyOf(scales.map((scale, i) => ({ path: `${i}`, scale })))
    expect(key()).toBe('')
    expect(key(0, -0, 1e-60)).toBe('')
    expect(key(1, 0)).toBe(key(1))
    expect(key(0, 1)).not.toBe(key(1, 0))
    expect(key(0.1)).toBe(key(0.1 + 1e-12))
    expect(key(0.1)).not.toBe(key(0.1 + 1e-6))
  })
})

describe('a pool', () => {
  const adapters = (key: string): AdapterSet => ({ key, members: [] })
  const needs = (streams: number, own: Partial<PoolNeeds> = {}): PoolNeeds => {
    return { streams, cellsPerStream: 256, states: true, deterministic: false, ...own }
  }

  it('that would serve is given other adapters before another is made', () => {
    const held = needs(8, { adapters: adapters('a') })
    expect(poolsFor(held, needs(4, { adapters: adapters('a') }))).toEqual([held])
    const other = needs(4, { states: false, adapters: adapters('b') })
    expect(poolsFor(held, other)).toEqual([{ ...held, adapters: other.adapters }, other])
    expect(poolsFor(held, needs(4))).toEqual([{ ...held, adapters: undefined }, needs(4)])
    expect(poolsFor(needs(8), needs(4, { adapters: adapters('') }))).toEqual([needs(8)])
    const exact = needs(4, { exact: true, adapters: adapters('b') })
    expect(poolsFor(held, exact)).toEqual([exact])
    const longer = needs(8, { cellsPerStream: 512, adapters: adapters('b') })
    expect(poolsFor(held, longer)).toEqual([longer])
  })

  it('is given adapters between races only, and the same ones once', async () => {
    const { engine, pools } = fakeEngine({ length: () => 5, stepMs: 1 })
    const race = (...lora: [string, number][]) => {
      return engine.bestOf(2, 'hi', { lora: lora.map(([name, scale]) => ({ path: at(name), scale })) })
    }
    await Promise.all([race(), race(['a.gguf', 2]), race(['a.gguf', 2]), race(['b.gguf', 0]), race(['a.gguf', 2])])
    await race(['b.gguf', 0.5], ['a.gguf', 0.25])
    const told = pools.flatMap(({ calls }) => calls.filter((call) => /adapt|fork/.test(call)))
    expect(told).toEqual([
      'fork 2',
      'adapt 2',
      'fork 2',
      'fork 2',
      'adapt ',
      'fork 2',
      'adapt 2',
      'fork 2',
      'adapt 0.25 0.5',
      'fork 2'
    ])
    expect(pools).toHaveLength(1)
    await engine.close()
  })
})

describe('--lora', () => {
  const opened = (async () =>
    fakeEngine({ length: () => 4 }, { head: false, facts: { path: at('model.gguf') } }).engine) as typeof open

  async function winnow(argv: readonly string[], cwd = folder) {
    const terminal = fakeTerminal({ cwd })
    const code = await main(argv, terminal, opened)
    return { code, out: terminal.out(), err: terminal.err() }
  }
  const run = (...argv: string[]) => winnow(['run', 'hi', '-n', '2', '--json', '--quiet', ...argv])
  const loraOf = ({ out }: { readonly out: string }) =>
    JSON.parse(out).lora.map(({ file, scale }: { file: string; scale: number }) => [file, scale])

  it('takes a file, a scale behind it, and more of them', async () => {
    const a = at('a.gguf')
    expect(loraOf(await run())).toEqual([])
    expect(loraOf(await run('--lora', a))).toEqual([['a.gguf', 1]])
    expect(loraOf(await run('--lora', `${a}=-1.5e-1`))).toEqual([['a.gguf', -0.15]])
    expect(loraOf(await run('--lora', `${at('b.gguf')}=2`, '--lora', a))).toEqual([
      ['a.gguf', 1],
      ['b.gguf', 2]
    ])
    const list = JSON.stringify([`${a}=.5`, { path: at('b.gguf'), scale: 3 }])
    expect(loraOf(await run('--lora', list))).toEqual([
      ['a.gguf', 0.5],
      ['b.gguf', 3]
    ])
    const { lora } = JSON.parse((await run('--lora', a)).out)
    expect(lora).toEqual([{ file: 'a.gguf', sha256: await sha256(a), scale: 1 }])
  })

  it('is below flags in the environment, and below that in the settings of a project', async () => {
    const cwd = await mkdtemp(at('project-'))
    await writeFile(join(cwd, 'winnow.config.json'), JSON.stringify({ lora: [at('a.gguf'), { path: at('b.gguf') }] }))
    const argv = ['run', 'hi', '-n', '2', '--json', '--quiet']
    expect(loraOf(await winnow(argv, cwd))).toEqual([
      ['a.gguf', 1],
      ['b.gguf', 1]
    ])
    vi.stubEnv('WINNOW_LORA', `${at('b.gguf')}=4`)
    expect(loraOf(await winnow(argv, cwd))).toEqual([['b.gguf', 4]])
    expect(loraOf(await winnow([...argv, '--lora', at('a.gguf')], cwd))).toEqual([['a.gguf', 1]])
  })

  it.each([
    ['', 2, 'Expected FILE or FILE=SCALE for --lora but received ""'],
    ['=2', 2, 'Expected FILE or FILE=SCALE for --lora but received "=2"'],
    ['[1', 2, 'Expected FILE, FILE=SCALE or a JSON array of these for --lora'],
    ['[1]', 2, 'Expected an object for lora.0 but received 1'],
    ['none.gguf=2', 1, 'Expected a GGUF file for the LoRA adapter but received none.gguf, which does not exist'],
    ['none.gguf=two', 1, 'but received none.gguf=two, which does not exist']
  ])('refuses %j before a model is opened', async (text, code, message) => {
    const never = (() => Promise.reject(new Error('it was opened'))) as typeof open
    const terminal = fakeTerminal({ cwd: folder })
    expect(await main(['run', 'hi', '--quiet', '--lora', text], terminal, never)).toBe(code)
    expect(terminal.err()).toContain(message)
  })

  it('stands in what winnow sample and winnow bench keep, which another adapter cannot go on with', async () => {
    await writeFile(at('prompts.jsonl'), '{"prompt":"x","answer":"1"}\n')
    for (const command of [
      ['sample', '--policy', 'best-of-n'],
      ['bench', '--policies', 'best-of-n']
    ]) {
      const [name = ''] = command
      const out = at(`${name}.jsonl`)
      const files = ['--prompts', at('prompts.jsonl'), '--out', out, '-n', '2', '--quiet', '--json']
      const call = (...lora: string[]) => winnow([...command, ...files, ...lora.flatMap((text) => ['--lora', text])])
      const first = await call(`${at('a.gguf')}=0.5`)
      expect(first).toMatchObject({ code: 0, err: '' })
      expect(loraOf(first)).toEqual([['a.gguf', 0.5]])
      expect((await call(`${at('a.gguf')}=0.5`)).code).toBe(0)
      for (const lora of [[], [at('a.gguf')], [`${at('b.gguf')}=0.5`]]) {
        const refused = await call(...lora)
        expect(refused.code).toBe(2)
        expect(refused.err).toContain('which differs in lora')
      }
    }
  })

  it('has no part in plans of a model it was not made for', async () => {
    const { code, err } = await winnow(['plan', '-m', embedded.model, '--quiet', '--lora', at('a.gguf')])
    expect(code).toBe(1)
    expect(err).toContain('Expected a LoRA adapter made for')
  })
})
