import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FakeWorkplace } from './fakes/recording.js'

let at: FakeWorkplace
let bench = ''
let rows = ''
let replay = ''
const policies = 'best-of-n,spec-reject,random-kill:like=spec-reject,best-of-n:n=1'
const measured = `best-of-n,spec-reject,random-kill:like=spec-reject:name=random-kill,best-of-n:n=1`

beforeAll(async () => {
  at = new FakeWorkplace(await mkdtemp(join(tmpdir(), 'winnow-report-')))
  ;[bench, rows, replay] = ['bench.json', 'rows.jsonl', 'replay.json'].map((name) => join(at.folder, name)) as [
    string,
    string,
    string
  ]
  await at.record()
  const race = ['--prompts', at.problems, '-n', '8', '--checkpoints', '4,8', '--seed', '0', '--json', '--quiet']
  const { out } = await at.winnow('bench', ...race, '--policies', measured, '--out', rows)
  await writeFile(bench, out)
  const replaying = ['--policy', policies, '--checkpoints', '4,8', '--json', '--quiet']
  await writeFile(replay, (await at.winnow('replay', at.traces, ...replaying)).out)
})
afterAll(() => rm(at.folder, { recursive: true }))

const report = (...argv: string[]) => at.winnow('report', '--quiet', ...argv)
const traced = (...argv: string[]) => report(at.traces, '--checkpoints', '4,8', ...argv)

