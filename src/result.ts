import type { LoraRecord } from './adapter.js'
import type { NativeModel } from './binding.js'
import type { Branch, BranchStatus, Score } from './branch.js'
import { expected, fromAddon, type WinnowError } from './errors.js'
import type { FinalChoice } from './final-choice.js'
import type { Forecast } from './forecast.js'
import type { Rung } from './ladder.js'
import type { Layout } from './layout.js'
import type { ResolvedOpenOptions } from './options.js'
import { highest } from './policy.js'
import type { Phases, RaceReason, Round } from './round.js'
import type { Settings } from './timing.js'
import { tokenLists } from './token-lists.js'

/** One candidate as it ended. */
export interface ResultBranch {
  readonly id: number
  readonly status: BranchStatus
  readonly text: string
  /** Generated tokens, without the end token. */
  readonly tokens: Int32Array
  /** Raw log-probability of each token, nats. */
  readonly logprobs: Float32Array
  readonly scores: readonly Score[]
  /** The last of `scores`; null if it was never scored. */
  readonly score: number | null
  /** Generated tokens when it was killed; null if it was not. */
  readonly killedAt: number | null
}

export interface Usage {
  readonly promptTokens: number
  /** Of all branches, killed ones included; end tokens are not counted. */
  readonly generatedTokens: number
  /**
   * Rows decoded: the prompt once, every generated token that was decoded, ghost rows of `deterministic`, and in waves what
   * was decoded again where there was no room for a copy.
   */
  readonly processedTokens: number
  /**
   * Tokens a reward model decoded: the prompt once, every generated token once, and its template's closing tokens. What
   * the pipeline's rewards decoded is in it.
   */
  readonly rewardTokens: number
  /**
   * An estimate of the tokens the killed branches would still have written: for each, the mean length of this race's
   * finished branches that grew longer than it had, less what it had. Null when no branch finished. `winnow bench`
   * measures the saving exactly, on the same candidates.
   */
  readonly savedTokens: number | null
  /** savedTokens / (savedTokens + generatedTokens); null like savedTokens. */
  readonly savedShare: number | null
  readonly wallSeconds: number
  /** Parts of wallSeconds; they sum to it. Of steps shared with other races the own share, by rows; the rest is `other`. */
  readonly seconds: Readonly<Phases> & { readonly other: number }
  /** The most KV cells in use at once; a cell holds one token of one branch, in a unified cache of all that read it. */
  readonly peakCells: number
  /** Bytes of the pool's cells, used or not, and whoever else used them. */
  readonly cellBytes: number
  /** How often a candidate left its stream so that another could be written; 0 unless written in waves. */
  readonly parkings: number
  /** The most bytes of the host's memory that copies of such candidates took at once. */
  readonly parkedBytes: number
}

export interface Expected extends Forecast {
  /** Bytes of the cells of a pool for this race alone; the pool at hand, in `usage.cellBytes`, may be larger. */
  readonly cellBytes: number
}

/** What it was computed with: what depends on the machine, and moves log-probabilities by rounding at least. */
export interface Compute extends Settings {
  /** The variant of llama.cpp; `auto` only where the binding is a test's. */
  readonly gpu: ResolvedOpenOptions['gpu']
  readonly layout: Layout
}

export interface Result {
  /** The winner's text; empty when nothing was written. */
  readonly text: string
  /** The winner's final score; null without a winner. */
  readonly score: number | null
  readonly winner: ResultBranch | null
  readonly branches: readonly ResultBranch[]
  readonly usage: Usage
  /** What `usage` could have come to, as foreseen: had no candidate ended by itself. `engine.plan` says it beforehand. */
  readonly expected: Expected
  readonly reason: RaceReason
  /** What the scorer failed with where the reason is `failed`; null otherwise. */
  readonly failure: WinnowError | null
  /** How the pipeline chose, step by step; null without one, or where patience ended before it. */
  readonly choice: FinalChoice | null
  readonly scorer: string
  readonly policy: string
  readonly checkpoints: string
  readonly compute: Compute
  /** The adapters it was written with, by the paths of their files. */
  readonly lora: readonly LoraRecord[]
  /** Shapes its pool took one after the other, where memory decided; empty otherwise. */
  readonly rungs: readonly Rung[]
  /** Parts in which the candidates were written; 1 where all were there at once. */
  readonly waves: number
  readonly seed: bigint
}

