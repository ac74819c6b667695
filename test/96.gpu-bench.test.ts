import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { copyFile, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'

const root = fileURLToPath(new URL('..', import.meta.url))
const stages = ['setup', 'machine', 'models', 'check', 'throughput', 'scoring', 'ladder', 'leader', 'node']
const minutes = 60_000

let folder = ''
let work = ''
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'winnow-gpu-'))
  work = join(folder, 'work')
})
afterAll(() => rm(folder, { recursive: true }))

const call = (command: string, args: readonly string[], cwd = root) =>
  new Promise<{ code: unknown; out: string; err: string }>((resolve) => {
    execFile(command, args, { cwd }, (error, out, err) => resolve({ code: error === null ? 0 : error.code, out, err }))
  })
const dryRun = (...args: string[]) =>
  call(join(root, 'bench/gpu/run'), ['--cpu', '--tiny', '--work', work, '--out', join(folder, 'results'), ...args])

const row = z
  .record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()]))
  .and(z.object({ case: z.string() }))
const resultSchema = z.strictObject({
  schemaVersion: z.literal(1),
  stage: z.enum(stages),
  mode: z.literal('cpu-tiny'),
  status: z.enum(['done', 'failed', 'timeout']),
  seconds: z.number().nonnegative(),
  reason: z.string(),
  command: z.string().startsWith('run --cpu --tiny'),
  machine: z.string().min(1),
  versions: z.strictObject({ winnow: z.string().min(1), llama: z.string().startsWith('v') }),
  rows: z.array(row)
})
const text = (name: string) => readFile(join(folder, 'results', name), 'utf8')
const result = async (stage: string) => resultSchema.parse(JSON.parse(await text(`${stage}.json`)))
const numbers = (of: z.infer<typeof row>) => of as unknown as Readonly<Record<string, number>>

describe('the dry run of bench/gpu', () => {
  it('takes every stage to its end, each in a file of one shape', { timeout: 15 * minutes }, async () => {
    const { code, err } = await dryRun()
    expect(code, err).toBe(0)
    for (const stage of stages) {
      const { status, reason, rows } = await result(stage)
      expect({ stage, status, reason }).toEqual({ stage, status: 'done', reason: '' })
      expect(rows.length, stage).toBeGreaterThan(0)
    }
    const report = await text('report.md')
    for (const stage of stages) expect(report).toContain(`| ${stage} | done |`)
    for (const stage of stages) expect(report).toContain(`\n## ${stage}\n`)
    expect((await result('setup')).rows[0]).toMatchObject({ libraries: 'npm' })
  })

  it('finds the pool sound, and the same on both sides where both are the CPU', async () => {
    const { rows } = await result('check')
    expect(rows.length).toBe(7)
    for (const found of rows) expect(found).toMatchObject({ holds: true, required: true })
  })

  it('says the floor by its formula, with its inputs', async () => {
    const peak = numbers((await result('machine')).rows[0] as z.infer<typeof row>)
    const rows = (await result('throughput')).rows.filter(({ driver }) => driver !== undefined)
    expect(new Set(rows.map(({ driver }) => driver))).toEqual(new Set(['bare', 'pool']))
    for (const found of rows.map(numbers)) {
      const bytes = (found.weight_bytes as number) + (found.cell_bytes as number)
      const floor = Math.max(bytes / (peak.bandwidth as number), (found.flops as number) / (peak.flops as number)) * 1e3
      expect(found.floor_ms).toBeCloseTo(floor, 4)
      // Two layers of f16 keys and values, one head of 64 columns.
      expect(found.cell_bytes).toBeCloseTo((found.mean_branches as number) * (found.mean_cells as number) * 512, 0)
      expect((found.share_of_floor as number) * (found.step_ms as number)).toBeCloseTo(floor, 3)
    }
  })

  it('moves a rung by the engine, by copy and by replay; a copy changes no logit', async () => {
    const { rows } = await result('ladder')
    expect(rows.map(({ how }) => how)).toEqual(['engine', 'pageable', 'pinned', 'replay'])
    for (const found of rows.slice(0, 3)) expect(found).toMatchObject({ furthest: 0, survivors: 4, tokens_each: 31 })
    expect(numbers(rows[3] as z.infer<typeof row>).furthest).toBeLessThan(0.01)
  })

  it('samples the same tokens inside the graph as on the host', async () => {
    const [tokens, head, pool] = (await result('leader')).rows
    expect(tokens).toMatchObject({ share: 1, tokens: 32 })
    expect(pool).toMatchObject({ question: 'same tokens in the pool', share: 1 })
    const { largest_gap: gap, largest_score: score } = numbers(head as z.infer<typeof row>)
    expect(score).toBeGreaterThan(0)
    expect(gap).toBeLessThan((score as number) * 1e-4)
  })

  it('has the embedded model answer its example through Node', async () => {
    expect((await result('node')).rows[0]).toMatchObject({ case: 'embedded', through: 'node', n: 64, right: true })
  })

  it('skips on a second call what is done', async () => {
    const before = await Promise.all(stages.map((stage) => text(`${stage}.json`)))
    const { code, err } = await dryRun()
    expect(code).toBe(0)
    for (const stage of stages) expect(err).toContain(`${stage}: done before`)
    expect(await Promise.all(stages.map((stage) => text(`${stage}.json`)))).toEqual(before)
  })

  it('goes on after a stage that failed, says why, and takes it up again', { timeout: 2 * minutes }, async () => {
    const model = join(work, 'models', 'tiny.gguf')
    await writeFile(model, 'this is no model')
    const { code } = await dryRun('--again', '--stages', 'check,machine,report')
    expect(code).toBe(3)
    expect(await result('check')).toMatchObject({ status: 'failed', reason: expect.stringContaining('MODEL_CORRUPT') })
    expect(await result('machine')).toMatchObject({ status: 'done' })
    expect(await text('report.md')).toMatch(/\| check \| failed \| \d+ \| tiny: code 1, MODEL_CORRUPT/)
    await rm(model)
    const again = await dryRun('--stages', 'models,check')
    expect(again.code, again.err).toBe(0)
    expect(await result('check')).toMatchObject({ status: 'done', reason: '' })
  })

  it('stops a stage at its limit, and goes on with what that left', async () => {
    const { code } = await dryRun('--again', '--limit', '0', '--stages', 'leader')
    expect(code).toBe(3)
    expect(await result('leader')).toMatchObject({ status: 'timeout', reason: 'tiny: out of time', rows: [] })
    expect((await dryRun('--stages', 'leader')).code).toBe(0)
  })

  it('refuses a wrong option, and stages that nothing was built for', async () => {
    expect(await dryRun('--fast', '1')).toMatchObject({ code: 2, err: expect.stringContaining('--fast') })
    expect(await dryRun('--stages', 'setup,wash')).toMatchObject({ code: 2, err: expect.stringContaining('wash') })
    expect(await dryRun('--budget', 'long')).toMatchObject({ code: 2, err: expect.stringContaining('long') })
    expect(await call(join(root, 'bench/gpu/run'), [])).toMatchObject({
      code: 2,
      err: expect.stringContaining('pack.mjs')
    })
    const bare = await dryRun('--work', join(folder, 'bare'), '--out', join(folder, 'none'), '--stages', 'check')
    expect(bare).toMatchObject({ code: 4, err: expect.stringContaining('Expected the stage setup to be done before') })
  })
})