describe('winnow report', () => {
  it('reads what bench, replay and record wrote', async () => {
    for (const [path, missing] of [
      [bench, 'where tokens went, survival by round, scores of one prompt, what a score means, memory over time'],
      [rows, 'where tokens went, survival by round, scores of one prompt, memory over time'],
      [replay, 'where tokens went, scores of one prompt, what a score means, memory over time']
    ] as const) {
      const { code, out } = await report(path)
      expect(code).toBe(0)
      expect(out).toContain('3 prompts, too few to say')
      expect(out).toContain(`Not here, for want of figures in these results: ${missing}.`)
    }
    const { out } = await traced()
    expect(out).toContain('3 prompts, too few to say')
    expect(out).not.toContain('Not here')
  })

  it('says of rows what the bench that wrote them said', async () => {
    const policiesIn = async (path: string) => JSON.parse((await report(path, '--json')).out).studies[0].arms
    const [fromRows, fromBench] = [await policiesIn(rows), await policiesIn(bench)]
    const byName = (a: { policy: string }, b: { policy: string }) => (a.policy < b.policy ? -1 : 1)
    expect(fromRows.sort(byName)).toEqual([...fromBench].sort(byName))
    expect(fromBench.map(({ kind }: { kind: string }) => kind)).toEqual([
      'best-of-n',
      'rejecting',
      'random-kill',
      'best-of-n'
    ])
  })

  it('replays traces with a control and with fewer candidates for each policy that rejects', async () => {
    const { out } = await traced('--json', '--policy', 'spec-reject,spec-reject:scorer=min-logprob')
    const [study] = JSON.parse(out).studies
    const names = study.arms.map(({ policy }: { policy: string }) => policy)
    const derived = (name: string) => [`random-kill:like=${name}`, `best-of-n:equal-tokens=${name}`]
    const judged = ['spec-reject', 'spec-reject:scorer=min-logprob']
    expect(names).toEqual(['best-of-n', ...judged, ...judged.flatMap(derived)])
    const tokens = (place: number) => study.arms[place].generatedTokens.mean
    expect(tokens(3)).toBeLessThan(tokens(0))
    expect(study.arms[3].n).toBe(8)
    expect(study.curve.map(({ n }: { n: number }) => n)).toEqual(expect.arrayContaining([1, 2, 4, 8]))
    expect(study.flows.map(({ arm }: { arm: string }) => arm)).toEqual(['best-of-n', ...judged])
    for (const { arm, live, steps } of study.flows) {
      const { generatedTokens } = study.arms.find(({ policy }: { policy: string }) => policy === arm)
      expect(steps.length).toBe(steps.at(-1))
      expect(live.reduce((sum: number, count: number) => sum + count, 0)).toBeCloseTo(generatedTokens.mean, 9)
    }
    const ends = study.trajectories.told.map(({ end }: { end: string }) => end)
    expect(ends.filter((end: string) => end === 'killed')).toHaveLength(6)
    expect(study.calibrations.map(({ when }: { when: string }) => when)).toEqual([
      'at the end',
      'when rejection begins'
    ])
  })

  it('replays what winnow replay replays: the same figures for the same policies', async () => {
    const replayed = JSON.parse(await readFile(replay, 'utf8')).policies
    const { out } = await traced('--json', '--policy', policies)
    const arms = JSON.parse(out).studies[0].arms
    for (const { policy, accuracy, generatedTokens, wallSeconds, rounds } of replayed.slice(0, 3)) {
      const own = arms.find((arm: { policy: string }) => arm.policy === policy)
      expect(own).toMatchObject({ accuracy, generatedTokens, wallSeconds, rounds })
    }
  })

  it('writes the same bytes for the same results, as a page and as Markdown, and prints the verdicts', async () => {
    const both = async (name: string) => {
      const paths = ['html', 'md'].map((kind) => join(at.folder, `${name}.${kind}`)) as [string, string]
      const out = paths.flatMap((path) => ['--out', path])
      const { out: said } = await report(bench, at.traces, rows, '--checkpoints', '4,8', ...out)
      expect(said.trimEnd().split('\n')).toHaveLength(3)
      expect(said).toMatch(/^It is open whether rejection pays here: 3 prompts, too few to say/)
      return Promise.all(paths.map((path) => readFile(path, 'utf8')))
    }
    const [page, markdown] = await both('one')
    expect(await both('two')).toEqual([page, markdown])
    expect(page).toMatch(/^<!doctype html>/)
    expect(page?.match(/<article/g)).toHaveLength(3)
    expect(page).not.toContain(at.folder.concat('/one'))
    expect((await report(bench, at.traces, rows, '--checkpoints', '4,8')).out).toBe(markdown)
  })

  it('takes the parts of a recording for one', async () => {
    const lines = (await readFile(at.traces, 'utf8')).trimEnd().split('\n')
    expect(lines).toHaveLength(4)
    const twice = await report(at.traces, at.traces, '--checkpoints', '4,8')
    expect(twice.code).toBe(1)
    expect(twice.err).toContain('a second time')
  })

  it('refuses what it does not know, by the name of the file and why', async () => {
    const file = async (name: string, text: string) => {
      const path = join(at.folder, name)
      await writeFile(path, text)
      return path
    }
    const refused = async (path: string, code: number, why: string) => {
      const said = await report(bench, path)
      expect(said.code).toBe(code)
      expect(said.err).toContain(path)
      expect(said.err).toContain(why)
    }
    await refused(join(at.folder, 'none.json'), 1, 'does not exist')
    await refused(at.problems, 2, 'results of winnow bench')
    await refused(await file('other.json', '{"figures":1}'), 2, 'an object of figures')
    await refused(await file('text.md', '# Results'), 2, '"# Results"')
    const results = JSON.parse(await readFile(bench, 'utf8'))
    await refused(await file('later.json', JSON.stringify({ ...results, schemaVersion: 2 })), 2, 'schema version 1')
    results.policies[1].generatedTokens = 'many'
    await refused(await file('wrong.json', JSON.stringify(results)), 2, 'policies.1.generatedTokens')
    const whole = await readFile(rows, 'utf8')
    const [first, ...others] = whole.split('\n')
    const torn = [first, others[0]?.slice(0, 40), ...others.slice(1)].join('\n')
    await refused(await file('torn.jsonl', torn), 1, 'line 2')
    await refused(await file('odd.jsonl', whole.replace('"peakCells"', '"cells"')), 1, 'line 2')
    await refused(await file('empty.jsonl', `${first}\n`), 1, 'a prompt with a row for each policy')
  })

  it('leaves out a row that an interruption cut off', async () => {
    const path = join(at.folder, 'cut.jsonl')
    await writeFile(path, (await readFile(rows, 'utf8')).slice(0, -20))
    expect(JSON.parse((await report(path, '--json')).out).studies[0].arms[0].prompts).toBe(2)
  })

  it('refuses wrong usage', async () => {
    const usage = async (...argv: string[]) => {
      const { code, err } = await traced(...argv)
      expect(code).toBe(2)
      return err
    }
    expect(await usage('--out', 'report.pdf')).toContain('a file that ends in .html or .md')
    expect(await usage('-n', '9')).toContain('a whole number from 1 to 8')
    expect(await usage('--seed', '-1')).toContain('--seed')
    expect(await usage('--policy', 'spec-reject:scorer=perplexity')).toContain('perplexity')
    const { code, err } = await report(bench, '--out', join(at.folder, 'no', 'report.html'))
    expect(code).toBe(1)
    expect(err).toContain('Expected to write')
  })
})
