import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Entrant, finalChoice } from '../src/final-choice.js'
import { type Judge, judgeOf } from '../src/judge.js'
import { ended, scoreAtLeast, tokensAtMost } from '../src/judges/threshold.js'
import { type PipelineOptions, pipeline } from '../src/pipeline.js'
import type { PlainScorer, RaceFacts, Scorer, Scoring } from '../src/scorer.js'
import { rankMean } from '../src/selections/rank-mean.js'
import { majorityVote } from '../src/selections/vote.js'
import { lengthPenalty } from '../src/shapers/length-penalty.js'

function entrant(id: number, raw: number, tokens = 10, text = ''): Entrant {
  const numbers = new Float32Array(tokens)
  const candidate = {
    id,
    state: 'finished' as const,
    tokens: new Int32Array(tokens),
    logprobs: numbers,
    entropies: numbers,
    text
  }
  return { candidate, reason: 'end', raw }
}
const controller = new AbortController()
const scoring = { prompt: 'why?', signal: controller.signal } as Scoring
const race = { signal: controller.signal } as RaceFacts
const run = (options: PipelineOptions, entrants: readonly Entrant[]) =>
  finalChoice(pipeline(options), entrants, race, scoring, 1)
const reward = (...scores: number[]): PlainScorer => ({ name: 'reward', needs: ['text'], score: () => scores })
const oddOnly = judgeOf(({ id }) => id % 2 === 1, 'odd')

describe('a pipeline', () => {
  it('without parts is the highest raw score, ties to the lower id', async () => {
    const raws = fc.array(fc.oneof(fc.integer({ min: 0, max: 3 }), fc.constant(Number.NEGATIVE_INFINITY)), {
      minLength: 1
    })
    await fc.assert(
      fc.asyncProperty(raws, async (all) => {
        const result = await run(
          {},
          all.map((raw, id) => entrant(id, raw))
        )
        expect(result).toMatchObject({ winner: all.indexOf(Math.max(...all)), verdict: 'unjudged', failure: null })
      })
    )
  })

  it('shapes, judges and selects in this order, and shows each step of each contender', async () => {
    const result = await run(
      { shape: lengthPenalty({ alpha: 0.1 }), judges: [oddOnly, tokensAtMost(30)], verifier: judgeOf(() => true) },
      [entrant(0, 5, 1), entrant(1, 5, 40), entrant(3, 1, 30), entrant(5, 1, 20)]
    )
    expect(result).toMatchObject({ winner: 5, why: 'highest score', verdict: 'accepted' })
    expect(result.contenders.map(({ id, raw, right, rejectedBy }) => [id, raw, right, rejectedBy])).toEqual([
      [0, 5, true, 'odd'],
      [1, 5, true, 'tokens-at-most(30)'],
      [3, 1, true, null],
      [5, 1, true, null]
    ])
    expect(result.contenders.map(({ shaped }) => shaped.toFixed(1))).toEqual(['0.9', '-3.0', '-2.0', '-1.0'])
  })

  it('never lets a rejected answer win unless all are, and then says so', async () => {
    const verdicts = fc.array(fc.tuple(fc.boolean(), fc.integer({ min: -3, max: 3 })), { minLength: 1, maxLength: 9 })
    await fc.assert(
      fc.asyncProperty(verdicts, async (all) => {
        const judge = judgeOf(({ id }) => (all[id] as [boolean, number])[0], 'list')
        const result = await run(
          { judges: [judge] },
          all.map(([, raw], id) => entrant(id, raw))
        )
        const accepted = all.map(([yes], id) => (yes ? id : -1)).filter((id) => id >= 0)
        expect(result.verdict).toBe(accepted.length > 0 ? 'accepted' : 'none-accepted')
        if (accepted.length > 0) expect(accepted).toContain(result.winner)
        else expect(result.why).toBe('no answer was accepted; among all: highest score')
      })
    )
  })

  it('asks a later judge only about what earlier ones accepted', async () => {
    const asked: number[] = []
    const nosy: Judge = {
      name: 'nosy',
      judge: async (contenders, { prompt }) => {
        asked.push(...contenders.map(({ id }) => id))
        return contenders.map(() => prompt === 'why?')
      }
    }
    await run({ judges: [oddOnly, nosy] }, [entrant(0, 1), entrant(1, 1), entrant(2, 1), entrant(3, 1)])
    expect(asked).toEqual([1, 3])
  })

  it('gives further rewards to the selection', async () => {
    const result = await run({ rewards: [reward(-5, 2, 3, -9)], select: rankMean() }, [
      entrant(0, 99),
      entrant(1, 2),
      entrant(2, 1),
      entrant(3, 0)
    ])
    expect(result.winner).toBe(1)
    expect(result.contenders.map(({ rewards }) => rewards)).toEqual([[-5], [2], [3], [-9]])
  })

  it('votes over the texts', async () => {
    const texts = ['is 4', 'is 7', 'is 4']
    const result = await run(
      { select: majorityVote({ extract: (text) => text.slice(-1) }) },
      texts.map((text, id) => entrant(id, id, 10, text))
    )
    expect(result).toMatchObject({ winner: 2, why: '2 of 3 said "4"' })
  })

  it('has no winner when nothing finished', async () => {
    expect(await run({ judges: [ended()] }, [])).toMatchObject({ winner: null, why: 'nothing finished' })
  })

  it('names its parts and what they need', () => {
    const parts = pipeline({
      rewards: [reward()],
      shape: lengthPenalty({ alpha: 1 }),
      judges: [ended(), scoreAtLeast(0)]
    })
    expect(parts).toMatchObject({
      name: 'reward > length-penalty(1) > ended > score-at-least(0) > argmax',
      needs: ['text']
    })
  })
})

