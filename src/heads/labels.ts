import type { ModelFacts } from '../binding.js'
import { expected } from '../errors.js'
import type { PromptInput } from '../prompt.js'
import type { ResultBranch } from '../result.js'
import type { Candidate, Scoring, SessionScorer } from '../scorer.js'
import { isRight } from '../verifier.js'
import type { Labeller } from './collect.js'
import type { Trace } from './traces.js'

/** Whether each finished answer is right, as its sample says, otherwise by the verifier; null without either. */
export function rightOf(branches: readonly ResultBranch[], { answer, samples }: Trace): (boolean | null)[] {
  return branches.map(({ id, text }) => samples?.[id]?.right ?? (answer === null ? null : isRight(text, answer)))
}

/** 1 where the finished answer is right, 0 where it is not. Throws PROBLEMS_INVALID where that cannot be told. */
export const verified: Labeller = async (_branches, _trace, rights) =>
  rights.map((right) => {
    if (right === null) throw expected('PROBLEMS_INVALID', 'an answer', 'every prompt to verify by', null)
    return Number(right)
  })

/** The reward that stands beside each sample. Throws PROBLEMS_INVALID where one has none. */
export const rewarded: Labeller = async (branches, { samples }) =>
  branches.map(({ id }) => {
    const reward = samples?.[id]?.reward ?? null
    if (reward === null) throw expected('PROBLEMS_INVALID', 'a reward', 'every sample', null)
    return reward
  })

/** What a reward model says of the finished answer; of one that was cut off, nothing. */
export function taught(teacher: SessionScorer, model: ModelFacts, signal: AbortSignal): Labeller {
  return async (branches, { prompt }) => {
    const maxTokens = Math.max(1, ...branches.map(({ tokens }) => tokens.length))
    const race = {
      model,
      head: null,
      turns: turnsOf(prompt),
      n: branches.length,
      atOnce: branches.length,
      maxTokens,
      signal
    }
    const session = await teacher.begin(race)
    try {
      const whole = branches.filter(endedItself)
      if (whole.length === 0) return branches.map(() => null)
      // A reward model reads tokens and text; what a pool knows it has no use for.
      const scores = await session.score(whole.map(candidateOf), { signal } as Scoring)
      const of = new Map(whole.map(({ id }, i) => [id, scores[i] as number]))
      return branches.map(({ id }) => of.get(id) ?? null)
    } finally {
      await session.end?.()
    }
  }
}

function endedItself({ status }: ResultBranch): boolean {
  return status.state === 'finished' && (status.reason === 'end' || status.reason === 'stop')
}

function candidateOf({ id, tokens, logprobs, text }: ResultBranch): Candidate {
  return { id, state: 'finished', tokens, logprobs, entropies: new Float32Array(tokens.length), text }
}

function turnsOf(prompt: PromptInput) {
  return typeof prompt === 'string' ? [{ role: 'user', content: prompt }] : prompt
}
