import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { Contender } from '../src/contender.js'
import type { Scoring } from '../src/scorer.js'
import { candidate } from './fakes/candidate.js'

const root = fileURLToPath(new URL('..', import.meta.url))
const built = join(root, 'build-test/crew')
const tricks = fileURLToPath(new URL('./fakes/routines/tricks.mjs', import.meta.url))
const input = { id: 0, state: 'finished' as const, text: 'seven', prompt: 'how many?', tokens: 3 }
const never = new AbortController().signal

// Threads run JavaScript, so these tests run what the sources are compiled to.
const load = <T>(path: string): Promise<T> => import(pathToFileURL(join(built, path)).href)
let { Crew } = {} as typeof import('../src/verifiers/crew.js')
let { routine } = {} as typeof import('../src/verifiers/routine.js')
let { routineScorer } = {} as typeof import('../src/scorers/routine.js')
let { routineJudge } = {} as typeof import('../src/judges/routine.js')
let bundled = {} as typeof import('../src/verifiers/bundled.js')

beforeAll(async () => {
  const compiler = join(root, 'node_modules/typescript/bin/tsc')
  execFileSync('node', [compiler, '-p', 'tsconfig.build.json', '--outDir', built], { cwd: root })
  ;({ Crew } = await load<typeof import('../src/verifiers/crew.js')>('verifiers/crew.js'))
  ;({ routine } = await load<typeof import('../src/verifiers/routine.js')>('verifiers/routine.js'))
  ;({ routineScorer } = await load<typeof import('../src/scorers/routine.js')>('scorers/routine.js'))
  ;({ routineJudge } = await load<typeof import('../src/judges/routine.js')>('judges/routine.js'))
  bundled = await load<typeof import('../src/verifiers/bundled.js')>('verifiers/bundled.js')
})

type AnyCrew = InstanceType<typeof Crew>
const crews: AnyCrew[] = []
function crewOf(options: ConstructorParameters<typeof Crew>[0] = { threads: 1 }): AnyCrew {
  const crew = new Crew(options)
  crews.push(crew)
  return crew
}
afterEach(async () => {
  for (const crew of crews.splice(0)) await crew.close()
})
const call = (crew: AnyCrew, name: string, changes: object = {}, limitMs = 5000, signal = never) =>
  crew.call(routine(tricks, name), { ...input, ...changes }, limitMs, signal)

