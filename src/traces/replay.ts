/**
 * A race decided again on a trace: the policy sees what it would have seen in a live `deterministic` race of these candidates,
 * and what it would have cost is counted. No model runs.
 */
import type { Checkpoints } from '../checkpoint.js'
import { expected, WinnowError } from '../errors.js'
import { type Decision, highest, type Policy, type View } from '../policy.js'
import { type Past, Stand } from './stand.js'
import { finalScore, type Trace, type TraceHeader } from './trace.js'
import { count, noWork, type Work } from './work.js'

export interface ReplayOptions {
  /** The first so many candidates. Default: all that were recorded. */
  readonly n?: number | undefined
  /** When to look, at multiples of the recording's grid. Default: the policy's own. */
  readonly checkpoints?: Checkpoints | undefined
  /** Which of the header's scorers, by its place. Default 0. */
  readonly scorer?: number | undefined
}

/** One look of a policy. */
export interface ReplayedRound {
  /** Generated tokens of a live candidate, as `View.tokens`. */
  readonly tokens: number
  /** Live before the decision. */
  readonly live: number
  readonly killed: number
  /** Whether best-of-N's pick among the same candidates is still in the race after it: live or finished. */
  readonly bestAlive: boolean
}

export interface Replay {
  readonly prompt: number
  readonly n: number
  readonly winner: number | null
  /** Best-of-N's pick among the same candidates by the same scorer: the highest final score. */
  readonly best: number
  /** Of each candidate, generated tokens when it was killed; -1 where it was not. */
  readonly killedAt: Int32Array
  /** Of each candidate, when the race was over. */
  readonly tokens: Int32Array
  readonly rounds: readonly ReplayedRound[]
  readonly work: Readonly<Work>
  /** Rows decoded: the prompt, what was written, and ghost rows of `deterministic`. */
  readonly processedTokens: number
}

/**
 * What a policy that only kills would have done. `header` is that of the trace's file.
 *
 * Throws OPTION_INVALID for a checkpoint that is not on the grid and that a live candidate reaches, for more candidates than
 * were recorded, and for policies that decide when memory is full; POLICY_INVALID as a race does.
 */
export function replay(header: TraceHeader, trace: Trace, policy: Policy, options: ReplayOptions = {}): Replay {
  const { n = header.n, scorer = 0, checkpoints = policy.checkpoints } = options
  if (!Number.isSafeInteger(n) || n < 1 || n > header.n) {
    throw expected('OPTION_INVALID', `a whole number from 1 to ${header.n}, as many as were recorded,`, 'n', n)
  }
  if (header.scorers[scorer] === undefined) {
    throw expected('OPTION_INVALID', `the place of one of ${header.scorers.length} scorers`, 'scorer', scorer)
  }
  if (policy.onFull === true) {
    throw expected('OPTION_INVALID', 'a policy that decides at checkpoints alone', 'a replay', policy.name)
  }
  return new Replaying(header, trace, policy, checkpoints, n, trace.scores(scorer)).run()
}

class Replaying {
  readonly #header: TraceHeader
  readonly #trace: Trace
  readonly #policy: Policy
  readonly #checkpoints: Checkpoints
  readonly #n: number
  readonly #past: Past
  readonly #work: Work
  readonly #best: number
  /** The tokens at which a race ends whoever still lives. */
  readonly #limit: number
  /** By id, as the last look saw them. */
  readonly #stands: Stand[]
  readonly #killedAt: Int32Array
  readonly #rounds: ReplayedRound[] = []
  readonly #ends: Int32Array
  readonly #decoded: Int32Array
  /** Ids, ascending. */
  #live: number[]
  /** Finished at the last look. */
  #fresh: number[] = []
  #tokens = 0
  #memory: unknown = undefined

  constructor(
    header: TraceHeader,
    trace: Trace,
    policy: Policy,
    checkpoints: Checkpoints,
    n: number,
    scores: Float64Array
  ) {
    this.#header = header
    this.#trace = trace
    this.#policy = policy
    this.#checkpoints = checkpoints
    this.#n = n
    this.#past = { grid: header.grid, scores, starts: trace.starts, looks: [] }
    this.#work = noWork(trace.promptTokens, n)
    this.#best = bestOf(trace, scores, n)
    this.#limit = limitOf(header, trace)
    this.#live = Array.from({ length: n }, (_, id) => id)
    this.#stands = this.#live.map((id) => new Stand(this.#past, 0, id, 'live', null, null, 0, false))
    this.#killedAt = new Int32Array(n).fill(-1)
    this.#ends = new Int32Array(n)
    this.#decoded = new Int32Array(n)
  }

