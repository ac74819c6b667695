import type { ShapedContender } from '../contender.js'
import { choiceKnob, type Knob, numberKnob, readKnobs } from '../knob.js'
import { midranks } from '../scorers/scale.js'
import { type Choice, highestBy, type Selection } from '../selection.js'
import { softmax } from './soft-best-of-n.js'

/** The answer in a text, spelled so that equal answers are equal texts; null where there is none. Pure and quick. */
export type Extract = (text: string) => string | null

export interface VoteOptions {
  readonly extract: Extract
}

export interface WeightedVoteOptions extends VoteOptions {
  /** `softmax` exp(s / temperature), for scores on any scale; `score` the score itself, below 0 counted as 0. Default `softmax`. */
  readonly weight?: 'softmax' | 'score' | undefined
  /** Of `softmax`, above 0. Default 1. */
  readonly temperature?: number | undefined
}

export interface BordaVoteOptions extends VoteOptions {
  /** p of (N - rank + 1)^p, at least 0. Default 1.2. */
  readonly power?: number | undefined
}

const extract: Knob<Extract> = {
  text: 'a function',
  test: (value): value is Extract => typeof value === 'function'
}

/**
 * Self-consistency (arXiv 2203.11171): the answer given most often. Among answers with as many votes the one with the
 * highest single score; of its texts the one with the highest score; then the lower id. Without any answer, argmax.
 */
export function majorityVote(options: VoteOptions): Selection {
  const knobs = readKnobs('majorityVote', { extract }, options)
  return vote('majority-vote', knobs.extract, (contenders) => contenders.map(() => 1))
}

/** Weighted best-of-N (arXiv 2206.02336): the answer with the largest sum of weights. Ties as in `majorityVote`. */
export function weightedVote(options: WeightedVoteOptions): Selection {
  const weight = choiceKnob('softmax', 'softmax', 'score')
  const temperature = numberKnob(1, Number.MIN_VALUE, Number.MAX_VALUE, 'a number above 0')
  const knobs = readKnobs('weightedVote', { extract, weight, temperature }, options)
  const weigh = (contenders: readonly ShapedContender[]) =>
    knobs.weight === 'softmax'
      ? softmax(contenders, knobs.temperature)
      : contenders.map(({ shaped }) => Math.max(0, shaped))
  return vote('weighted-vote', knobs.extract, weigh)
}

/**
 * The Borda vote of self-certainty (arXiv 2502.18581), by whatever score the race has: the contender of
 * rank r (1 the best) among all N has (N - r + 1)^power votes for its answer. Equal scores share the mean of their
 * ranks. Ties between answers as in `majorityVote`.
 */
export function bordaVote(options: BordaVoteOptions): Selection {
  const power = numberKnob(1.2, 0, 100, 'a number from 0 to 100')
  const knobs = readKnobs('bordaVote', { extract, power }, options)
  const weigh = (contenders: readonly ShapedContender[]) =>
    midranks(contenders.map(({ shaped }) => shaped)).map((rank) => (contenders.length - rank + 1) ** knobs.power)
  return vote(`borda-vote(${knobs.power})`, knobs.extract, weigh)
}

interface Tally {
  votes: number
  voters: number
  best: ShapedContender
}

function vote(
  name: string,
  extract: Extract,
  weigh: (contenders: readonly ShapedContender[]) => readonly number[]
): Selection {
  return {
    name,
    select(contenders): Choice {
      const weights = weigh(contenders)
      const tallies = new Map<string, Tally>()
      for (const [i, contender] of contenders.entries()) {
        const answer = extract(contender.text)
        if (answer !== null) count(tallies, answer, contender, weights[i] as number)
      }
      const most = Math.max(...[...tallies.values()].map(({ votes }) => votes))
      const leaders = [...tallies].filter(([, { votes }]) => votes === most)
      const winner = highestBy(
        leaders.map(([answer, { best, voters }]) => ({ ...best, answer, voters })),
        ({ shaped }) => shaped
      )
      if (winner !== null) {
        const { answer, voters } = winner
        return { id: winner.id, why: `${voters} of ${contenders.length} said ${JSON.stringify(answer.slice(0, 60))}` }
      }
      return { id: highestBy(contenders, ({ shaped }) => shaped)?.id ?? null, why: 'no answer in any; highest score' }
    }
  }
}

function count(tallies: Map<string, Tally>, answer: string, contender: ShapedContender, weight: number): void {
  const tally = tallies.get(answer)
  if (tally === undefined) {
    tallies.set(answer, { votes: weight, voters: 1, best: contender })
    return
  }
  tally.votes += weight
  tally.voters++
  tally.best = highestBy([tally.best, contender], ({ shaped }) => shaped) as ShapedContender
}
