import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

/** The bench's parts are plain JavaScript, for whoever has built the package. */
const part = (name: string) => import(new URL(`../bench/efficiency/${name}.mjs`, import.meta.url).pathname)
const { cellsOf, placed, selected, targetOf } = await part('cells')
const { chartOf } = await part('chart')
const { Contender } = await part('contender')
const { commandOf } = await part('contenders')
const { figuresOf } = await part('figures')
const { models } = await part('models')
const { promptsOf } = await part('prompts')
const { pageOf } = await part('table')
const { llamaRelease } = await import(new URL('../native/setup/headers.mjs', import.meta.url).pathname)

interface Cell {
  readonly id: string
  readonly model: string
  readonly prompts: number
  readonly promptTokens: number
  readonly n: number
  readonly length: number
  readonly seconds: number
  readonly ends: boolean
}

const root = new URL('..', import.meta.url).pathname
const run = (script: string, ...args: string[]) =>
  promisify(execFile)(process.execPath, [join(root, 'bench', script), '--busy', ...args])

let folder = ''
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'winnow-efficiency-'))
})
afterAll(() => rm(folder, { recursive: true }))

describe('the cells of the table', () => {
  const cells: readonly Cell[] = cellsOf()

  it('take at most 25 minutes together, and each is there once', () => {
    expect(cells.reduce((sum, { seconds }) => sum + seconds, 0)).toBeLessThanOrEqual(25 * 60)
    expect(new Set(cells.map(({ id }) => id)).size).toBe(cells.length)
  })

  it('have every N with every prompt on both models, and 64 prompts at once', () => {
    for (const model of Object.keys(models)) {
      const shapes = selected(cells, { model, prompts: '1' }).map(({ n, promptTokens }: Cell) => `${n} ${promptTokens}`)
      const wanted = [16, 64, 256].flatMap((n) => [`${n} 64`, `${n} 1000`])
      expect(shapes).toEqual(expect.arrayContaining(wanted))
      expect(selected(cells, { model, prompts: '64' })).not.toEqual([])
    }
  })

  it('are narrowed by what is asked for', () => {
    const some: readonly Cell[] = selected(cells, { n: '16,64', promptTokens: '1000', model: undefined })
    expect(some.length).toBeGreaterThan(0)
    for (const { n, promptTokens } of some) expect([[16, 64].includes(n), promptTokens]).toEqual([true, 1000])
  })

  it('leave room for prompt and answer in what the model was trained for', () => {
    for (const cell of selected(cells, { model: 'embedded' })) {
      expect(targetOf(cell) + cell.length).toBeLessThan(1024)
      expect(placed(cell).cells).toBeLessThanOrEqual(1024)
    }
  })
})

describe('prompts', () => {
  it('are other ones in every round, and about as long as asked for', () => {
    const rounds = [0, 1, 2].flatMap((round) => promptsOf(models.large, { tokens: 100, count: 8, round }))
    expect(new Set(rounds.map((text: string) => text.slice(0, 40))).size).toBe(24)
    for (const text of rounds) expect(text.length).toBe(155)
  })

  it('are whole problems where answers end by themselves', () => {
    const [text] = promptsOf(models.embedded, { tokens: 64, count: 1, round: 0, whole: true })
    expect(text).toMatch(/^<\|problem\|>.*\?<\|solution\|>$/)
  })
})

describe('figures', () => {
  it('are ratios of medians between the least and the greatest ratio of two rounds', () => {
    const taken = (...seconds: number[]) => seconds.map((each) => ({ tokens: 120, promptTokens: 9, seconds: each }))
    const [winnow, other] = figuresOf({ winnow: taken(1, 2, 4), other: taken(2, 8, 4) }, 'winnow', 6)
    expect(winnow).toMatchObject({ rounds: 3, seconds: { min: 1, median: 2, max: 4 }, ratio: { median: 1 } })
    expect(winnow.tokensPerSecond).toEqual({ min: 30, median: 60, max: 120 })
    expect(winnow.candidatesPerSecond.median).toBe(3)
    expect(other.ratio).toEqual({ min: 1, median: 2, max: 4 })
  })
})