describe('what fails in a pipeline', () => {
  const all = [entrant(0, 1, 10), entrant(1, 3, 90), entrant(2, 2, 20)]
  const broken = () => {
    throw new Error('broken')
  }

  it.each<[string, PipelineOptions, string, number]>([
    ['a reward', { rewards: [{ name: 'r', needs: [], score: broken }] }, 'SCORER_FAILED', 1],
    ['a reward that is NaN', { rewards: [reward(1, 2, Number.NaN)] }, 'SCORE_INVALID', 1],
    ['a verifier', { verifier: { name: 'v', judge: broken } }, 'PIPELINE_FAILED', 1],
    ['a shaper that gives NaN', { shape: { name: 's', shape: () => [1, 2, Number.NaN] } }, 'SHAPE_INVALID', 1],
    ['a judge', { shape: lengthPenalty({ alpha: 1 }), judges: [{ name: 'j', judge: broken }] }, 'PIPELINE_FAILED', 0],
    ['a judge that is short of verdicts', { judges: [{ name: 'j', judge: () => [true] }] }, 'JUDGE_INVALID', 1],
    [
      'a judge that gives no verdicts',
      { judges: [{ name: 'j', judge: async () => [1, 0, 1] as unknown as boolean[] }] },
      'JUDGE_INVALID',
      1
    ],
    [
      'a judge after another',
      { judges: [judgeOf(({ id }) => id !== 1), { name: 'j', judge: broken }] },
      'PIPELINE_FAILED',
      2
    ],
    ['a selection', { select: { name: 's', select: broken } }, 'PIPELINE_FAILED', 1],
    ['a selection of nobody', { select: { name: 's', select: () => ({ id: 9, why: '' }) } }, 'SELECTION_INVALID', 1],
    [
      'a selection of the rejected',
      { judges: [judgeOf(({ id }) => id === 0)], select: { name: 's', select: () => ({ id: 1, why: '' }) } },
      'SELECTION_INVALID',
      0
    ]
  ])('%s costs no answer: the highest score known wins, and why is said', async (_name, options, code, winner) => {
    const result = await run(options, all)
    expect(result).toMatchObject({ winner, failure: { code }, why: 'highest score, since the choice failed' })
    expect(result.contenders).toHaveLength(3)
  })

  it('ends the session of a reward that failed', async () => {
    let ends = 0
    const session = { needs: [], score: broken, end: async () => void ends++ }
    const failing: Scorer = { name: 'f', needs: [], begin: async () => session }
    expect((await run({ rewards: [failing] }, all)).failure?.code).toBe('SCORER_FAILED')
    expect(ends).toBe(1)
  })

  it('rejects with the reason when the race is aborted, also while a judge thinks', async () => {
    const aborter = new AbortController()
    const judge: Judge = { name: 'slow', judge: () => new Promise(() => aborter.abort(new Error('enough'))) }
    const aborted = { ...scoring, signal: aborter.signal }
    await expect(finalChoice(pipeline({ judges: [judge] }), all, race, aborted, 1)).rejects.toThrow('enough')
  })
})

it.each([
  [() => pipeline({ judges: ended() as never }), 'Expected an array of judges for judges of pipeline'],
  [() => pipeline({ shape: {} as never }), 'Expected a shaper such as lengthPenalty({ alpha }) for shape of pipeline'],
  [() => pipeline({ select: 'argmax' as never }), 'a selection such as argmax() for select of pipeline'],
  [() => pipeline({ rewards: [{}] as never }), 'Expected an array of scorers for rewards of pipeline'],
  [() => pipeline({ judge: [] } as never), 'did you mean "judges"?'],
  [() => scoreAtLeast(Number.NaN), 'Expected a number for scoreAtLeast but received NaN'],
  [() => tokensAtMost(1.5), 'a whole number of tokens, at least 0, for most of tokensAtMost but received 1.5']
])('refuses wrong options: %#', (make, sentence) => {
  expect(make).toThrow(sentence)
})