/** A race as a value, but for what was foreseen of it. */
export type Outcome = Omit<Result, 'expected' | 'compute' | 'lora'>

/** Picks the winner and turns the race into a value. */
export async function concludeRace(round: Round): Promise<Outcome> {
  const { options, model, scorer } = round.setup
  const texts = await textsOf(model, round.branches.all)
  const branches = round.branches.all.map((branch, i) => resultBranch(branch, texts[i] as string))
  const view = round.view()
  const { choice } = round
  const chosen = options.policy.choose === undefined ? highest(view.branches) : options.policy.choose(view)
  const id = choice === null ? chosen : choice.winner
  const winner = id === null ? null : branches[id]
  if (winner === undefined) {
    throw expected(
      'POLICY_INVALID',
      'the id of a branch or null',
      `the choice of the policy ${options.policy.name}`,
      id
    )
  }
  return {
    text: winner?.text ?? '',
    score: winner?.score ?? null,
    winner,
    branches,
    usage: usageOf(round),
    reason: round.reason ?? 'settled',
    failure: round.failure,
    choice,
    scorer: scorer.name,
    policy: options.policy.name,
    checkpoints: options.checkpoints.name,
    rungs: round.rungs.map(({ width, cells }) => ({ width, cells })),
    waves: round.setup.waves,
    seed: options.seed
  }
}

/** The texts of branches, in one crossing. */
export async function textsOf(model: NativeModel, branches: readonly Branch[]): Promise<string[]> {
  const { tokens, offsets } = tokenLists(branches.map((branch) => branch.tokens))
  const cuts = Int32Array.from(branches, ({ cut }) => cut)
  return fromAddon(() => model.detokenize(tokens, offsets, false, cuts))
}

function resultBranch(branch: Branch, text: string): ResultBranch {
  const { id, status, score } = branch
  return {
    id,
    status,
    text,
    tokens: branch.tokens.slice(),
    logprobs: branch.logprobs.slice(),
    scores: [...branch.scores],
    score,
    killedAt: status.state === 'killed' ? status.at : null
  }
}

function usageOf(round: Round): Usage {
  const { branches, seconds, processedTokens, wallSeconds } = round
  const { peakCells, occupancy } = round.setup.pool
  const generatedTokens = branches.tokens
  const savedTokens = estimateSaved(branches.finished, branches.killed)
  const spent = Object.values(seconds).reduce((sum, part) => sum + part, 0)
  return {
    promptTokens: round.setup.prompt.tokens.length,
    generatedTokens,
    processedTokens,
    rewardTokens: (round.session?.processedTokens ?? 0) + round.choiceTokens,
    savedTokens,
    savedShare: savedTokens === null ? null : savedTokens / Math.max(1, savedTokens + generatedTokens),
    wallSeconds,
    seconds: { ...seconds, other: Math.max(0, wallSeconds - spent) },
    peakCells,
    cellBytes: occupancy.kvBytes,
    parkings: round.waves?.parkings ?? 0,
    parkedBytes: round.waves?.parkedBytes ?? 0
  }
}

function estimateSaved(finished: readonly Branch[], killed: readonly Branch[]): number | null {
  if (killed.length === 0) return 0
  if (finished.length === 0) return null
  let saved = 0
  for (const branch of killed) {
    const longer = finished.map((other) => other.length).filter((length) => length > branch.length)
    if (longer.length === 0) continue
    saved += longer.reduce((sum, length) => sum + length, 0) / longer.length - branch.length
  }
  return Math.round(saved)
}