describe('a contender', () => {
  it('that ends is an error with what it complained of', async () => {
    const script = 'process.stderr.write("no such model"); process.exitCode = 3'
    await expect(Contender.start([process.execPath, '-e', script])).rejects.toThrow(/ended: 3\nno such model/)
  })

  it('is told to let answers end only where they are to', () => {
    const [cell] = cellsOf('quick')
    expect(commandOf('winnow', placed(cell))).not.toContain('--end-bias')
    expect(commandOf('winnow', placed({ ...cell, ends: true }))).toContain('--end-bias')
  })
})

describe('node bench/efficiency.mjs', () => {
  const contenders = ['winnow', 'node-llama-cpp', 'node-llama-cpp-states']
  const quick = (out: string) => run('efficiency.mjs', '--quick', '--contenders', contenders.join(','), '--out', out)

  it('measures equal work in turns, writes JSON and Markdown, and goes on where it was', async () => {
    const out = join(folder, 'quick')
    await quick(out)
    const text = await readFile(`${out}.json`, 'utf8')
    const { cells, machine, versions } = JSON.parse(text)
    expect([machine.cores > 0, versions.llama]).toEqual([true, llamaRelease()])
    expect(cells.map(({ id }: Cell) => id)).toEqual(cellsOf('quick').map(({ id }: Cell) => id))
    for (const { prompts, n, length, ends, rounds } of cells) {
      const names = prompts === 1 ? contenders : contenders.slice(0, 2)
      expect(Object.keys(rounds)).toEqual(names)
      const tokens = names.map((name) => rounds[name][0].tokens)
      if (!ends) expect(tokens).toEqual(names.map(() => prompts * n * length))
      const [first] = rounds.winnow
      for (const name of names) expect(rounds[name][0].promptTokens).toBe(first.promptTokens)
    }
    const page = await readFile(`${out}.md`, 'utf8')
    expect(page.match(/^\| embedded /gm)).toHaveLength(4 * cells.length)
    await quick(out)
    expect(await readFile(`${out}.json`, 'utf8')).toBe(text)
  }, 300_000)

  it('adds nothing to what other versions have measured', async () => {
    const out = join(folder, 'other')
    await writeFile(`${out}.json`, JSON.stringify({ versions: {}, machine: {}, commands: [], cells: [] }))
    await expect(quick(out)).rejects.toMatchObject({ code: 1, stderr: expect.stringContaining('differs in versions') })
  })

  it('knows whom it can ask', async () => {
    const failing = run('efficiency.mjs', '--quick', '--contenders', 'winnow,nobody', '--out', join(folder, 'nobody'))
    await expect(failing).rejects.toMatchObject({ code: 1, stderr: expect.stringContaining('received nobody') })
  })
})

describe('node bench/growth.mjs', () => {
  it('draws seconds against N and against length', async () => {
    const out = join(folder, 'growth')
    await run('growth.mjs', '--n', '2,4', '--lengths', '4,8', '--out', out)
    const result = JSON.parse(await readFile(`${out}.json`, 'utf8'))
    expect(result.cells.map(({ n, length }: Cell) => [n, length])).toEqual([
      [2, 64],
      [4, 64],
      [64, 4],
      [64, 8]
    ])
    const svg = await readFile(`${out}.svg`, 'utf8')
    expect(svg).toBe(chartOf(result, { length: 64, n: 64 }))
    for (const text of ['seconds', 'N candidates of 64 tokens', '64 candidates of so many tokens']) {
      expect(svg).toContain(text)
    }
  }, 120_000)
})

describe('the page', () => {
  it('shows what the bare loop itself would reach', () => {
    const taken = (seconds: number) => [{ tokens: 100, promptTokens: 64, seconds }]
    const rounds = { winnow: taken(1.25), 'decode-loop': taken(1), 'llama-server': taken(2) }
    const shape = { model: 'embedded', threads: 1, prompts: 1, meanPromptTokens: 64, n: 4, length: 25, ends: false }
    const cells = [{ ...shape, figures: figuresOf(rounds, 'winnow', 4) }]
    const page = pageOf({ machine: { cores: 2 }, versions: {}, commands: [], cells })
    expect(page).toContain('0.80 [0.80, 0.80]')
    expect(page.split('## The bare loop over each')[1]).toContain('2.00')
  })
})