describe('the pack for a bare machine', () => {
  const pack = (...args: string[]) => call('node', ['bench/gpu/pack.mjs', '--level', '0', ...args])

  it('stays under 64 MiB, and names every file with size and checksum', { timeout: 5 * minutes }, async () => {
    const { code, err } = await pack('--out', join(folder, 'pack'))
    expect(code, err).toBe(0)
    const manifest = JSON.parse(await readFile(join(folder, 'pack', 'manifest.json'), 'utf8'))
    expect(manifest.files.map(({ path }: { path: string }) => path)).toEqual([
      'building.sh',
      'llama-release',
      'llama.tar.xz',
      'measuring.sh',
      'node.xz',
      'results.sh',
      'run',
      'stages.sh',
      'winnow.tar.xz'
    ])
    let bytes = 0
    for (const file of manifest.files) {
      const content = await readFile(join(folder, 'pack', file.path))
      expect(content.length).toBe(file.bytes)
      expect(createHash('sha256').update(content).digest('hex')).toBe(file.sha256)
      bytes += content.length
    }
    expect(manifest.bytes).toBe(bytes)
    expect(bytes).toBeLessThan(64 * 2 ** 20)
  })

  it('is refused where it would be larger, and what was there stays', { timeout: 2 * minutes }, async () => {
    const manifest = join(folder, 'pack', 'manifest.json')
    const before = await stat(manifest)
    const { code, err } = await pack('--out', join(folder, 'pack'), '--limit-mib', '1')
    expect({ code, err }).toEqual({ code: 1, err: expect.stringContaining('Expected at most 1048576 bytes') })
    expect((await stat(manifest)).mtimeMs).toBe(before.mtimeMs)
  })

  it('unpacks to a llama.cpp that configures, and a library that loads', { timeout: 2 * minutes }, async () => {
    const place = join(folder, 'box')
    const args = ['--cpu', '--tiny', '--configure', '--stages', 'setup', '--work', place]
    const { code, err } = await call(join(folder, 'pack', 'run'), args)
    expect(code, err).toBe(0)
    expect(err).toContain('llama.cpp is configured')
    expect(existsSync(join(place, 'llama.cpp/ggml/src/ggml-cuda/CMakeLists.txt'))).toBe(true)
    // Everything that dist/ imports is in the pack: nothing of this checkout is above it.
    const source = "import('./dist/engine.js').then(({ open }) => console.log(typeof open))"
    expect(await call('node', ['-e', source], join(place, 'winnow'))).toMatchObject({ code: 0, out: 'function\n' })
  })

  it('is refused when a file of it is not what it was', { timeout: 2 * minutes }, async () => {
    await copyFile(join(folder, 'pack', 'run'), join(folder, 'pack', 'winnow.tar.xz'))
    const args = ['--cpu', '--tiny', '--stages', 'setup', '--work', join(folder, 'torn')]
    const { code, err } = await call(join(folder, 'pack', 'run'), args)
    expect({ code, err }).toEqual({ code: 4, err: expect.stringContaining("the pack's files are not what they were") })
  })
})
