import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Engine } from '../src/engine.js'
import { WinnowError } from '../src/errors.js'
import { type MapOptions, type MapPrompt, type Mapped, map } from '../src/map.js'
import type { BestOfOptions } from '../src/options.js'
import type { PromptInput } from '../src/prompt.js'
import { recordOf, resultOf } from '../src/record.js'
import type { Result, ResultBranch } from '../src/result.js'

let folder = ''
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'winnow-map-'))
})
afterAll(() => rm(folder, { recursive: true }))
const fresh = () => join(folder, `${Math.random()}.jsonl`)

const branch = (id: number, text: string, score: number | null = id): ResultBranch => ({
  id,
  status: id === 0 ? { state: 'killed', at: 2, why: 'low' } : { state: 'finished', reason: 'end' },
  text,
  tokens: Int32Array.from(text, (letter) => letter.charCodeAt(0)),
  logprobs: Float32Array.from(text, (_, i) => -0.1 * (i + 1)),
  scores: score === null ? [] : [{ tokens: 2, score }],
  score,
  killedAt: id === 0 ? 2 : null
})

/** A result whose winner says the prompt. */
function resultFor(prompt: PromptInput, n = 3, changes: Partial<Result> = {}): Result {
  const branches = Array.from({ length: n }, (_, id) => branch(id, `${JSON.stringify(prompt)} ${id}`))
  const winner = branches[n - 1] as ResultBranch
  return {
    text: winner.text,
    score: winner.score,
    winner,
    branches,
    usage: { generatedTokens: 30, wallSeconds: 0.1, savedTokens: null } as Result['usage'],
    expected: { generatedTokens: 40, peakCells: 9, cellBytes: 100 },
    reason: 'settled',
    failure: null,
    choice: null,
    scorer: 'head',
    policy: 'best-of-n',
    checkpoints: 'doubling:32',
    compute: {
      threads: 1,
      batch: 512,
      kvType: 'f16',
      flashAttention: 'auto',
      drawing: 'host',
      gpu: 'cpu',
      layout: 'streams'
    },
    lora: [],
    rungs: [],
    waves: 1,
    seed: 2n ** 63n,
    ...changes
  }
}

interface Call {
  readonly n: number
  readonly prompt: PromptInput
  readonly options: BestOfOptions
  finish(changes?: Partial<Result>): void
  fail(error: unknown): void
}

/** An engine whose races end when the test says so, or at once. */
class Races implements Pick<Engine, 'bestOf'> {
  readonly calls: Call[] = []
  running = 0
  peak = 0
  readonly #atOnce: boolean

  constructor(atOnce = false) {
    this.#atOnce = atOnce
  }

  bestOf(n: number, prompt: PromptInput, options: BestOfOptions = {}): Promise<Result> {
    this.peak = Math.max(this.peak, ++this.running)
    return new Promise<Result>((resolve, reject) => {
      const finish = (changes?: Partial<Result>) => resolve(resultFor(prompt, n, changes))
      // As the engine does, a step later.
      options.signal?.addEventListener('abort', () => setTimeout(() => reject(options.signal?.reason), 5))
      options.stop?.addEventListener('abort', () => finish({ reason: 'stopped' }))
      this.calls.push({ n, prompt, options, finish, fail: reject })
      if (this.#atOnce) finish()
    }).finally(() => {
      this.running--
    })
  }

  call(prompt: PromptInput): Call {
    const found = this.calls.find((call) => call.prompt === prompt)
    if (found === undefined) throw new Error(`no race for ${prompt}`)
    return found
  }
}

/** Prompts p0, p1, ..., of which the test sees how many were pulled and whether they were closed. */
class Source implements Iterable<string> {
  pulled = 0
  closed = false
  readonly #count: number

  constructor(count: number) {
    this.#count = count
  }

