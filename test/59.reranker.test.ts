import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { NativeRanker, NativeRankScores } from '../src/binding.js'
import { every } from '../src/checkpoint.js'
import { RewardModels } from '../src/cli/reward.js'
import { embedded, example } from '../src/embedded.js'
import { type Engine, open } from '../src/engine.js'
import { openRanker } from '../src/model.js'
import { resolveOpen } from '../src/options.js'
import { specReject } from '../src/policies/spec-reject.js'
import type { Result } from '../src/result.js'
import { PairSession } from '../src/reward/pair-session.js'
import { endOf, queryOf, rankFrame } from '../src/reward/rank-frame.js'
import { type Reranker, type RerankerOptions, reranker } from '../src/reward/reranker.js'
import { RewardSession } from '../src/reward/session.js'
import type { RaceFacts, Scoring } from '../src/scorer.js'
import { candidate } from './fakes/candidate.js'
import { deviation } from './fakes/deviation.js'
import { FakeHead, FakeModel } from './fakes/model.js'
import { binding } from './native/models.js'

/** What tools/rerank_fixture.py wrote: pairs of texts, their tokens, and the scores that transformers gives them. */
interface Fixture {
  readonly models: readonly {
    readonly name: string
    readonly cases: readonly {
      readonly query: string
      readonly document: string
      readonly tokens: readonly number[]
      readonly score: number
      /** The same with GELU as ggml's CPU backend has it, from a table of F16; absent for decoders. */
      readonly tabled?: number
    }[]
  }[]
}

const folder = fileURLToPath(new URL('./fixtures/rerankers/', import.meta.url))
const fixture = JSON.parse(await readFile(join(folder, 'scores.json'), 'utf8')) as Fixture
const file = (name: string) => join(folder, `${name}.gguf`)
const exact = { threads: 1, kvType: 'f32', flashAttention: 'off' } as const
/** Shares of the scores' standard deviation: of rounding, and of ggml's GELU. */
const [tolerance, tableTolerance] = [1e-3, 1e-2]
const scoring = { signal: new AbortController().signal } as Scoring

let opened: Reranker[] = []
function ranked(name: string, options: Partial<RerankerOptions> = {}): Reranker {
  const made = reranker({ ...exact, model: file(name), ...options })
  opened.push(made)
  return made
}
afterEach(async () => {
  for (const one of opened) await one.close()
  opened = []
})

function raceOf(query: string, n: number, maxTokens = 100): RaceFacts {
  const model = { ...new FakeModel().facts, path: embedded.model }
  const turns = [{ role: 'user', content: query }] as const
  return { model, head: null, turns, n, atOnce: n, maxTokens, signal: scoring.signal }
}

/** Scores of documents, each a candidate, of one look at all of them. */
async function scoresOf(scorer: Reranker, query: string, documents: readonly string[]): Promise<number[]> {
  const session = await scorer.begin(raceOf(query, documents.length))
  try {
    return Array.from(
      await session.score(
        documents.map((text, id) => candidate(id, text)),
        scoring
      )
    )
  } finally {
    await session.end?.()
  }
}

