import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { embedded } from '../src/embedded.js'
import { type Mirrors, RewardSession, type Steps } from '../src/reward/session.js'
import { vocabularyOf } from '../src/reward/vocabulary.js'
import type { Candidate, RaceFacts, Scoring } from '../src/scorer.js'
import { candidate } from './fakes/candidate.js'
import { FakeMirror, logitOf } from './fakes/mirror.js'
import { FakeHead, FakeModel } from './fakes/model.js'

const closed = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}!"
const scoring = { signal: new AbortController().signal } as Scoring
const bytes = (text: string) => [...Buffer.from(text)]

/** Two characters make a token from "a" up, so the last token of an odd text changes when it grows. */
class PairModel extends FakeModel {
  override async tokenize(text: string, addSpecial: boolean): Promise<Int32Array> {
    const pairs = text.match(/[a-z]{2}|./gs) ?? []
    const tokens = pairs.map((pair) => bytes(pair).reduce((sum, byte) => sum * 256 + byte, 0))
    return Int32Array.from(addSpecial ? [1, ...tokens] : tokens)
  }

  override async detokenize(tokens: Int32Array, offsets: Int32Array): Promise<string[]> {
    const textOf = (token: number) =>
      token === 1 ? '' : Buffer.from(token < 256 ? [token] : [token >> 8, token & 255])
    return Array.from({ length: offsets.length - 1 }, (_, i) =>
      Array.from(tokens.subarray(offsets[i], offsets[i + 1]), textOf).join('')
    )
  }
}

interface Settings {
  same?: boolean
  steps?: Steps
  n?: number
  maxTokens?: number
  context?: number
  reencode?: boolean
  question?: string
  template?: string
  addBos?: boolean
  atOnce?: number
}

async function session(settings: Settings) {
  const { same = true, steps = null, n = 4, maxTokens = 200, context = 4096, reencode = false } = settings
  const { question = 'why?', template = closed, addBos = true, atOnce = n } = settings
  const mirrors: FakeMirror[] = []
  const released: boolean[] = []
  const source: Mirrors = {
    async acquire(_, cells) {
      const native = new FakeMirror(Math.min(cells, context))
      mirrors.push(native)
      return { native, cells: native.cellsPerStream }
    },
    async release(broken) {
      released.push(broken)
    }
  }
  const Model = same ? FakeModel : PairModel
  const model = new Model({ contextTrain: context, addBos })
  const vocabulary = same ? await vocabularyOf(embedded.model) : 'another'
  const backbone = { model, head: new FakeHead(), vocabulary, template, reencode }
  const race: RaceFacts = {
    model: { ...model.facts, path: embedded.model },
    head: null,
    turns: [{ role: 'user', content: question }],
    n,
    atOnce,
    maxTokens,
    signal: scoring.signal
  }
  const prefix = [...(await model.tokenize('<user>why?<assistant>', true, true))]
  const suffix = [...(await model.tokenize(steps?.marker ?? '!', false, true))]
  const scored = await RewardSession.begin(backbone, steps, race, source)
  const scratch = async (text: string) => {
    const answer = same ? bytes(text) : [...(await model.tokenize(text, false, false))]
    return logitOf([...prefix, ...answer, ...suffix])
  }
  return { session: scored, mirrors, released, scratch, prefix, suffix }
}