  *[Symbol.iterator]() {
    try {
      for (let i = 0; i < this.#count; i++) {
        this.pulled++
        yield `p${i}`
      }
    } finally {
      this.closed = true
    }
  }
}

/** Lets everything happen that needs no more than being waited for. */
async function settle() {
  for (let i = 0; i < 20; i++) await setImmediate()
}

async function all(mapped: AsyncIterable<Mapped>): Promise<Mapped[]> {
  const items: Mapped[] = []
  for await (const item of mapped) items.push(item)
  return items
}

const texts = (items: readonly Mapped[]) => items.map(({ prompt }) => prompt)
const options = { n: 3, concurrency: 2 } satisfies MapOptions

describe('a map', () => {
  it('gives out what became of each prompt, whatever form it has', async () => {
    const messages = [{ role: 'user', content: 'hi' }]
    async function* prompts(): AsyncGenerator<MapPrompt> {
      yield 'text'
      yield messages
      yield { id: 'named', prompt: 'more' }
    }
    const items = await all(map(new Races(true), prompts(), options))
    expect(items.map(({ index, id, prompt, state }) => [index, id, prompt, state])).toEqual([
      [0, null, 'text', 'done'],
      [1, null, messages, 'done'],
      [2, 'named', 'more', 'done']
    ])
    expect(items[2]).toMatchObject({ resumed: false, result: { text: '"more" 2', seed: 2n ** 63n } })
    expect(items[2]?.result?.branches).toHaveLength(3)
  })

  it('gives the race all options but its own', async () => {
    const races = new Races(true)
    await all(map(races, ['x'], { ...options, seed: 7, maxTokens: 9, raw: true }))
    const { n, options: given } = races.call('x')
    expect(n).toBe(3)
    expect(given).toMatchObject({ seed: 7, maxTokens: 9, raw: true })
    expect(Object.keys(given).sort()).toEqual(['deadlineFrom', 'maxTokens', 'raw', 'seed', 'signal', 'stop'])
  })

  it('has a deadline count from when a race has its streams, unless the caller says otherwise', async () => {
    for (const [asked, expected] of [
      [undefined, 'start'],
      ['start', 'start'],
      ['call', 'call']
    ] as const) {
      const races = new Races(true)
      await all(map(races, ['x'], { ...options, deadlineMs: 9, deadlineFrom: asked }))
      expect(races.call('x').options).toMatchObject({ deadlineMs: 9, deadlineFrom: expected })
    }
  })

  it('gives results out as they finish, or in the order of the prompts', async () => {
    for (const order of ['finished', 'given'] as const) {
      const races = new Races()
      const items: Mapped[] = []
      const over = (async () => {
        for await (const item of map(races, ['a', 'b', 'c'], { n: 1, concurrency: 3, order })) items.push(item)
      })()
      await settle()
      races.call('c').finish()
      await settle()
      expect(texts(items)).toEqual(order === 'finished' ? ['c'] : [])
      races.call('a').finish()
      await settle()
      expect(texts(items)).toEqual(order === 'finished' ? ['c', 'a'] : ['a'])
      races.call('b').finish()
      await over
      expect(texts(items)).toEqual(order === 'finished' ? ['c', 'a', 'b'] : ['a', 'b', 'c'])
    }
  })

  it('keeps the winner alone where that is asked for', async () => {
    const [item] = await all(map(new Races(true), ['x'], { ...options, keep: 'winner' }))
    expect(item?.result?.branches).toEqual([item?.result?.winner])
    expect(item?.result?.winner?.id).toBe(2)
  })

  it('fills 256 streams and has one more race wait, unless it is told how many', async () => {
    for (const [n, most] of [
      [64, 5],
      [256, 2],
      [100, 4]
    ] as const) {
      const races = new Races()
      const items = map(races, new Source(1000), { n })
      const first = items.next()
      await settle()
      expect(races.running).toBe(most)
      races.call('p0').finish()
      await first
      await items.return()
    }
  })

  it('refuses wrong options and what is no list of prompts when it is called', () => {
    const calls: [unknown, MapOptions, string, RegExp][] = [
      [['x'], { concurrency: 0 }, 'OPTION_INVALID', /at least 1, for concurrency but received 0/],
      [['x'], { order: 'random' as 'given' }, 'OPTION_INVALID', /one of "finished", "given" for order/],
      [['x'], { keep: 'none' as 'all' }, 'OPTION_INVALID', /one of "all", "winner" for keep/],
      [['x'], { journal: '' }, 'OPTION_INVALID', /a path for journal/],
      [['x'], { identity: { big: 1n } }, 'OPTION_INVALID', /an object that JSON can say for identity/],
      [['x'], { n: 4097 }, 'OPTION_INVALID', /from 1 to 4096 for n/],
      [['x'], { maxTokens: -1 }, 'OPTION_INVALID', /maxTokens/],
      [['x'], { sed: 1 } as MapOptions, 'OPTION_UNKNOWN', /did you mean "seed"/],
      ['text', {}, 'OPTION_INVALID', /an iterable of prompts for map but received "text"/],
      [5, {}, 'OPTION_INVALID', /an iterable of prompts/]
    ]
    for (const [prompts, wrong, code, message] of calls) {
      const call = () => map(new Races(), prompts as string[], wrong)
      expect(call).toThrow(expect.objectContaining({ code, message: expect.stringMatching(message) }))
    }
  })
})

describe('back-pressure', () => {
  it('pulls no prompt before the first result is asked for', async () => {
    const source = new Source(9)
    map(new Races(), source, options)
    await settle()
    expect(source.pulled).toBe(0)
  })

  it('never lets more be open than the concurrency, however the consumer dawdles', async () => {
    const source = new Source(40)
    const races = new Races(true)
    let consumed = 0
    for await (const _ of map(races, source, { n: 3, concurrency: 4 })) {
      if (consumed % 3 === 0) await settle()
      expect(source.pulled - consumed).toBeLessThanOrEqual(4)
      consumed++
    }
    expect(consumed).toBe(40)
    expect(races.peak).toBeLessThanOrEqual(4)
  })

  it('stops pulling while the consumer does not ask, and goes on when it does', async () => {
    const source = new Source(40)
    const races = new Races(true)
    const items = map(races, source, { n: 3, concurrency: 4 })
    await items.next()
    await settle()
    // The one that was given out is not consumed before the next is asked for.
    expect(source.pulled).toBe(4)
    await items.next()
    await settle()
    expect(source.pulled).toBe(5)
    await items.return()
    expect(source.closed).toBe(true)
  })

  it('gives out what has finished while the next prompt is long in coming', async () => {
    async function* slow() {
      yield 'first'
      await new Promise(() => {})
    }
    const items = map(new Races(true), slow(), options)
    expect((await items.next()).value).toMatchObject({ prompt: 'first' })
    // And ends although the prompts never will.
    await items.return()
  })
})

describe('a map of any prompts, however long they take', () => {
  it('gives out each once, in order where that is asked for, and never has more open than it may', async () => {
    const times = fc.array(fc.tuple(fc.nat(5), fc.nat(5), fc.nat(5)), { maxLength: 25 })
    await fc.assert(
      fc.asyncProperty(times, fc.integer({ min: 1, max: 5 }), fc.boolean(), async (waits, concurrency, given) => {
        const turns = async (count: number) => {
          for (let i = 0; i < count; i++) await setImmediate()
        }
        let [pulled, consumed, most] = [0, 0, 0]
        async function* prompts() {
          for (const [i, [coming]] of waits.entries()) {
            await turns(coming)
            pulled++
            most = Math.max(most, pulled - consumed)
            yield `${i}`
          }
        }
        const bestOf = async (n: number, prompt: PromptInput) => {
          await turns(waits[Number(prompt)]?.[1] as number)
          return resultFor(prompt, n)
        }
        const indices: number[] = []
        const order = given ? 'given' : 'finished'
        for await (const { index } of map({ bestOf }, prompts(), { n: 1, concurrency, order })) {
          indices.push(index)
          await turns(waits[index]?.[2] as number)
          consumed++
        }
        const all = waits.map((_, i) => i)
        expect(given ? indices : indices.toSorted((a, b) => a - b)).toEqual(all)
        expect(most).toBeLessThanOrEqual(concurrency)
      }),
      { numRuns: 60 }
    )
  })
})

describe('a prompt that fails', () => {
  it('is a value with its reason and harms no other', async () => {
    const races = new Races()
    const items = all(map(races, ['long', 'scored', 'good', 'best so far'], { n: 2, concurrency: 4 }))
    await settle()
    races.call('long').fail(new WinnowError('PROMPT_TOO_LONG', 'too long'))
    races.call('scored').fail(new WinnowError('SCORER_FAILED', 'no score'))
    races.call('best so far').finish({ reason: 'failed', failure: new WinnowError('SCORE_INVALID', 'NaN') })
    races.call('good').finish()
    const byPrompt = new Map((await items).map((item) => [item.prompt, item]))
    expect(byPrompt.get('long')).toMatchObject({ state: 'failed', error: { code: 'PROMPT_TOO_LONG' }, result: null })
    expect(byPrompt.get('scored')).toMatchObject({ state: 'failed', error: { code: 'SCORER_FAILED' } })
    expect(byPrompt.get('good')).toMatchObject({ state: 'done' })
    expect(byPrompt.get('best so far')).toMatchObject({
      state: 'failed',
      error: { code: 'SCORE_INVALID' },
      result: { text: '"best so far" 1' }
    })
  })

  it('is a value where a budget is too small for it, and the end of all where memory is', async () => {
    for (const budget of [undefined, 1000]) {
      const races = new Races()
      const items = all(map(races, ['long', 'good'], { n: 2, concurrency: 2, budget })).catch(
        (error: WinnowError) => error
      )
      await settle()
      races.call('long').fail(new WinnowError('OUT_OF_MEMORY', 'too much'))
      races.call('good').finish()
      const found = await items
      if (budget === undefined) expect(found).toMatchObject({ code: 'OUT_OF_MEMORY' })
      else expect((found as { state: string }[]).map(({ state }) => state).sort()).toEqual(['done', 'failed'])
    }
  })

  it('is a value also where its name is no text', async () => {
    const [item] = await all(map(new Races(true), [{ id: 5 as unknown as string, prompt: 'x' }], options))
    expect(item).toMatchObject({ state: 'failed', error: { code: 'PROMPT_INVALID' } })
  })

  it('is a value where JSON cannot say it and a journal would have to', async () => {
    const within: unknown[] = [{ role: 'user', content: 'x' }]
    within.push(within)
    const bad = [[{ role: 'user', content: 1n }], within, { id: 5n, prompt: 'x' }]
    const races = new Races(true)
    const prompts = ['good', ...(bad as unknown as MapPrompt[])]
    const items = await all(map(races, prompts, { ...options, order: 'given', journal: fresh() }))
    expect(items.map((item) => (item.state === 'failed' ? item.error.code : item.state))).toEqual([
      'done',
      'PROMPT_INVALID',
      'PROMPT_INVALID',
      'PROMPT_INVALID'
    ])
    expect(races.calls.map(({ prompt }) => prompt)).toEqual(['good'])
  })

  it.each([
    new WinnowError('ENGINE_CLOSED', 'closed'),
    new WinnowError('TOKEN_INVALID', 'a bias for no token'),
    new WinnowError('OUT_OF_MEMORY', 'full'),
    new TypeError('a bug')
  ])('of what would fail the next one too ends the map with that: %s', async (error) => {
    const [source, races] = [new Source(100), new Races()]
    const items = map(races, source, options)
    const first = items.next()
    await settle()
    races.call('p0').fail(error)
    await expect(first).rejects.toBe(error)
    expect(races.running).toBe(0)
    expect({ pulled: source.pulled, closed: source.closed }).toEqual({ pulled: 2, closed: true })
    expect(await items.next()).toEqual({ done: true, value: undefined })
  })

  it('of the list of prompts itself ends the map, after what was under way was aborted', async () => {
    function* prompts() {
      yield 'x'
      throw new RangeError('no more')
    }
    const races = new Races()
    await expect(all(map(races, prompts(), options))).rejects.toThrow('no more')
    expect(races.calls).toHaveLength(1)
    expect(races.running).toBe(0)
  })
})

describe('leaving a map', () => {
  it('aborts what is under way and waits for it', async () => {
    const [source, races] = [new Source(100), new Races()]
    const finish = async () => {
      await settle()
      races.call('p1').finish()
    }
    const finishing = finish()
    for await (const _ of map(races, source, { n: 1, concurrency: 3 })) {
      expect(races.running).toBe(2)
      break
    }
    await finishing
    expect(races.running).toBe(0)
    expect(source.closed).toBe(true)
    expect(races.call('p0').options.signal?.aborted).toBe(true)
  })

  it('by a signal rejects with its reason, once nothing runs any more', async () => {
    const [source, races, controller] = [new Source(100), new Races(), new AbortController()]
    const items = map(races, source, { ...options, signal: controller.signal })
    const first = items.next()
    await settle()
    controller.abort(new Error('enough'))
    await expect(first).rejects.toThrow('enough')
    expect(races.running).toBe(0)
    expect(source.closed).toBe(true)
    const never = map(races, source, { ...options, signal: AbortSignal.abort(new Error('before')) })
    await expect(never.next()).rejects.toThrow('before')
  })

  it('by a signal gives out first what had finished', async () => {
    for (const order of ['finished', 'given'] as const) {
      const [races, controller] = [new Races(), new AbortController()]
      const seen: Mapped[] = []
      const over = (async () => {
        for await (const item of map(races, new Source(9), {
          n: 1,
          concurrency: 3,
          order,
          signal: controller.signal
        })) {
          seen.push(item)
        }
      })()
      await settle()
      races.call('p1').finish()
      controller.abort(new Error('enough'))
      await expect(over).rejects.toThrow('enough')
      expect(texts(seen)).toEqual(['p1'])
    }
  })

  it('by stop pulls no more and gives out the best so far', async () => {
    const [source, races, controller] = [new Source(100), new Races(), new AbortController()]
    const items = all(map(races, source, { ...options, stop: controller.signal }))
    await settle()
    controller.abort()
    const reasons = (await items).map((item) => item.result?.reason)
    expect(reasons).toEqual(['stopped', 'stopped'])
    expect(source.closed).toBe(true)
  })
})

describe('a map with a journal', () => {
  const prompts = ['a', 'b', { id: 'one', prompt: 'c' }, { id: 'two', prompt: 'c' }, 'a']
  const about = async () => ({ model: 'm' })

  it('gives out what it has without a race, equal to what the race gave', async () => {
    for (const keep of ['all', 'winner'] as const) {
      const settings = { ...options, keep, order: 'given', journal: fresh() } as const
      const first = await all(map(new Races(true), prompts, settings, about))
      const races = new Races(true)
      const again = await all(map(races, prompts, settings, about))
      expect(races.calls).toEqual([])
      expect(again).toEqual(first.map((item) => ({ ...item, resumed: true })))
      expect(again[0]?.result?.winner?.logprobs).toBeInstanceOf(Float32Array)
    }
  })

  it('races what is missing, in whatever order the prompts come', async () => {
    const settings = { ...options, journal: fresh() }
    for await (const { index } of map(new Races(true), prompts, settings, about)) if (index === 2) break
    const races = new Races(true)
    const items = await all(map(races, prompts.toReversed(), { ...settings, order: 'given' }, about))
    expect(items).toHaveLength(5)
    expect(races.calls.length).toBe(items.filter((item) => item.state === 'done' && !item.resumed).length)
    expect(races.calls.length).toBeLessThan(3)
    const lines = (await readFile(settings.journal, 'utf8')).trimEnd().split('\n')
    expect(lines).toHaveLength(6)
    expect(new Set(lines.slice(1).map((line) => JSON.parse(line).key)).size).toBe(5)
  })

  it('has each result on the disk before it gives it out', async () => {
    const settings = { ...options, journal: fresh() }
    let given = 0
    for await (const { prompt } of map(new Races(true), new Source(9), settings)) {
      given++
      // The next ones are being written.
      const lines = (await readFile(settings.journal, 'utf8')).split('\n').slice(1, -1)
      expect(lines.map((line) => JSON.parse(line).prompt)).toContain(prompt)
    }
    expect(given).toBe(9)
  })

  it('keeps no failure, nothing that was stopped and no race without a token', async () => {
    const settings = { n: 1, concurrency: 4, journal: fresh() }
    const four = ['failed', 'stopped', 'late', 'short']
    const races = new Races()
    const items = all(map(races, four, settings))
    // The file is opened first.
    while (races.calls.length < 4) await settle()
    races.call('failed').fail(new WinnowError('PROMPT_TOO_LONG', 'too long'))
    races.call('stopped').finish({ reason: 'stopped' })
    races.call('late').finish({ reason: 'deadline', usage: { generatedTokens: 0 } as Result['usage'] })
    races.call('short').finish({ reason: 'deadline' })
    const states = (await items).map(({ prompt, state }) => [prompt, state])
    expect(Object.fromEntries(states)).toEqual({ failed: 'failed', stopped: 'done', late: 'failed', short: 'done' })
    const later = new Races(true)
    await all(map(later, four, settings))
    expect(later.calls.map(({ prompt }) => prompt).sort()).toEqual(['failed', 'late', 'stopped'])
  })

  it.each([
    ['seed', { seed: 1 }],
    ['n', { n: 4 }],
    ['keep', { keep: 'winner' }],
    ['sampling.temperature', { sampling: { temperature: 0.5 } }],
    ['identity.alpha', { identity: { alpha: 1 } }]
  ] as const)('refuses the file of a run with another %s', async (name, change) => {
    const settings = { ...options, identity: { alpha: 0.5 }, journal: fresh() }
    await all(map(new Races(true), ['x'], settings, about))
    const [source, races] = [new Source(3), new Races(true)]
    await expect(all(map(races, source, { ...settings, ...change }, about))).rejects.toMatchObject({
      code: 'RESULTS_MISMATCH',
      message: expect.stringMatching(new RegExp(`which differs in ${name}$`))
    })
    expect([source.pulled, races.calls.length]).toEqual([0, 0])
  })

  it('refuses the file of another model', async () => {
    const settings = { ...options, journal: fresh() }
    await all(map(new Races(true), ['x'], settings, about))
    const other = map(new Races(true), ['x'], settings, async () => ({ model: 'other' }))
    await expect(other.next()).rejects.toMatchObject({ message: expect.stringMatching(/differs in model$/) })
  })

  it('lets go of the file when the loop is left', async () => {
    const settings = { ...options, journal: fresh() }
    for await (const _ of map(new Races(true), new Source(9), settings)) break
    expect(await all(map(new Races(true), new Source(9), settings))).toHaveLength(9)
  })
})

describe('a journal that is whole but says what no result is', () => {
  const settings = { n: 3, concurrency: 1, order: 'given' } as const
  /** A journal of two results, the second changed, with checksums as if it had been written so. */
  const forged = async (change: (text: string) => string) => {
    const journal = fresh()
    await all(map(new Races(true), ['a', 'b'], { ...settings, journal }))
    let sum = 0
    const lines = (await readFile(journal, 'utf8')).trimEnd().split('\n')
    const sealed = lines.map((line, i) => {
      const open = i === 2 ? change(line.slice(0, -20)) : line.slice(0, -20)
      sum = crc32(open, sum)
      return `${open},"crc32":"${sum.toString(16).padStart(8, '0')}"}\n`
    })
    await writeFile(journal, sealed.join(''))
    return journal
  }

  it('is read as long as nothing is wrong', async () => {
    const items = await all(map(new Races(true), ['a', 'b'], { ...settings, journal: await forged((text) => text) }))
    expect(items.map((item) => item.state === 'done' && item.resumed)).toEqual([true, true])
  })

  it.each([
    ['"others":[', '"other":[', 'others'],
    ['"text":"\\"b\\" 2"', '"text":2', 'text'],
    ['"seed":"9', '"seed":"x', 'seed'],
    ['"state":"finished"', '"state":"done"', 'winner.status.state'],
    ['"prompt":"b"', '"prompt":"b', null]
  ])('is refused with the number of the line: %s', async (before, after, wrong) => {
    const journal = await forged((text) => {
      expect(text).toContain(before)
      return text.replace(before, after)
    })
    const items = all(map(new Races(true), ['a', 'b'], { ...settings, journal }))
    await expect(items).rejects.toMatchObject({
      code: 'RESULTS_CORRUPT',
      message: expect.stringMatching(
        new RegExp(`for line 3 of .* received ${wrong === null ? '"' : `one that is wrong in ${wrong}$`}`)
      )
    })
  })
})

describe('a result as JSON', () => {
  const there = (result: Result) => resultOf(JSON.parse(JSON.stringify(recordOf(result))))

  it('comes back as it was: numbers to the last bit, infinities, no winner, the choice and its failure', () => {
    const choice: Result['choice'] = {
      winner: 1,
      why: 'highest',
      verdict: 'accepted',
      contenders: [
        {
          id: 1,
          text: 'Infinity',
          tokens: 3,
          reason: 'end',
          raw: Number.NEGATIVE_INFINITY,
          shaped: Number.NEGATIVE_INFINITY,
          rewards: [1, Number.POSITIVE_INFINITY],
          right: true,
          rejectedBy: null
        }
      ],
      failure: new WinnowError('JUDGE_FAILED', 'no')
    }
    const infinite = { ...branch(1, '-Infinity'), score: Number.NEGATIVE_INFINITY }
    const results = [
      resultFor('x'),
      resultFor('x', 3, { choice }),
      resultFor('x', 2, { winner: null, text: '', score: null, branches: [branch(0, ''), branch(1, 'é', null)] }),
      resultFor('x', 1, { winner: infinite, branches: [infinite], text: '-Infinity', score: infinite.score })
    ]
    for (const result of results) expect(there(result)).toEqual(result)
  })

  it('keeps every log-probability', () => {
    fc.assert(
      fc.property(fc.array(fc.float({ noNaN: true, noDefaultInfinity: true })), (values) => {
        const logprobs = Float32Array.from(values, (value) => -Math.abs(value) || 0)
        const winner = { ...branch(1, 'x'), logprobs }
        const back = there(resultFor('x', 2, { winner, branches: [winner], text: 'x', score: 1 }))
        expect(back.winner?.logprobs).toEqual(logprobs)
      })
    )
  })
})