describe.each(fixture.models)('the scores of a random $name reranker', ({ name, cases }) => {
  const spread = deviation(cases.map(({ score }) => score))
  const queries = [...new Set(cases.map(({ query }) => query))]
  const of = (query: string) => cases.filter((one) => one.query === query)

  it('are those of transformers, for growing texts side by side', async () => {
    expect(cases.length).toBeGreaterThanOrEqual(24)
    expect(spread).toBeGreaterThan(0.1)
    const scorer = ranked(name)
    let [largest, original] = [0, 0]
    for (const query of queries) {
      const scores = await scoresOf(
        scorer,
        query,
        of(query).map(({ document }) => document)
      )
      for (const [i, { score, tabled = score }] of of(query).entries()) {
        largest = Math.max(largest, Math.abs((scores[i] as number) - tabled) / spread)
        original = Math.max(original, Math.abs((scores[i] as number) - score) / spread)
      }
    }
    const [by, table] = [largest.toExponential(1), original.toExponential(1)]
    console.info(`${name}: off by at most ${by} deviations in ${cases.length} scores, ${table} with GELU's table`)
    expect(largest).toBeLessThan(tolerance)
    expect(original).toBeLessThan(tableTolerance)
  })

  it('are the same for a text that has grown from look to look as for one read at once', async () => {
    const scorer = ranked(name)
    const grown = of(queries[0] as string).slice(0, 4)
    const session = await scorer.begin(raceOf(queries[0] as string, 2))
    for (const { document, score, tabled = score } of grown) {
      const looked = await session.score([candidate(0, document), candidate(1, 'cats')], scoring)
      const [first, second] = [looked[0], looked[1]]
      expect(Math.abs((first as number) - tabled) / spread).toBeLessThan(tolerance)
      expect(second).toBeTypeOf('number')
    }
    await session.end?.()
  })

  it('differ from text to text, and are no probabilities', async () => {
    const query = queries[1] as string
    const scores = await scoresOf(
      ranked(name),
      query,
      of(query).map(({ document }) => document)
    )
    expect(new Set(scores).size).toBeGreaterThan(5)
    expect(scores).not.toContain(1)
  })

  it('of texts longer than the context are those of their ends', async () => {
    const sentence = 'rain falls where it is deep. '
    const end = `${sentence.repeat(40)}the cat sat on the mat`
    const texts = [end, end.slice(2 * sentence.length), `${end} why`]
    const [whole, cut, other] = (await scoresOf(ranked(name), 'why?', texts)) as [number, number, number]
    expect(Math.abs(whole - cut) / spread).toBeLessThan(tolerance)
    expect(Math.abs(whole - other) / spread).toBeGreaterThan(tolerance)
  })

  it('can be had for a question that is longer than the context too', async () => {
    const question = `${'why is it deep? '.repeat(60)}where is the cat`
    const [one, same, other] = (await scoresOf(ranked(name), question, ['cat', 'cat', 'the mat'])) as number[]
    expect(one).toBe(same)
    expect(Number.isFinite(other) && other !== one).toBe(true)
  })
})

describe('a pair of texts', () => {
  it.each(fixture.models.filter(({ name }) => name.includes('bert')))(
    'is cut into the tokens that transformers cuts it into ($name)',
    async ({ name, cases }) => {
      const model = await openRanker(binding, file(name), resolveOpen(exact))
      const native = await binding.createRanker(model, { context: 64, batch: 64, threads: 1, flashAttention: 'off' })
      const { before, between, after } = native.frame
      for (const { query, document, tokens } of cases) {
        const [asked, answered] = [
          await model.tokenize(query, false, false),
          await model.tokenize(document, false, false)
        ]
        expect([...before, ...asked, ...between, ...answered, ...after]).toEqual(tokens)
      }
      await native.close()
      model.close()
    }
  )
})

/** NativeRanker whose score is the sum of its tokens: 1 before, 2 between and 3 behind. */
class FakeRanker implements NativeRanker {
  readonly frame = { before: Int32Array.of(1), between: Int32Array.of(2), after: Int32Array.of(3) }
  readonly context = 16
  readonly calls: number[][] = []
  fault: Error | null = null
  aborted = false

  async score(tokens: Int32Array, offsets: Int32Array): Promise<NativeRankScores> {
    if (this.fault !== null) throw this.fault
    const texts = Array.from({ length: offsets.length - 1 }, (_, i) => tokens.subarray(offsets[i], offsets[i + 1]))
    for (const text of texts) this.calls.push([...text])
    const rest = { batches: 1, seconds: 0 }
    await new Promise((resolve) => setTimeout(resolve, 2))
    if (this.aborted) return { reason: 'aborted', scores: new Float32Array(0), decoded: 0, ...rest }
    const scores = Float32Array.from(texts, (text) => text.reduce((sum, token) => sum + token, 0))
    return { reason: 'reached', scores, decoded: tokens.length, ...rest }
  }

  abort(): void {
    this.aborted = true
  }

  async close(): Promise<void> {}
}

