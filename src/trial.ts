import type { Lora } from './adapter.js'
import type { Arm } from './arm.js'
import type { Engine } from './engine.js'
import type { SamplingOptions } from './options.js'
import type { KillCount } from './policies/random-kill.js'
import type { Problem } from './problems.js'
import type { Result, ResultBranch } from './result.js'
import { isRight } from './verifier.js'

/** What every trial of a bench has in common. */
export interface Conditions {
  readonly n: number
  readonly seed: bigint
  readonly sampling: SamplingOptions
  readonly maxTokens: number
  readonly deterministic: boolean
  readonly raw: boolean
  /** Default: none. */
  readonly lora?: readonly Lora[]
}

/** What was measured on one prompt under one arm; one line of a bench's file. */
export interface Row {
  /** Index of the problem in its file. */
  readonly prompt: number
  readonly arm: string
  /** Everything the numbers depend on besides the conditions of the bench: `settingOf`. */
  readonly setting: string
  /** Candidates written. */
  readonly n: number
  readonly winner: number | null
  readonly text: string
  /** The winner was stopped before its end. */
  readonly truncated: boolean
  readonly right: boolean | null
  /** The returned answer's score by the scorer of what it is measured against; null where it has none there. */
  readonly score: number | null
  readonly survived: boolean | null
  readonly regret: number | null
  /** Share of candidates whose tokens are no prefix of what the arm it is measured against wrote for them. */
  readonly diverged: number | null
  readonly generatedTokens: number
  readonly processedTokens: number
  /** Tokens a reward model decoded. */
  readonly rewardTokens: number
  readonly wallSeconds: number
  readonly seconds: Readonly<Record<string, number>>
  readonly peakCells: number
  /** How many branches were killed, by the tokens they had. Absent in rows of earlier versions. */
  readonly kills?: readonly KillCount[]
  /** Of the reference arm: each candidate's final score, generated tokens and whether it is right. */
  readonly candidates?: {
    readonly scores: readonly (number | null)[]
    readonly tokens: readonly number[]
    readonly right: readonly (boolean | null)[]
  }
}

/** Best-of-N on all candidates of a prompt: what other arms are measured against. */
export interface Reference {
  readonly winner: ResultBranch | null
  readonly branches: readonly ResultBranch[]
  readonly scorer: string
}

/** Runs one arm on one prompt. */
export async function runArm(
  engine: Engine,
  problem: Problem,
  arm: Arm,
  n: number,
  conditions: Conditions,
  signal: AbortSignal | undefined
): Promise<Result> {
  const { seed, sampling, maxTokens, deterministic, raw, lora } = conditions
  const scorer = arm.scorer ?? undefined
  const result = await engine.bestOf(n, problem.prompt, {
    policy: arm.policy,
    scorer,
    budget: arm.budget ?? undefined,
    seed,
    sampling,
    maxTokens,
    deterministic,
    raw,
    lora,
    signal
  })
  // A row must be about the arm, not about where its scorer broke.
  if (result.failure !== null) throw result.failure
  return result
}

/** How many of the first candidates it takes to generate at least `tokens`: the nearest number not below. */
export function candidatesFor(tokens: number, lengths: readonly number[]): number {
  let sum = 0
  for (const [i, length] of lengths.entries()) {
    sum += length
    if (sum >= tokens) return i + 1
  }
  return lengths.length
}

/** The row of a race, measured against the reference where there is one. */
export function rowOf(
  prompt: number,
  problem: Problem,
  arm: Arm,
  setting: string,
  result: Result,
  reference: Reference | null,
  isReference: boolean
): Row {
  const { winner, branches, usage } = result
  const score = reference === null ? result.score : referenceScore(result, reference)
  return {
    prompt,
    arm: arm.name,
    setting,
    n: branches.length,
    winner: winner?.id ?? null,
    text: result.text,
    truncated: winner !== null && winner.status.state === 'killed',
    right: rightness(result.text, problem),
    score,
    survived: reference === null ? null : survived(winner, reference),
    regret: reference === null ? null : regret(score, reference),
    diverged: reference === null ? null : diverged(branches, reference),
    generatedTokens: usage.generatedTokens,
    processedTokens: usage.processedTokens,
    rewardTokens: usage.rewardTokens,
    wallSeconds: usage.wallSeconds,
    seconds: usage.seconds,
    peakCells: usage.peakCells,
    kills: killsOf(branches),
    ...(isReference && {
      candidates: {
        scores: branches.map((branch) => branch.score),
        tokens: branches.map((branch) => branch.tokens.length),
        right: branches.map((branch) => rightness(branch.text, problem))
      }
    })
  }
}

function killsOf(branches: readonly ResultBranch[]): KillCount[] {
  const counts = new Map<number, number>()
  for (const { status, tokens } of branches) {
    if (status.state === 'killed') counts.set(tokens.length, (counts.get(tokens.length) ?? 0) + 1)
  }
  return [...counts].map(([tokens, killed]) => ({ tokens, killed })).sort((a, b) => a.tokens - b.tokens)
}

function rightness(text: string, problem: Problem): boolean | null {
  return problem.answer === null ? null : isRight(text, problem.answer)
}

/**
 * The reference's score of the returned answer: looked up where the reference wrote the same tokens for that
 * candidate; otherwise the race's own, if it used the same scorer; otherwise unknown.
 */
function referenceScore(result: Result, reference: Reference): number | null {
  const { winner } = result
  if (winner === null) return null
  const same = reference.branches[winner.id]
  if (same !== undefined && equal(winner.tokens, same.tokens)) return same.score
  return result.scorer === reference.scorer ? result.score : null
}

/** The returned answer is best-of-N's pick: the same candidate, whole, or one with the same text. */
function survived(winner: ResultBranch | null, reference: Reference): boolean {
  if (winner === null || reference.winner === null) return winner === reference.winner
  const whole = winner.status.state !== 'killed'
  return (whole && winner.id === reference.winner.id) || winner.text === reference.winner.text
}

/** (max - score) / (max - min) over the reference's final scores of this prompt; 0 where they are all equal. */
function regret(score: number | null, reference: Reference): number | null {
  const scores = reference.branches
    .map((branch) => branch.score)
    .filter((value) => value !== null && Number.isFinite(value))
  if (score === null || scores.length === 0) return null
  const [low, high] = [Math.min(...(scores as number[])), Math.max(...(scores as number[]))]
  return high === low ? 0 : (high - score) / (high - low)
}

function diverged(branches: readonly ResultBranch[], reference: Reference): number {
  const others = branches.filter(({ id, tokens }) => {
    const same = reference.branches[id]
    return same === undefined || !equal(tokens, same.tokens.subarray(0, tokens.length))
  })
  return others.length / branches.length
}

function equal(a: Int32Array, b: Int32Array): boolean {
  return a.length === b.length && a.every((token, i) => token === b[i])
}
