import { appendFile, copyFile, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Chain } from '../src/chain.js'
import type { Engine } from '../src/engine.js'
import { WinnowError } from '../src/errors.js'
import { contentKey, Journal } from '../src/journal.js'
import type { Problem } from '../src/problems.js'
import type { Scorer } from '../src/scorer.js'
import { scorerOf } from '../src/scorer.js'
import { blend } from '../src/scorers/blend.js'
import { rewardHead } from '../src/scorers/head.js'
import { minLogprob } from '../src/scorers/min-logprob.js'
import { pack, packScores, unpack } from '../src/traces/packed.js'
import { type RecordedPrompt, type RecordOptions, record } from '../src/traces/record.js'
import { finalScore, type Trace } from '../src/traces/trace.js'
import { openTraces } from '../src/traces/trace-file.js'
import { fakeEngine } from './fakes/engine.js'
import type { Script } from './fakes/pool.js'

const script: Script = {
  length: (id) => [16, 3, 8, 9, 12, 21][id] as number,
  score: (id, tokens) => id - tokens / 10
}
const problems: Problem[] = ['one', 'two', 'three'].map((prompt) => ({ prompt, answer: '7' }))
const scorers = () => [rewardHead(), minLogprob()]

let folder = ''
let whole = ''
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'winnow-trace-'))
  await writeFile(join(folder, 'model.gguf'), 'GGUF')
  whole = join(folder, 'whole.jsonl')
  await recorded(whole)
})
afterAll(() => rm(folder, { recursive: true }))

function scripted(): Engine {
  const path = join(folder, 'model.gguf')
  const { engine, head } = fakeEngine(script, { facts: { path } })
  Object.assign(head?.facts ?? {}, { path })
  return engine
}

async function recorded(out: string, changes: Partial<RecordOptions> = {}, asked: Iterable<Problem> = problems) {
  const engine = scripted()
  const told: RecordedPrompt[] = []
  try {
    const options = { out, n: 6, grid: 4, scorers: scorers(), maxTokens: 20, ...changes }
    await record(engine, asked, { ...options, onPrompt: (one) => void told.push(one) })
  } finally {
    await engine.close()
  }
  return told
}

async function read(...paths: string[]): Promise<Trace[]> {
  const all: Trace[] = []
  for await (const trace of (await openTraces(...paths)).all()) all.push(trace)
  return all
}

async function codeOf(work: Promise<unknown>): Promise<[code: string, message: string]> {
  const error = await work.then(
    () => null,
    (thrown: unknown) => thrown
  )
  return WinnowError.is(error) ? [error.code, error.message] : ['none', String(error)]
}