describe('a session of an encoder', () => {
  const codes = (text: string) => [...Buffer.from(text)]
  async function begun(query: string) {
    const native = new FakeRanker()
    const released: boolean[] = []
    const release = async (broken: boolean) => {
      released.push(broken)
    }
    const session = await PairSession.begin(new FakeModel({ addBos: false }), native, query, raceOf(query, 4), release)
    return { native, released, session }
  }

  it('reads only what has changed since it last looked', async () => {
    const { native, session } = await begun('q')
    const first = await session.score([candidate(0, 'ab'), candidate(1, 'cd')], scoring)
    const second = await session.score([candidate(0, 'ab', 'finished'), candidate(1, 'cde')], scoring)
    expect(native.calls).toEqual(['ab', 'cd', 'cde'].map((text) => [1, ...codes('q'), 2, ...codes(text), 3]))
    expect(second[0]).toBe(first[0])
    expect(session.processedTokens).toBe(native.calls.flat().length)
    await session.score([candidate(0, 'ab', 'finished')], scoring)
    expect(native.calls).toHaveLength(3)
  })

  it('reads a text that several branches wrote once', async () => {
    const { native, session } = await begun('q')
    const scores = await session.score([candidate(0, 'ab'), candidate(1, 'cd'), candidate(2, 'ab')], scoring)
    expect(native.calls).toHaveLength(2)
    expect(scores[2]).toBe(scores[0])
  })

  it('leaves out the half of a character that is still being written', async () => {
    const { native, session } = await begun('q')
    await session.score([candidate(0, 'ab\uFFFD')], scoring)
    expect(native.calls).toEqual([[1, ...codes('q'), 2, ...codes('ab'), 3]])
    await session.score([candidate(0, 'ab\uFFFD', 'finished')], scoring)
    expect(native.calls).toHaveLength(2)
  })

  it.each([
    ['0123456789', '', '0123456789', ''],
    ['0123456789', 'abc', '0123456789', 'abc'],
    ['0123456789', 'abcd', '123456789', 'abcd'],
    ['0123456789', 'abcdefghij', '3456789', 'efghij'],
    ['01', 'abcdefghijklmnop', '01', 'fghijklmnop']
  ])('leaves out of %j and %j what is missing, of the question half at most', async (query, answer, asked, read) => {
    const { native, session } = await begun(query)
    await session.score([candidate(0, answer)], scoring)
    expect(native.calls).toEqual([[1, ...codes(asked), 2, ...codes(read), 3]])
  })

  it('takes special tokens in a text for plain text', async () => {
    const { native, session } = await begun('q')
    await session.score([candidate(0, '<s>')], scoring)
    expect(native.calls).toEqual([[1, ...codes('q'), 2, ...codes('<s>'), 3]])
  })

  it('stops when its signal aborts, and gives its ranker back as broken', async () => {
    const { native, released, session } = await begun('q')
    const controller = new AbortController()
    const reading = session.score([candidate(0, 'ab')], { signal: controller.signal } as Scoring)
    setTimeout(() => controller.abort(new Error('enough')), 1)
    await expect(reading).rejects.toThrow('enough')
    expect(native.aborted).toBe(true)
    await session.end()
    expect(released).toEqual([true])
  })

  it('passes on what the ranker fails with, and says so when it was closed under it', async () => {
    const { native, released, session } = await begun('q')
    native.fault = Object.assign(new Error('Expected more'), { code: 'DECODE_FAILED' })
    await expect(session.score([candidate(0, 'ab')], scoring)).rejects.toMatchObject({ code: 'DECODE_FAILED' })
    native.fault = null
    native.aborted = true
    await expect(session.score([candidate(0, 'ab')], scoring)).rejects.toMatchObject({ code: 'CLOSED' })
    await session.end()
    expect(released).toEqual([true])
  })
})

describe('a reranker template', () => {
  it('puts the question before the answer, and spaces before the answer into it', () => {
    expect(rankFrame('Q {query}\nD:  {document}!\n', 'why?')).toEqual({
      prefix: 'Q why?\nD:',
      suffix: '!\n',
      trimsStart: false,
      trimsEnd: false,
      lead: '  '
    })
  })

  it.each([
    '{query}',
    '{document}',
    '{document} {query}',
    '{query} {query} {document}',
    '{query} {document} {document}'
  ])('that is %s is refused', (template) => {
    expect(() => reranker({ model: 'x', template })).toThrow(
      `Expected {query} once and {document} once behind it for the reranker template but received "${template}"`
    )
  })

  it('asks for what the user said last', () => {
    const turn = (role: string, content: string) => ({ role, content })
    expect(
      queryOf([turn('user', 'first'), turn('assistant', 'x'), turn('user', ' last '), turn('assistant', 'y')])
    ).toBe('last')
    expect(queryOf([turn('system', 'alone')])).toBe('alone')
  })
})