describe('a crew', () => {
  it('calls a function of a module with a candidate and the settings', async () => {
    const crew = crewOf()
    expect(await call(crew, 'length')).toEqual({ kind: 'value', value: 5 })
    expect(await call(crew, 'later')).toEqual({ kind: 'value', value: 5 })
    const sees = (settings: unknown) => crew.call(routine(tricks, 'sees', settings), input, 5000, never)
    expect(await sees({ input: JSON.stringify(input) })).toEqual({ kind: 'value', value: 1 })
    expect(await sees({ input: '{}' })).toEqual({ kind: 'value', value: 0 })
  })

  it('kills a call that hangs, and the next one has a new thread', async () => {
    const crew = crewOf()
    expect(await call(crew, 'counts')).toEqual({ kind: 'value', value: 1 })
    expect(await call(crew, 'counts')).toEqual({ kind: 'value', value: 2 })
    const startedAt = performance.now()
    expect(await call(crew, 'mayHang', { text: 'hang' }, 100)).toEqual({ kind: 'timeout', limitMs: 100 })
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(99)
    expect(await call(crew, 'counts')).toEqual({ kind: 'value', value: 1 })
  })

  it('kills a call whose promise never settles', async () => {
    expect(await call(crewOf(), 'sleeps', {}, 100)).toEqual({ kind: 'timeout', limitMs: 100 })
  })

  it('starts the clock of a call when its function does, however long it waited for its turn', async () => {
    const crew = crewOf()
    const hanging = Array.from({ length: 3 }, () => call(crew, 'mayHang', { text: 'hang' }, 500))
    const waiting = call(crew, 'length', {}, 500)
    expect(await waiting).toEqual({ kind: 'value', value: 5 })
    expect(await Promise.all(hanging)).toEqual(new Array(3).fill({ kind: 'timeout', limitMs: 500 }))
  })

  it('does not leave others behind when one hangs', async () => {
    const crew = crewOf({ threads: 2 })
    const calls = ['a', 'hang', 'bb', 'hang', 'ccc', 'dddd'].map((text) => call(crew, 'mayHang', { text }, 500))
    const outcomes = await Promise.all(calls)
    expect(outcomes.map((outcome) => (outcome.kind === 'value' ? outcome.value : outcome.kind))).toEqual([
      1,
      'timeout',
      2,
      'timeout',
      3,
      4
    ])
  })

  it.each([
    ['throws', 'failed', 'no such day'],
    ['returnsText', 'failed', 'Expected a number, true or false but received "seven"'],
    ['returnsNaN', 'failed', 'Expected a number, true or false but received NaN'],
    ['exits', 'failed', 'worker exited with code: 3'],
    ['notAFunction', 'unloadable', 'Expected a function for the export but received 7'],
    ['absent', 'unloadable', 'Expected a function for the export but received nothing']
  ])('says what went wrong where a function %s, and goes on', async (name, kind, message) => {
    const crew = crewOf()
    expect(await call(crew, name)).toEqual({ kind, message })
    expect(await call(crew, 'length')).toEqual({ kind: 'value', value: 5 })
  })

  it('ends a function that fills the memory, not the process', async () => {
    const crew = crewOf({ threads: 1, memoryMb: 32 })
    expect(await call(crew, 'fills', {}, 30_000)).toMatchObject({
      kind: 'failed',
      message: expect.stringContaining('memory')
    })
    expect(await call(crew, 'length')).toEqual({ kind: 'value', value: 5 })
  })

  it('outlives what a function left behind', async () => {
    const crew = crewOf()
    expect(await call(crew, 'leavesTrouble')).toEqual({ kind: 'value', value: 1 })
    // The trouble may come in the middle of the next call, which then fails; nothing else does.
    await call(crew, 'later')
    expect(await call(crew, 'length')).toEqual({ kind: 'value', value: 5 })
  })

  it('says that a module is not there, or does not finish loading', async () => {
    const crew = crewOf({ threads: 1, loadMs: 2000 })
    expect(await crew.call(routine('nowhere.mjs'), input, 1000, never)).toMatchObject({
      kind: 'unloadable',
      message: expect.stringContaining('nowhere.mjs')
    })
    const stuck = routine(new URL('./fakes/routines/never-loads.mjs', import.meta.url))
    expect(await crew.call(stuck, input, 1000, never)).toEqual({
      kind: 'unloadable',
      message: 'Expected the module to load within 2000 ms but it did not'
    })
  })

  it('rejects with the reason of a signal, running or waiting, and the thread is free again', async () => {
    const crew = crewOf()
    const aborter = new AbortController()
    const running = call(crew, 'mayHang', { text: 'hang' }, 60_000, aborter.signal)
    const waiting = call(crew, 'length', {}, 60_000, aborter.signal)
    setTimeout(() => aborter.abort(new Error('enough')), 300)
    await expect(running).rejects.toThrow('enough')
    await expect(waiting).rejects.toThrow('enough')
    expect(await call(crew, 'length')).toEqual({ kind: 'value', value: 5 })
  })

  it('kills what runs when it is closed, as often as it is', async () => {
    const crew = crewOf()
    const running = call(crew, 'mayHang', { text: 'hang' }, 60_000)
    const closed = expect(running).rejects.toMatchObject({ code: 'CLOSED' })
    await new Promise((resolve) => setTimeout(resolve, 200))
    await Promise.all([crew.close(), crew.close()])
    await closed
    await expect(call(crew, 'length')).rejects.toMatchObject({ code: 'CLOSED' })
    await crew[Symbol.asyncDispose]()
  })

  it('starts no thread before the first call, and keeps no process alive', () => {
    const script = `
      import { Crew } from ${JSON.stringify(pathToFileURL(join(built, 'verifiers/crew.js')).href)}
      import { routine } from ${JSON.stringify(pathToFileURL(join(built, 'verifiers/routine.js')).href)}
      const crew = new Crew({ threads: 2 })
      const threads = () => process.getActiveResourcesInfo().filter((name) => name === 'MessagePort' || name === 'Worker').length
      console.log(threads())
      const input = ${JSON.stringify(input)}
      console.log((await crew.call(routine(${JSON.stringify(tricks)}, 'length'), input, 5000, new AbortController().signal)).value)
    `
    const { status, stdout } = spawnSync('node', ['--input-type=module', '-e', script], {
      encoding: 'utf8',
      timeout: 20_000
    })
    expect({ status, stdout }).toEqual({ status: 0, stdout: '0\n5\n' })
  })

  it.each([
    [() => new Crew({ threads: 0 }), 'Expected a whole number of threads, at least 1, for threads of Crew'],
    [() => new Crew({ loadMs: 0 }), 'a whole number of milliseconds, at least 1, for loadMs of Crew'],
    [() => new Crew({ thread: 1 } as object), 'did you mean "threads"?'],
    [() => routine(''), 'Expected the path or URL of a module for a routine but received ""'],
    [() => routine(tricks, ''), 'Expected the name of an export for a routine but received ""']
  ])('refuses wrong options: %#', (make, sentence) => {
    expect(make).toThrow(sentence)
  })
})