  run(): Replay {
    while (this.#live.length > 0) {
      this.#advance()
      this.#decide()
    }
    const { choose } = this.#policy
    const stands = this.#stands
    const view = this.#view()
    const winner = choose === undefined ? highest(stands) : choose.call(this.#policy, view)
    if (winner !== null && stands[winner] === undefined) {
      const whose = `the choice of the policy ${this.#policy.name}`
      throw expected('POLICY_INVALID', 'the id of a branch or null', whose, winner)
    }
    const work = this.#work
    const ghosts = this.#header.deterministic ? work.loneSteps : 0
    return {
      prompt: this.#trace.prompt,
      n: this.#n,
      winner,
      best: this.#best,
      killedAt: this.#killedAt,
      tokens: Int32Array.from(stands, ({ tokens }) => tokens),
      rounds: this.#rounds,
      work,
      processedTokens: work.promptTokens + work.rows + ghosts
    }
  }

  /** To the next checkpoint, or to the end of everybody. */
  #advance(): void {
    const { lengths, lived, reasons, undecoded } = this.#trace
    const { scores, starts, looks, grid } = this.#past
    const [live, fresh]: [number[], number[]] = [[], []]
    const look = this.#nextLook()
    for (const id of this.#fresh) this.#stands[id] = (this.#stands[id] as Stand).as('finished')
    const seen = looks.length
    // Before the standings that look back on it.
    if (look !== Number.POSITIVE_INFINITY) looks.push(look)
    for (const [i, id] of this.#live.entries()) {
      const lives = look <= (lived[id] as number)
      const tokens = lives ? look * grid : (lengths[id] as number)
      this.#ends[i] = tokens
      this.#decoded[i] = tokens - (!lives && undecoded.includes(id) ? 1 : 0)
      const score = scores[lives ? (starts[id] as number) + look - 1 : (starts[id + 1] as number) - 1] as number
      const [state, reason] = lives ? (['live', null] as const) : (['finished', reasons[id] ?? null] as const)
      this.#stands[id] = new Stand(this.#past, lives ? seen + 1 : seen, id, state, reason, score, tokens, !lives)
      if (lives) live.push(id)
      else fresh.push(id)
    }
    count(this.#work, this.#tokens, this.#ends, this.#decoded, this.#live.length)
    this.#live = live
    this.#fresh = fresh
    this.#tokens = live.length > 0 ? look * grid : Math.max(...this.#stands.map(({ tokens }) => tokens))
  }

  /** The place on the grid of the next checkpoint; infinity where nobody lives that long. */
  #nextLook(): number {
    const { grid } = this.#header
    const next = this.#checkpoints.next(this.#tokens) ?? null
    if (next !== null && !(Number.isInteger(next) && next > this.#tokens)) {
      const what = `a whole number above ${this.#tokens} or null`
      throw expected('OPTION_INVALID', what, `the checkpoints ${this.#checkpoints.name}`, next)
    }
    if (next === null || next >= this.#limit) return Number.POSITIVE_INFINITY
    if (next % grid === 0) return next / grid
    // Nobody is there any more: where it lies makes no difference.
    if (this.#live.every((id) => (this.#trace.lengths[id] as number) < next)) return Number.POSITIVE_INFINITY
    const what = `checkpoints at multiples of ${grid} tokens, where the traces have scores,`
    throw expected('OPTION_INVALID', what, `the checkpoints ${this.#checkpoints.name}`, next)
  }

  #view(): View {
    return {
      index: this.#rounds.length,
      tokens: this.#tokens,
      last: this.#live.length === 0,
      // A copy: a recorded view must say later what it said then.
      branches: this.#stands.slice(),
      seed: this.#trace.seed,
      memory: this.#memory,
      room: undefined
    }
  }

  #decide(): void {
    const decision = this.#policy.decide(this.#view())
    const before = this.#live.length
    const doomed = this.#checked(decision)
    this.#memory = decision.memory
    for (const id of doomed) {
      this.#stands[id] = (this.#stands[id] as Stand).as('killed')
      this.#killedAt[id] = this.#tokens
    }
    if (doomed.size > 0) this.#live = this.#live.filter((id) => !doomed.has(id))
    const bestAlive = this.#killedAt[this.#best] === -1
    this.#rounds.push({ tokens: this.#tokens, live: before, killed: doomed.size, bestAlive })
    if (this.#live.length === 0) this.#tokens = Math.max(...this.#stands.map(({ tokens }) => tokens))
  }

  #checked(decision: Decision): ReadonlySet<number> {
    const { name } = this.#policy
    if (!Array.isArray(decision?.kill)) {
      throw expected('POLICY_INVALID', 'a decision with an array of ids to kill', `the policy ${name}`, decision)
    }
    const doomed = new Set<number>()
    for (const id of decision.kill as readonly number[]) {
      if (this.#stands[id]?.state !== 'live' || doomed.has(id)) {
        const message = `Expected the ids of live branches, each once, from the policy ${name} but received ${id}`
        throw new WinnowError('POLICY_INVALID', message)
      }
      doomed.add(id)
    }
    return doomed
  }
}

/** The first candidate of the highest final score among the first n. */
export function bestOf(trace: Trace, scores: Float64Array, n: number): number {
  let best = 0
  for (let id = 1; id < n; id++) if (finalScore(trace, scores, id) > finalScore(trace, scores, best)) best = id
  return best
}

/** Where a candidate was cut off by length all of that length end, whatever the policy looks for there. */
function limitOf({ maxTokens }: TraceHeader, { lengths, reasons }: Trace): number {
  const cut = reasons.findIndex((reason) => reason === 'length' || reason === 'context')
  return cut < 0 ? maxTokens : (lengths[cut] as number)
}
