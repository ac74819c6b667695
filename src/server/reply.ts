import type { Engine } from '../engine.js'
import type { Result, ResultBranch } from '../result.js'
import type { Ask } from './ask.js'
import { finishedBy } from './finish.js'
import { chatLogprobs, completionLogprobs, tokenLogprobs } from './token-logprobs.js'

/** A race that was run for a request. */
export interface Answer {
  readonly result: Result
  /** The n best, best first. */
  readonly best: readonly ResultBranch[]
  /** Its tokens were more than the request's budget. */
  readonly overBudget: boolean
}

/** What every object of one answer begins with. */
export interface Envelope {
  readonly id: string
  readonly created: number
  readonly model: string
  readonly system_fingerprint: string
}

/** `completion_tokens` are those of all candidates, as OpenAI counts them for `best_of`; the prompt's count once. */
export function usageOf({ usage }: Result) {
  const { promptTokens, generatedTokens } = usage
  return {
    prompt_tokens: promptTokens,
    completion_tokens: generatedTokens,
    total_tokens: promptTokens + generatedTokens
  }
}

/** What Winnow has to say beside OpenAI's fields. */
export function ownReport({ result, best }: Answer, { returnBranches }: Ask) {
  const { branches, reason, policy, checkpoints, scorer, seed, usage } = result
  return {
    reason,
    policy,
    checkpoints,
    scorer,
    seed: String(seed),
    candidates: branches.length,
    killed: branches.filter(({ status }) => status.state === 'killed').length,
    savedTokens: usage.savedTokens,
    seconds: usage.wallSeconds,
    chosen: best.map(({ id, score }) => ({ id, score: finite(score) })),
    ...(returnBranches && { branches: branches.map(branchReport) })
  }
}

function branchReport({ id, status, text, tokens, scores, killedAt }: ResultBranch) {
  return {
    id,
    state: status.state,
    reason: status.state === 'finished' ? status.reason : status.state === 'killed' ? status.why : null,
    text,
    tokens: tokens.length,
    killedAt,
    scores: scores.map(({ tokens, score }) => ({ tokens, score: finite(score) }))
  }
}

// JSON has no infinity.
export function finite(score: number | null): number | null {
  return score !== null && Number.isFinite(score) ? score : null
}

/** The body of an answer in one piece. */
export async function replyOf(engine: Engine, ask: Ask, envelope: Envelope, answer: Answer): Promise<object> {
  const choices = await choicesOf(engine, ask, answer)
  return {
    ...envelope,
    object: ask.kind === 'chat' ? 'chat.completion' : 'text_completion',
    choices: choices.map(({ text, ...choice }) =>
      ask.kind === 'chat'
        ? { ...choice, message: { role: 'assistant', content: text, refusal: null } }
        : { ...choice, text }
    ),
    usage: usageOf(answer.result),
    winnow: ownReport(answer, ask)
  }
}

/** The answers, with what the endpoint says of their tokens. */
export async function choicesOf(engine: Engine, ask: Ask, { best, overBudget }: Answer) {
  const logprobs = ask.logprobs ? await tokenLogprobs(engine, best) : []
  const shape = ask.kind === 'chat' ? chatLogprobs : completionLogprobs
  return best.map(({ text, status }, index) => ({
    index,
    text,
    logprobs: ask.logprobs ? shape(logprobs[index] ?? []) : null,
    finish_reason: finishedBy(status, overBudget)
  }))
}