it('a thread loads nothing of the package but what it calls: never the addon', () => {
  const loaded = new Set<string>()
  const follow = (path: string) => {
    if (loaded.has(path)) return
    loaded.add(path)
    for (const [, to] of readFileSync(path, 'utf8').matchAll(/^(?:import|export) .*?from '(\.[^']+)'/gm)) {
      follow(join(dirname(path), to as string))
    }
  }
  const verifiers = ['numeric', 'multiple-choice', 'pattern', 'json-schema']
  for (const name of ['worker', ...verifiers]) follow(join(built, 'verifiers', `${name}.js`))
  expect([...loaded].map((path) => basename(path, '.js')).sort()).toEqual(['errors', 'worker', ...verifiers].sort())
})

describe('a routine as a scorer', () => {
  const scoring = { prompt: 'how many?', signal: never } as Scoring
  const candidates = ['a', 'hang', 'ccc'].map((text, id) => candidate(id, text))

  it('scores the branch whose call hangs as the option says, and the others by their calls', async () => {
    const scorer = (onTimeout: number) =>
      routineScorer(crewOf(), routine(tricks, 'mayHang'), { limitMs: 500, onTimeout })
    expect(await scorer(-7).score(candidates, scoring)).toEqual([1, -7, 3])
    const byDefault = routineScorer(crewOf(), routine(tricks, 'mayHang'), { limitMs: 500 })
    expect(await byDefault.score(candidates, scoring)).toEqual([1, Number.NEGATIVE_INFINITY, 3])
    expect(byDefault).toMatchObject({ name: 'mayHang', needs: ['text'] })
  })

  it.each([
    ['mayHang', { limitMs: 500, onTimeout: 'fail' }, 'The scorer mayHang took longer than 500 ms (branch 1)'],
    ['throws', {}, 'The scorer throws failed: no such day (branch 0)'],
    [
      'absent',
      { onError: 0 },
      'The scorer absent failed: Expected a function for the export but received nothing (branch 0)'
    ]
  ] as const)('fails where it is told to: %s', async (name, options, sentence) => {
    const scorer = routineScorer(crewOf(), routine(tricks, name), options)
    await expect(scorer.score(candidates, scoring)).rejects.toMatchObject({ code: 'SCORER_FAILED', message: sentence })
  })

  it('kills the other calls once one has failed', async () => {
    const crew = crewOf({ threads: 2 })
    const startedAt = performance.now()
    const scorer = routineScorer(crew, routine(tricks, 'hangsOrThrows'), { limitMs: 40_000 })
    await expect(scorer.score(candidates.slice(1), scoring)).rejects.toThrow('failed: ccc (branch 2)')
    expect(performance.now() - startedAt).toBeLessThan(20_000)
    expect(await call(crew, 'length')).toEqual({ kind: 'value', value: 5 })
  })

  it('scores as many candidates as there are, without a warning', async () => {
    const warnings: string[] = []
    const note = (warning: Error) => void warnings.push(warning.message)
    process.on('warning', note)
    const many = Array.from({ length: 200 }, (_, id) => candidate(id, 'x'.repeat(id)))
    const scores = await routineScorer(crewOf({ threads: 2 }), routine(tricks, 'length')).score(many, scoring)
    expect(scores).toEqual(many.map(({ id }) => id))
    await new Promise((resolve) => setImmediate(resolve))
    process.off('warning', note)
    expect(warnings).toEqual([])
  })

  it('scores what throws as the option says', async () => {
    const scorer = routineScorer(crewOf(), routine(tricks, 'throws'), { onError: -1 })
    expect(await scorer.score(candidates, scoring)).toEqual([-1, -1, -1])
  })

  it('rejects with the race’s reason when the race is aborted', async () => {
    const aborter = new AbortController()
    const scores = routineScorer(crewOf(), routine(tricks, 'mayHang'), { limitMs: 60_000 }).score(candidates, {
      ...scoring,
      signal: aborter.signal
    })
    setTimeout(() => aborter.abort(new Error('enough')), 200)
    await expect(scores).rejects.toThrow('enough')
  })

  it('refuses wrong options', () => {
    expect(() => routineScorer(crewOf(), routine(tricks), { onTimeout: Number.NaN })).toThrow('a number or "fail"')
    expect(() => routineScorer(crewOf(), routine(tricks), { limitMs: 0 })).toThrow('at least 1')
  })
})