/** Cuts a text that begins with c into two tokens more than it has letters. */
class Unsteady extends FakeModel {
  override async tokenize(text: string, addSpecial: boolean, parseSpecial: boolean): Promise<Int32Array> {
    const codes = await super.tokenize(text, addSpecial, parseSpecial)
    return text.startsWith('c') ? Int32Array.of(0, 0, ...codes) : codes
  }
}

describe('a question too long for a decoder', () => {
  it('keeps its end, of no more tokens than there may be however that end is cut', async () => {
    const model = new Unsteady()
    expect(await endOf(model, 'abcdef', 6)).toBe('abcdef')
    expect(await endOf(model, 'abcdef', 3)).toBe('def')
    expect(await endOf(model, 'abcdef', 4)).toBe('ef')
    expect(await endOf(model, 'abc', 1)).toBe('')
  })

  it('is an error where nothing else would fit into what is read at once', async () => {
    const query = '0123456789'
    const frameOf = () => rankFrame('Q {query}\nD: {document}!', query)
    const shared = { model: new FakeModel({ addBos: false }), head: new FakeHead(), vocabulary: '', template: null }
    const acquire = () => Promise.reject(new Error('it fits'))
    const begun = (longest: number) => {
      const backbone = { ...shared, reencode: false, frameOf, longest }
      return RewardSession.begin(backbone, null, raceOf(query, 1), { acquire, release: async () => {} })
    }
    // The question and what is around it take 15 tokens, what closes an answer takes 1.
    await expect(begun(15)).rejects.toMatchObject({
      code: 'CONTEXT_TOO_LONG',
      message: 'Expected at most 15 tokens for the reward model to read but received 16'
    })
    await expect(begun(16)).rejects.toThrow('it fits')
  })
})

describe('a reranker', () => {
  it.each([
    [{ model: '' }, 'Expected a path for model but received ""'],
    [{}, 'Expected a path for model but received nothing'],
    [{ model: 'x', context: 0 }, 'Expected a whole number, 1 or more for context but received 0'],
    [{ model: 'x', template: 1 }, 'Expected a template for template but received 1'],
    [{ model: 'x', treads: 1 }, 'did you mean "threads"?']
  ])('of %j is refused', (options, sentence) => {
    expect(() => reranker(options as never)).toThrow(sentence)
  })

  it('refuses models without a rank head, contexts too long or too short, and a template where none is read', async () => {
    const load = (options: Partial<RerankerOptions>) => ranked('bert', options).load()
    await expect(load({ model: embedded.model })).rejects.toMatchObject({
      code: 'MODEL_UNSUPPORTED',
      message: expect.stringContaining('has no rank head')
    })
    await expect(load({ model: join(folder, 'none.gguf') })).rejects.toMatchObject({ code: 'MODEL_NOT_FOUND' })
    await expect(load({ model: join(folder, 'scores.json') })).rejects.toMatchObject({ code: 'MODEL_CORRUPT' })
    await expect(load({ context: 65 })).rejects.toMatchObject({
      code: 'CONTEXT_TOO_LONG',
      message: 'Expected at most 64 for context but received 65'
    })
    await expect(load({ template: '{query} {document}' })).rejects.toMatchObject({ code: 'OPTION_INVALID' })
    await expect(ranked('qwen3', { context: 9 }).load()).rejects.toMatchObject({ code: 'OPTION_INVALID' })
    const short = scoresOf(ranked('bert', { context: 4 }), 'why?', ['it'])
    await expect(short).rejects.toThrow('Expected 5 or more for context but received 4')
  })

  it('of an encoder is no generator', async () => {
    await expect(open(file('bert'), { threads: 1 })).rejects.toMatchObject({
      code: 'MODEL_UNSUPPORTED',
      message: expect.stringContaining("architecture 'bert', which is an encoder only")
    })
  })

  it('is of no use after it was closed, which may happen twice and while it reads', async () => {
    const scorer = ranked('bert')
    const session = await scorer.begin(raceOf('why?', 1))
    const reading = Promise.resolve(session.score([candidate(0, 'rain '.repeat(10))], scoring)).catch(
      (error: unknown) => error
    )
    await Promise.all([scorer.close(), scorer.close()])
    await reading
    await session.end?.()
    await expect(scorer.begin(raceOf('why?', 1))).rejects.toMatchObject({ code: 'CLOSED' })
  })

  it('serves one race at a time', async () => {
    const scorer = ranked('qwen3')
    const first = await scorer.begin(raceOf('why?', 1))
    let second = false
    const waiting = scorer.begin(raceOf('why?', 1)).then((session) => {
      second = true
      return session
    })
    await first.score([candidate(0, 'rain')], scoring)
    expect(second).toBe(false)
    await first.end?.()
    await (await waiting).end?.()
  })

  it('is named on the command line, and stands in the results', async () => {
    const flags = { rewardDelimiter: '\\n\\n', rewardAggregate: 'min' } as const
    const models = new RewardModels({ ...flags, reranker: file('bert') }, exact)
    expect(models.default?.name).toBe('reranker')
    expect(models.named('reranker')).toBe(models.default)
    expect(await models.provenance()).toEqual({
      reranker: 'bert.gguf',
      rerankerSha256: expect.stringMatching(/^[0-9a-f]{64}$/)
    })
    await models.load()
    await models.close()
    expect(() => new RewardModels(flags, exact).named('reranker')).toThrow(
      'Expected a path for --reranker but received nothing'
    )
  })
})

