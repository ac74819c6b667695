import type { NativeHead, NativeModel, TokenLists } from './binding.js'
import { type Branch, Branches } from './branch.js'
import type { WinnowError } from './errors.js'
import type { FinalChoice } from './final-choice.js'
import type { Rung } from './ladder.js'
import type { Lease } from './lease.js'
import type { ResolvedBestOfOptions } from './options.js'
import type { Standing, View } from './policy.js'
import type { Prompt } from './prompt.js'
import type { RaceFacts, Scorer, ScoringSession } from './scorer.js'
import type { Waves } from './waves.js'

/**
 * Why a race was over: every branch `settled`; the pool `full`; the caller's `deadline` or `stop`; or its scorer
 * `failed`.
 */
export type RaceReason = 'settled' | 'full' | 'deadline' | 'stopped' | 'failed'

export interface RaceSetup {
  readonly pool: Lease
  readonly model: NativeModel
  readonly head: NativeHead | null
  readonly prompt: Prompt
  readonly n: number
  /** What the context holds of the tokens asked for. */
  readonly maxTokens: number
  readonly options: ResolvedBestOfOptions
  /** What the branches write in place of what they would sample; null lets them sample. */
  readonly given: TokenLists | null
  readonly scorer: Scorer
  /** The shapes its pool may take, the first of which it has; none where the pool stays as it is. */
  readonly rungs: readonly Rung[]
  /** Parts in which the candidates are written; a rung is wide enough for one. */
  readonly waves: number
  /** The most that copies of those who wait may take in the host's memory. */
  readonly parkedBytes: number
  /** Aborted by the caller or by the engine's closing. */
  readonly signal: AbortSignal
  /** `performance.now()` at which the deadline falls; infinity for none. */
  readonly deadline: number
}

/** Seconds spent, by phase. `other` is the remainder: crossings, bookkeeping, callbacks. */
export interface Phases {
  prefill: number
  /** Forks, branches that make room or come back, streams made anew. */
  move: number
  decode: number
  sample: number
  score: number
  policy: number
}

/** What the steps of a race share: its branches and where it stands. */
export class Round {
  readonly setup: RaceSetup
  readonly branches: Branches
  readonly startedAt = performance.now()
  readonly seconds: Phases = { prefill: 0, move: 0, decode: 0, sample: 0, score: 0, policy: 0 }
  /** Null while the race goes on. */
  reason: RaceReason | null = null
  /** What the scorer failed with. */
  failure: WinnowError | null = null
  /** The pipeline's choice; null without one, or when patience ended before it. */
  choice: FinalChoice | null = null
  /** What a watcher's promise rejected with; the next step throws it. */
  rejection: { readonly error: unknown } | null = null
  /** The scorer's part in this race, from its beginning on. */
  session: ScoringSession | null = null
  /** It has been told that no more scores are wanted. */
  scored = false
  /** Tokens that reward models decoded for the final choice. */
  choiceTokens = 0
  /** Checkpoints passed. */
  index = 0
  /** What the policy handed back last. */
  memory: unknown = undefined
  /** Its place among the rungs. */
  rung = 0
  /** Those it has been on. */
  readonly rungs: Rung[]
  /** The streams are full, and there are longer ones for fewer branches. */
  full = false
  /** Who is in streams; null before the fork. */
  waves: Waves | null = null
  /** Rows decoded, the prompt's included. */
  processedTokens = 0
  readonly #seed: number
  /** Finished since the last checkpoint. */
  #fresh: ReadonlySet<Branch> = new Set()

  constructor(setup: RaceSetup) {
    this.setup = setup
    this.rungs = setup.rungs.slice(0, 1)
    const clamped = setup.maxTokens < setup.options.maxTokens
    this.branches = new Branches(setup.n, clamped ? 'context' : 'length')
    this.#seed = mix(setup.options.seed, setup.prompt.tokens)
  }

  /** Generated tokens of a live branch; when none lives, of the longest. */
  get tokens(): number {
    const { live, all } = this.branches
    return live[0]?.length ?? Math.max(...all.map((branch) => branch.length))
  }

  get wallSeconds(): number {
    return (performance.now() - this.startedAt) / 1000
  }

  /** For a scorer's session, which is to follow this signal. */
  facts(signal: AbortSignal): RaceFacts {
    const { model, head, prompt, n, rungs, maxTokens } = this.setup
    const atOnce = rungs[0]?.width ?? n
    return { model: model.facts, head, turns: prompt.turns, n, atOnce, maxTokens, signal }
  }

  /** Generated tokens that a branch may have in the streams as they are. */
  get room(): number {
    const { pool, model, prompt } = this.setup
    return Math.min(pool.occupancy.cellsPerStream, model.facts.contextTrain) - prompt.tokens.length
  }

  /** Branches due for a score now: all live ones, and finished ones that have not had their last. */
  due(): Branch[] {
    return this.branches.all.filter(({ begun, status, scoredFinally }) => {
      return begun && (status.state === 'live' || (status.state === 'finished' && !scoredFinally))
    })
  }

  record(branches: readonly Branch[], scores: ArrayLike<number>): void {
    const fresh = new Set<Branch>()
    for (const [i, branch] of branches.entries()) {
      // Ended without another token since the last checkpoint: this score takes the place of that one.
      if (branch.scores.at(-1)?.tokens === branch.length) branch.scores.pop()
      branch.scores.push({ tokens: branch.length, score: scores[i] as number })
      if (branch.status.state === 'finished') {
        branch.scoredFinally = true
        fresh.add(branch)
      }
    }
    this.#fresh = fresh
  }

  view(): View {
    return {
      index: this.index,
      tokens: this.tokens,
      last: this.branches.settled,
      branches: this.branches.all.map((branch) => standing(branch, this.#fresh.has(branch))),
      seed: this.#seed,
      memory: this.memory,
      room: this.full ? this.setup.waves * (this.setup.rungs[this.rung + 1]?.width ?? 0) : undefined
    }
  }
}

function standing(branch: Branch, fresh: boolean): Standing {
  return {
    id: branch.id,
    state: branch.status.state,
    reason: branch.status.state === 'finished' ? branch.status.reason : null,
    score: branch.score,
    // A copy: a recorded view must say later what it said then.
    scores: [...branch.scores],
    tokens: branch.length,
    fresh
  }
}

/** FNV-1a over the seed's and the prompt's words. */
function mix(seed: bigint, prompt: Int32Array): number {
  let hash = 0x811c9dc5
  const words = [Number(seed & 0xffffffffn), Number(seed >> 32n), ...prompt]
  for (const word of words) {
    for (let shift = 0; shift < 32; shift += 8) hash = Math.imul(hash ^ ((word >>> shift) & 0xff), 0x01000193)
  }
  return hash >>> 0
}