describe('a recording', () => {
  it('keeps what every candidate wrote and what every scorer said of it', async () => {
    const { header } = await openTraces(whole)
    expect(header).toMatchObject({
      n: 6,
      grid: 4,
      scorers: [
        { name: 'head', sha256: null },
        { name: 'min-logprob', sha256: null }
      ],
      maxTokens: 20,
      deterministic: true,
      conditions: { model: expect.stringMatching(/^[0-9a-f]{64}$/), head: expect.any(String), seed: '0' }
    })
    const traces = await read(whole)
    expect(traces.map(({ prompt, input, answer }) => [prompt, input, answer])).toEqual([
      [0, 'one', '7'],
      [1, 'two', '7'],
      [2, 'three', '7']
    ])
    const trace = traces[0] as Trace
    expect([...trace.lengths]).toEqual([16, 3, 8, 9, 12, 20])
    // At 16 candidate 0 has not sampled its end yet; at 20 candidate 5 is cut off.
    expect([...trace.lived]).toEqual([4, 0, 2, 2, 3, 4])
    expect(trace.reasons).toEqual(['end', 'end', 'end', 'end', 'end', 'length'])
    const head = trace.scores(0)
    expect([...head.subarray(trace.starts[3], trace.starts[4])].map((score) => score.toFixed(3))).toEqual([
      '2.600',
      '2.200',
      '2.100'
    ])
    expect(finalScore(trace, head, 5)).toBe(3)
    const { tokens, logprobs, entropies, texts } = trace.written()
    expect([...(tokens[1] as Int32Array)]).toEqual([97 + 31 - 26, 97 + 38 - 26, 97 + 45 - 26])
    expect([...(logprobs[1] as Float32Array)]).toEqual(
      [-0.2, -0.3, -0.4].map((value) => Math.fround(-0.1 * Math.round(-10 * value)))
    )
    expect([...(entropies[1] as Float32Array)]).toEqual([0.5, 0.5, 0.5])
    expect(texts[1]).toBe(String.fromCharCode(...(tokens[1] as Int32Array)))
    // The head's numbers are single precision and lie in half the space; what JavaScript computed keeps every bit.
    const least = Math.min(...(logprobs[3] as Float32Array))
    expect(finalScore(trace, trace.scores(1), 3)).toBe(least)
    expect(trace.timing.steps).toHaveLength(5)
    expect(trace.timing.scores.map((list) => list.length)).toEqual([5, 5])
    expect(trace.timing.wall).toBeGreaterThan(0)
  })

  it('labels by the verifier, and by another where one is given', async () => {
    const [first] = await read(whole)
    expect(first?.right).toEqual(Array(6).fill(false))
    const out = join(folder, 'verified.jsonl')
    await recorded(out, { verify: (text) => text.length > 8 }, [{ prompt: 'one', answer: null }])
    expect((await read(out))[0]?.right).toEqual([true, false, false, true, true, true])
    const unknown = join(folder, 'unknown.jsonl')
    await recorded(unknown, {}, [{ prompt: 'one', answer: null }])
    expect((await read(unknown))[0]?.right).toEqual(Array(6).fill(null))
  })

  it('goes on where it was cut off, even in the middle of a line, and comes to the same', async () => {
    const out = join(folder, 'cut.jsonl')
    await recorded(out, {}, problems.slice(0, 2))
    const { length } = await readFile(out)
    await truncate(out, length - 100)
    expect((await recorded(out)).map(({ resumed }) => resumed)).toEqual([true, false, false])
    const timeless = (traces: readonly Trace[]) =>
      traces.map((trace) => ({
        ...trace,
        timing: null,
        scores: [...trace.scores(0), ...trace.scores(1)],
        written: trace.written()
      }))
    expect(timeless(await read(out))).toEqual(timeless(await read(whole)))
  })

  it('refuses to go on under other conditions', async () => {
    const out = join(folder, 'other.jsonl')
    await copyFile(whole, out)
    for (const changes of [{ n: 5 }, { grid: 8 }, { scorers: [rewardHead()] }, { seed: 1 }, { identity: { a: 1 } }]) {
      expect((await codeOf(recorded(out, changes)))[0]).toBe('RESULTS_MISMATCH')
    }
    expect(await readFile(out)).toEqual(await readFile(whole))
  })

  it('goes on after a prompt that cannot be raced', async () => {
    const out = join(folder, 'long.jsonl')
    const long = { prompt: 'x'.repeat(5000), answer: null }
    const told = await recorded(out, {}, [problems[0] as Problem, long, problems[1] as Problem])
    expect(told.map(({ failure }) => failure?.code ?? null)).toEqual([null, 'PROMPT_TOO_LONG', null])
    expect((await read(out)).map(({ prompt }) => prompt)).toEqual([0, 2])
  })

  it('ends with what a scorer fails with', async () => {
    const failing = scorerOf(() => {
      throw new Error('no')
    }, 'failing')
    expect((await codeOf(recorded(join(folder, 'failing.jsonl'), { scorers: [failing] })))[0]).toBe('SCORER_FAILED')
  })

  it('refuses scorers whose score depends on who else is looked at, and two of one name', async () => {
    const none = join(folder, 'none.jsonl')
    const refused = async (list: Scorer[]) => (await codeOf(recorded(none, { scorers: list })))[1]
    expect(await refused([blend([{ scorer: minLogprob() }])])).toContain('the parts of a blend')
    expect(await refused([minLogprob(), minLogprob()])).toContain('each scorer once')
    expect(await refused([])).toContain('at least one scorer')
  })

  it('pulls problems one by one, as a stream of ten thousand needs', async () => {
    const out = join(folder, 'pulled.jsonl')
    let [pulled, most] = [0, 0]
    const source = (function* () {
      for (const problem of problems) {
        pulled++
        yield problem
      }
    })()
    const engine = scripted()
    await record(engine, source, {
      ...{ out, n: 2, grid: 4, maxTokens: 4 },
      onPrompt: ({ prompt }) => {
        most = Math.max(most, pulled - prompt)
      }
    })
    await engine.close()
    expect(most).toBe(1)
  })
})