describe('a routine as a judge', () => {
  const contenders = ['', 'hang', 'ccc'].map((text, id): Contender => {
    return { id, text, tokens: 1, reason: 'end', raw: 0, rewards: [], right: null }
  })
  const judging = { prompt: '', signal: never }

  it('accepts what is above 0, and what hangs as the option says', async () => {
    const judge = (onTimeout: 'accept' | 'reject') =>
      routineJudge(crewOf(), routine(tricks, 'mayHang'), { limitMs: 500, onTimeout })
    expect(await judge('reject').judge(contenders, judging)).toEqual([false, false, true])
    expect(await judge('accept').judge(contenders, judging)).toEqual([false, true, true])
  })

  it('fails, or gives the verdict it is told to, where a call throws', async () => {
    const throws = routine(tricks, 'throws')
    await expect(routineJudge(crewOf(), throws).judge(contenders, judging)).rejects.toMatchObject({
      code: 'JUDGE_FAILED',
      message: 'The judge throws failed: no such day (branch 0)'
    })
    expect(await routineJudge(crewOf(), throws, { onError: 'accept' }).judge(contenders, judging)).toEqual([
      true,
      true,
      true
    ])
  })
})

describe('the bundled verifiers in their threads', () => {
  it('say 1 for right and 0 for wrong', async () => {
    const crew = crewOf()
    const verdict = async (verifier: ReturnType<typeof routine>, text: string) => {
      const outcome = await crew.call(verifier, { ...input, text }, 5000, never)
      return outcome.kind === 'value' ? outcome.value : outcome
    }
    const { numericAnswer, multipleChoice, matchesPattern, matchesJsonSchema } = bundled
    expect(await verdict(numericAnswer({ answer: 12 }), 'The answer is 12.')).toBe(1)
    expect(await verdict(numericAnswer({ answer: 12 }), 'The answer is 13.')).toBe(0)
    expect(await verdict(multipleChoice({ answer: 'B' }), 'The answer is (b).')).toBe(1)
    expect(await verdict(multipleChoice({ answer: 'C' }), 'The answer is (b).')).toBe(0)
    expect(await verdict(matchesPattern(/^\d+$/i), '2024')).toBe(1)
    expect(await verdict(matchesPattern(/^\d+$/), '20x24')).toBe(0)
    const schema = { type: 'object', required: ['day'], properties: { day: { enum: [1, 2] } } }
    expect(await verdict(matchesJsonSchema(schema), '{"day": 2}')).toBe(1)
    expect(await verdict(matchesJsonSchema(schema), '{"day": 3}')).toBe(0)
    expect(await verdict(matchesJsonSchema({ type: 'text' }), '{}')).toMatchObject({ kind: 'failed' })
  })

  it('an expression that backtracks without end is ended by the time limit', async () => {
    const scorer = routineScorer(crewOf(), bundled.matchesPattern(/^(a+)+$/), { limitMs: 500, onTimeout: 0 })
    const candidates = ['aaaa', `${'a'.repeat(60)}b`].map((text, id) => candidate(id, text))
    expect(await scorer.score(candidates, { prompt: '', signal: never } as Scoring)).toEqual([1, 0])
  })

  it.each([
    [() => bundled.numericAnswer({ answer: Number.NaN }), 'Expected a finite number for answer of numericAnswer'],
    [() => bundled.numericAnswer({ answer: 1, tolerance: -1 }), 'a number of at least 0 for tolerance'],
    [() => bundled.multipleChoice({ answer: 'E' }), 'Expected one of the letters ABCD for answer of multipleChoice'],
    [() => bundled.multipleChoice({ answer: 'a', choices: 'ab' }), 'Expected letters, upper case, for choices'],
    [() => bundled.matchesPattern('x' as unknown as RegExp), 'Expected a regular expression for matchesPattern'],
    [() => bundled.matchesJsonSchema([]), 'Expected a JSON schema for matchesJsonSchema but received an array of 0']
  ])('refuse wrong options: %#', (make, sentence) => {
    expect(make).toThrow(sentence)
  })
})