describe('a reward session', () => {
  it('reads the prompt once and every token once, and the closing tokens at each score', async () => {
    const { session: scored, mirrors, prefix, suffix } = await session({ n: 2 })
    await scored.score([candidate(0, 'ab'), candidate(1, 'cd')], scoring)
    await scored.kill([0])
    await scored.score([candidate(1, 'cdefg', 'finished')], scoring)
    expect(mirrors[0]?.calls).toEqual([
      `prefill ${prefix.length}`,
      'fork 2',
      'score 0 1: 4',
      'drop 0',
      'score 1: 3',
      'drop 1'
    ])
    expect(scored.processedTokens).toBe(prefix.length + 7 + 3 * suffix.length)
  })

  const growth = fc.array(fc.stringMatching(/^[a-z .]{0,9}$/), { minLength: 1, maxLength: 6 })
  it.each([[true], [false]])('scores as if from scratch whatever was read before (same vocabulary: %s)', (same) =>
    fc.assert(
      fc.asyncProperty(fc.array(growth, { minLength: 1, maxLength: 4 }), async (branches) => {
        const { session: scored, scratch } = await session({ same, n: branches.length })
        for (let round = 0; round < 6; round++) {
          const alive = branches.flatMap((parts, id) => (parts.length > round ? [{ parts, id }] : []))
          if (alive.length === 0) break
          const texts = alive.map(({ parts }) => parts.slice(0, round + 1).join(''))
          const all = alive.map(({ id, parts }, i) =>
            candidate(id, texts[i] as string, parts.length === round + 1 ? 'finished' : 'live')
          )
          const scores = await scored.score(all, scoring)
          expect(scores).toEqual(await Promise.all(texts.map(scratch)))
        }
      })
    )
  )

  it.each([[true], [false]])('scores the same with fewer streams than branches (same vocabulary: %s)', (same) =>
    fc.assert(
      fc.asyncProperty(
        fc.array(growth, { minLength: 1, maxLength: 7 }),
        fc.integer({ min: 1, max: 3 }),
        async (branches, streams) => {
          const atOnce = Math.min(streams, branches.length)
          const { session: scored, scratch, mirrors } = await session({ same, n: branches.length, atOnce })
          for (let round = 0; round < 6; round++) {
            const alive = branches.flatMap((parts, id) => (parts.length > round ? [{ parts, id }] : []))
            if (alive.length === 0) break
            const texts = alive.map(({ parts }) => parts.slice(0, round + 1).join(''))
            const all = alive.map(({ id }, i) => candidate(id, texts[i] as string))
            expect(await scored.score(all, scoring)).toEqual(await Promise.all(texts.map(scratch)))
            await scored.kill(alive.filter(({ parts }) => parts.length === round + 1).map(({ id }) => id))
          }
          expect(mirrors[0]?.calls[1]).toBe(`fork ${atOnce}`)
        }
      )
    )
  )

  it('with fewer streams than branches reads a branch again from where its stream says something else', async () => {
    const { session: scored, mirrors } = await session({ n: 3, atOnce: 2 })
    await scored.score([candidate(0, 'ab'), candidate(1, 'cd'), candidate(2, 'ax')], scoring)
    await scored.score([candidate(1, 'cde'), candidate(2, 'axy')], scoring)
    await scored.kill([1])
    await scored.kill([0, 2])
    // Branch 2 takes the stream of branch 0 and finds its first letter there.
    expect(mirrors[0]?.calls.slice(2)).toEqual(['score 0 1: 4', 'score 0: 1', 'score 1 0: 2', 'drop 0'])
  })

  it('that reads again scores the same, and pays for all it reads', async () => {
    const { session: scored, scratch, prefix, suffix } = await session({ n: 2, reencode: true })
    await scored.score([candidate(0, 'ab'), candidate(1, 'cd')], scoring)
    expect(await scored.score([candidate(1, 'cdefg')], scoring)).toEqual([await scratch('cdefg')])
    expect(scored.processedTokens).toBe(prefix.length + 3 * (prefix.length + suffix.length) + 2 + 2 + 5)
  })

  it('pays a token again where its boundary moved, and no more', async () => {
    const { session: scored, mirrors } = await session({ same: false, n: 1 })
    await scored.score([candidate(0, 'abc')], scoring)
    await scored.score([candidate(0, 'abcd')], scoring)
    // Beside what is new the closing mark, which might have joined the answer, each time.
    expect(mirrors[0]?.calls.slice(2)).toEqual(['score 0: 3', 'score 0: 2'])
  })

  it('cuts the text into tokens together with what stands around it, wherever the boundaries go', () =>
    fc.assert(
      fc.asyncProperty(fc.array(fc.stringMatching(/^[a-z .]{0,5}$/), { minLength: 1, maxLength: 5 }), async (parts) => {
        const around = "{% for m in messages %}{{ m['role'] }}-{{ m['content'] }}so{% endfor %}"
        const { session: scored, mirrors } = await session({ same: false, n: 1, template: around })
        for (let round = 1; round <= parts.length; round++) {
          const text = parts.slice(0, round).join('')
          const whole = await new PairModel().tokenize(`user-why?soassistant-${text}so`, true)
          expect(await scored.score([candidate(0, text)], scoring)).toEqual([logitOf([...whole])])
        }
        const prompt = await new PairModel().tokenize('user-why?soassistant-', true)
        expect(mirrors.flatMap(({ calls }) => calls.slice(0, 2))).toEqual([`prefill ${prompt.length}`, 'fork 1'])
      })
    ))

  it('waits with the half of a character that is still being written', async () => {
    const { session: scored, scratch } = await session({ same: false, n: 1 })
    expect(await scored.score([candidate(0, 'ab\uFFFD')], scoring)).toEqual([await scratch('ab')])
    expect(await scored.score([candidate(0, 'ab\uFFFD', 'finished')], scoring)).toEqual([await scratch('ab\uFFFD')])
  })

  it('moves to a larger mirror when text takes more tokens than foreseen, and counts what that cost', async () => {
    const { session: scored, mirrors, scratch, prefix, suffix } = await session({ same: false, n: 1, maxTokens: 4 })
    const long = '.'.repeat(50)
    expect(await scored.score([candidate(0, '..')], scoring)).toEqual([await scratch('..')])
    expect(await scored.score([candidate(0, long)], scoring)).toEqual([await scratch(long)])
    expect(mirrors).toHaveLength(2)
    expect(scored.processedTokens).toBe(2 * prefix.length + 2 + 50 + 2 * suffix.length)
  })

  it('moves to one that has room for what is still to come at the same rate, and for no more', async () => {
    const outgrown = async (state: Candidate['state'], written: number) => {
      const { session: scored, mirrors, prefix, suffix } = await session({ same: false, n: 1, maxTokens: 100 })
      const one = { ...candidate(0, '.'.repeat(200), state), tokens: new Int32Array(written) }
      await scored.score([one], scoring)
      return { cells: mirrors[1]?.cellsPerStream as number, needed: prefix.length + 200 + suffix.length }
    }
    const ended = await outgrown('finished', 80)
    expect(ended.cells).toBe(ended.needed)
    const growing = await outgrown('live', 80)
    expect(growing.cells).toBeGreaterThanOrEqual(growing.needed + 50)
    expect(growing.cells).toBeLessThan(growing.needed + 60)
    // Early on the rate says little: half as much again, as before.
    const early = await outgrown('live', 10)
    expect(early.cells).toBe(Math.ceil(1.5 * early.needed))
  })

  it('keeps no streams in a larger mirror for branches that are gone', async () => {
    const { session: scored, mirrors } = await session({ same: false, n: 3, maxTokens: 4 })
    await scored.score([candidate(0, '..'), candidate(1, '..', 'finished'), candidate(2, '..')], scoring)
    await scored.kill([0])
    await scored.score([candidate(2, '.'.repeat(50))], scoring)
    expect(mirrors[1]?.calls.slice(1)).toEqual(['fork 3', 'drop 1 0', 'score 2: 51'])
  })

  it('says so when the reward model is closed while it reads', async () => {
    const { session: scored, mirrors } = await session({ n: 1 })
    ;(mirrors[0] as FakeMirror).milliseconds = 10_000
    const scores = scored.score([candidate(0, 'ab')], scoring)
    setTimeout(() => mirrors[0]?.abort(), 10)
    await expect(scores).rejects.toMatchObject({ code: 'CLOSED' })
  })

  it('takes special tokens that a question names for plain text', async () => {
    const { session: scored, prefix } = await session({ n: 1, question: 'w<s>?' })
    const plain = [prefix[0] as number, ...bytes('<user>w<s>?<assistant>')]
    const closing = bytes('!')
    expect(await scored.score([candidate(0, 'ab')], scoring)).toEqual([logitOf([...plain, ...bytes('ab'), ...closing])])
  })

  it('refuses a template that writes nothing before the answer', async () => {
    const bare = session({ template: "{{ messages[-1]['content'] }}", addBos: false })
    await expect(bare).rejects.toMatchObject({
      code: 'TEMPLATE_FAILED',
      message: 'Expected text before the answer for a rendered reward template but received nothing'
    })
  })

  it('refuses what its context cannot hold', async () => {
    const { session: scored } = await session({ same: false, n: 1, context: 40 })
    await expect(scored.score([candidate(0, '.'.repeat(50))], scoring)).rejects.toMatchObject({
      code: 'CONTEXT_TOO_LONG',
      message: expect.stringMatching(/^Expected at most 40 tokens for the reward model to read but received \d+$/)
    })
    await expect(session({ question: '.'.repeat(50), context: 40 })).rejects.toMatchObject({
      code: 'CONTEXT_TOO_LONG',
      message: expect.stringMatching(/^Expected at most 40 tokens for the reward model to read but received \d+$/)
    })
  })

  it('lets go when the scoring is aborted, and its cells are not used again', async () => {
    const { session: scored, mirrors, released } = await session({ n: 1 })
    ;(mirrors[0] as FakeMirror).milliseconds = 10_000
    const controller = new AbortController()
    const reason = new Error('enough')
    const scores = scored.score([candidate(0, 'ab')], { signal: controller.signal } as Scoring)
    setTimeout(() => controller.abort(reason), 10)
    await expect(scores).rejects.toBe(reason)
    await scored.end()
    expect(released).toEqual([true])
  })

  it('does not end before the call in flight has', async () => {
    const { session: scored, mirrors, released } = await session({ n: 1 })
    ;(mirrors[0] as FakeMirror).milliseconds = 30
    const scores = scored.score([candidate(0, 'ab')], scoring)
    await scored.end()
    expect(mirrors[0]?.calls.at(-1)).toBe('score 0: 2')
    expect(released).toEqual([false])
    await scores
  })
})