describe('a file of traces', () => {
  it('is refused where it is missing, empty or something else, with the line', async () => {
    const of = async (name: string, text?: string) => {
      const path = join(folder, name)
      if (text !== undefined) await writeFile(path, text)
      return codeOf(openTraces(path))
    }
    expect((await of('missing.jsonl'))[0]).toBe('TRACES_NOT_FOUND')
    for (const [name, text] of [
      ['empty.jsonl', ''],
      ['prompts.jsonl', '{"prompt":"one"}\n'],
      ['torn.jsonl', '{"journal":1,"ident']
    ] as const) {
      const [code, message] = await of(name, text)
      expect(code).toBe('RESULTS_MISMATCH')
      expect(message).toContain(`line 1 of ${join(folder, name)}`)
    }
    const rows = join(folder, 'rows.jsonl')
    await (await Journal.open(rows, { n: 4 })).close()
    expect(await codeOf(openTraces(rows))).toEqual(['RESULTS_MISMATCH', expect.stringContaining('line 1 of')])
  })

  it('is refused where it is of another version', async () => {
    const path = join(folder, 'version.jsonl')
    const { header } = await openTraces(whole)
    const { conditions, ...rest } = header
    await (await Journal.open(path, { ...conditions, ...rest, traces: 2 })).close()
    const [code, message] = await codeOf(openTraces(path))
    expect(code).toBe('RESULTS_MISMATCH')
    expect(message).toBe(`Expected traces of version 1 for line 1 of ${path} but received 2`)
    const other = join(folder, 'journal-version.jsonl')
    await writeFile(other, (await readFile(whole, 'utf8')).replace('{"journal":1', '{"journal":9'))
    expect((await codeOf(openTraces(other)))[1]).toContain('a journal of version 1')
  })

  it('is refused with the line that was cut off, changed, lost, put in or written twice', async () => {
    const lines = (await readFile(whole, 'utf8')).trimEnd().split('\n')
    const of = async (name: string, text: string) => {
      const path = join(folder, name)
      await writeFile(path, text)
      const [code, message] = await codeOf(read(path))
      expect(code).toBe('RESULTS_CORRUPT')
      return message.replace(folder, '')
    }
    const [head, one, two, three] = lines as [string, string, string, string]
    expect(await of('c1', `${head}\n${one}\n${two.slice(0, 500)}`)).toContain(
      'line 3 of /c1 but received one that is cut off'
    )
    expect(await of('c2', `${head}\n${one.replace('"answer":"7"', '"answer":"8"')}\n${two}\n`)).toContain(
      'line 2 of /c2'
    )
    expect(await of('c3', `${head}\n${one}\n${three}\n`)).toContain('line 3 of /c3')
    expect(await of('c4', `${head}\n${one}\n${one}\n${two}\n`)).toContain('line 3 of /c4')
    expect(await of('c5', `${head}\n${one}\nnothing\n${two}\n`)).toContain('line 3 of /c5')
  })

  it('is refused with the line of a whole one that is no trace of its header', async () => {
    const [head, one] = (await readFile(whole, 'utf8')).split('\n') as [string, string]
    const { key: _, crc32: __, ...line } = JSON.parse(one)
    const { crc32: ___, ...header } = JSON.parse(head)
    const received = async (changes: object) => {
      const path = join(folder, 'wrong.jsonl')
      const chain = new Chain()
      const bytes = [header, { key: contentKey(changes), ...line, ...changes }].map((value) => chain.seal(value))
      await writeFile(path, Buffer.concat(bytes))
      const [code, message] = await codeOf(
        read(path).then((traces) => traces.map((trace) => [trace.scores(0), trace.written()]))
      )
      expect(code).toBe('RESULTS_CORRUPT')
      expect(message).toContain(`line 2 of ${path}`)
      return message.slice(message.indexOf('received ') + 9)
    }
    expect(await received({ prompt: -1 })).toBe('one that is wrong in prompt')
    expect(await received({ lengths: [1, 2] })).toBe('one with 2 of 6 candidates')
    expect(await received({ scores: line.scores.slice(1) })).toBe('one by 1 of 2 scorers')
    expect(await received({ scores: [line.scores[1].slice(0, -8), line.scores[1]] })).toBe(
      'one that is wrong in scores.0'
    )
    expect(await received({ scores: ['f32:', line.scores[1]] })).toBe('one that is wrong in scores.0')
    expect(await received({ lived: [9, 0, 0, 0, 0, 0] })).toBe('one that is wrong in lived')
    expect(await received({ lived: [0, 0, 0, 0, 0, 0] })).toBe('one that is wrong in timing')
    expect(await received({ undecoded: [6] })).toBe('one that names others than its candidates')
    expect(await received({ tokens: line.logprobs })).toBe('one that is wrong in tokens')
    expect(await received({ texts: 'AAAA' })).toBe('one that is wrong in texts')
    expect(await received({ reasons: Array(6).fill('deadline') })).toBe('one that is wrong in reasons.0')
  })

  it('may come in parts of the same conditions, each prompt once', async () => {
    const [one, other] = [join(folder, 'part-1.jsonl'), join(folder, 'part-2.jsonl')]
    await recorded(one, {}, problems.slice(0, 1))
    await copyFile(whole, other)
    expect((await codeOf(read(one, other)))[1]).toContain(`line 2 of ${other} but received prompt 1 a second time`)
    const unlike = join(folder, 'unlike.jsonl')
    await recorded(unlike, { n: 4 }, problems.slice(0, 1))
    expect((await codeOf(openTraces(one, unlike)))[0]).toBe('RESULTS_MISMATCH')
  })

  it('stays as it is when it is read', async () => {
    const path = join(folder, 'read.jsonl')
    await copyFile(whole, path)
    await appendFile(path, '{"key":"torn')
    const before = await readFile(path)
    expect((await codeOf(read(path)))[0]).toBe('RESULTS_CORRUPT')
    expect(await readFile(path)).toEqual(before)
  })
})

describe('packed numbers', () => {
  it('come out as they went in, infinities and both zeros too', () => {
    fc.assert(
      fc.property(fc.array(fc.double({ noNaN: true })), (values) => {
        const scores = Float64Array.from(values)
        expect(unpack(packScores(scores), scores.length, 'f32', 'f64')?.length).toBe(scores.length)
        expect(Float64Array.from(unpack(packScores(scores), scores.length, 'f32', 'f64') ?? [])).toEqual(scores)
      })
    )
    const single = Float64Array.of(-0, 0, Number.NEGATIVE_INFINITY, 1.5)
    expect(packScores(single).slice(0, 4)).toBe('f32:')
    expect(packScores(Float64Array.of(0.1)).slice(0, 4)).toBe('f64:')
  })

  it('are refused where they are too few, too many or of another kind', () => {
    const packed = pack(Int32Array.of(1, 2, 3))
    expect(unpack(packed, 3, 'i32')).toEqual(Int32Array.of(1, 2, 3))
    for (const wrong of [
      unpack(packed, 2, 'i32'),
      unpack(packed, 4, 'i32'),
      unpack(packed, 3, 'f32'),
      unpack(7, 3, 'i32')
    ]) {
      expect(wrong).toBeNull()
    }
  })
})