describe('a race with a reranker', () => {
  let engine: Engine
  beforeAll(async () => {
    engine = await open(undefined, { threads: 1 })
  })
  afterAll(() => engine.close())
  const race = { seed: 4, maxTokens: 60, policy: specReject({ alpha: 0.3, checkpoints: every(16) }) }
  const outcome = ({ branches }: Result) =>
    branches.map(({ status, scores, tokens }) => ({ status, scores, tokens: [...tokens] }))

  it.each(['bert', 'qwen3'])(
    'ends, kills, and comes out the same each time where it is deterministic (%s)',
    async (name) => {
      const options = { ...race, deterministic: true }
      const once = await engine.bestOf(8, example.prompt, { ...options, scorer: ranked(name) })
      const again = await engine.bestOf(8, example.prompt, { ...options, scorer: ranked(name) })
      expect(once.failure).toBeNull()
      expect(once.reason).toBe('settled')
      expect(once.scorer).toBe('reranker')
      expect(once.branches.some(({ status }) => status.state === 'killed')).toBe(true)
      expect(once.usage.rewardTokens).toBeGreaterThan(100)
      expect(outcome(again)).toEqual(outcome(once))
    }
  )

  it('decodes each token once with a decoder, and reads whole texts again with an encoder', async () => {
    const options = { seed: 1, maxTokens: 48, checkpoints: every(8) }
    const decoder = await engine.bestOf(4, example.prompt, { ...options, scorer: ranked('qwen3') })
    const encoder = await engine.bestOf(4, example.prompt, { ...options, scorer: ranked('bert') })
    const looks = decoder.branches.reduce((sum, { scores }) => sum + scores.length, 0)
    expect(looks).toBeGreaterThan(12)
    const read = decoder.branches.reduce((sum, { text }) => sum + Buffer.byteLength(text), 0)
    // Its tokens are bytes or a little more; the template closes with 25 to 30 of them at each look.
    expect(decoder.usage.rewardTokens).toBeLessThan(read + 40 * looks + 300)
    expect(encoder.usage.rewardTokens).toBeGreaterThan(looks * 8)
  })

  it('leaves a deadline in force', async () => {
    const scorer = ranked('modern-bert')
    await scorer.load()
    const result = await engine.bestOf(16, example.prompt, { scorer, checkpoints: every(4), deadlineMs: 60 })
    expect(result.reason).toBe('deadline')
  })
})