describe('a process reward session', () => {
  const steps = (aggregate: Steps['aggregate']): Steps => ({ delimiter: '\n', marker: '#', aggregate })

  /** Logits at the marker after each step, everything before it included. */
  const logits = (prefix: readonly number[], ...parts: string[]) =>
    parts.map((_, i) => logitOf([...prefix, ...bytes(parts.slice(0, i + 1).join('#')), ...bytes('#')]))

  it.each([
    ['last', (all: number[]) => all.at(-1) as number],
    ['min', (all: number[]) => Math.min(...all)],
    ['product', (all: number[]) => Math.log(all.reduce((product, x) => product / (1 + Math.exp(-x)), 1))]
  ] as const)('takes the %s of its steps, the growing one read at a marker that does not stay', async (how, naive) => {
    const { session: scored, prefix } = await session({ steps: steps(how), n: 1 })
    const texts: [string, string[]][] = [
      ['one', ['one']],
      ['one\n', ['one']],
      ['one\n\ntwo', ['one', 'two']],
      ['one\n\ntwo and\nthree', ['one', 'two and', 'three']]
    ]
    for (const [text, parts] of texts) {
      const [score] = await scored.score([candidate(0, text)], scoring)
      expect(score).toBeCloseTo(naive(logits(prefix, ...parts)), 5)
    }
  })

  it('reads each step that has ended once', async () => {
    const { session: scored, mirrors } = await session({ steps: steps('min'), n: 1 })
    await scored.score([candidate(0, 'one\ntw')], scoring)
    await scored.score([candidate(0, 'one\ntwo\n')], scoring)
    expect(mirrors[0]?.calls.slice(2)).toEqual(['score 0: 6', 'score 0: 2'])
  })

  it('refuses a marker that is not one token', async () => {
    const mistyped = session({ steps: { ...steps('min'), marker: '<#>' } })
    await expect(mistyped).rejects.toMatchObject({
      code: 'OPTION_INVALID',
      message: 'Expected the text of one token for steps.marker but received "<#>", which makes 3'
    })
  })

  it('has a score before anything is written', async () => {
    const { session: scored, prefix } = await session({ steps: steps('min'), n: 1 })
    expect(await scored.score([candidate(0, '')], scoring)).toEqual([logitOf([...prefix, ...bytes('#')])])
  })
})
