import { type Arm, sourceOf } from '../arm.js'
import { measureOf, settingOf } from '../bench.js'
import { WinnowError } from '../errors.js'
import { type KillCount, randomKill } from '../policies/random-kill.js'
import { candidatesFor, type Row } from '../trial.js'
import { type CostModel, wallOf } from './cost.js'
import { bestOf, type Replay, type ReplayedRound, replay } from './replay.js'
import { finalScore, type Trace, type TraceHeader } from './trace.js'

/**
 * A row of a bench, replayed: `wallSeconds`, `seconds` and `rewardTokens` are what the cost model foretells, and `text` is
 * empty and `candidates` absent (the trace has both). A winner that was stopped before its end counts as wrong.
 */
export interface ReplayedRow extends Row {
  readonly rounds: readonly ReplayedRound[]
}

/** What arms are replayed with. */
export interface Replaying {
  readonly header: TraceHeader
  readonly arms: readonly Arm[]
  /** Candidates of arms that set none, and of what they are measured against. */
  readonly n: number
  readonly cost: CostModel
}

/**
 * Every arm on one trace, in the order of the arms, measured as a bench measures them; without a best-of-n among the arms,
 * against best-of-N by the recording's first scorer. Throws OPTION_INVALID as `replay` does, and for a scorer that was not
 * recorded.
 */
export function replayArms(replaying: Replaying, trace: Trace): ReplayedRow[] {
  const { arms } = replaying
  const done = new Map<string, Replay>()
  // Those that need another's tokens or kills come after it.
  for (const arm of [...arms].sort((a, b) => Number(sourceOf(a) !== null) - Number(sourceOf(b) !== null))) {
    const source = done.get(sourceOf(arm) ?? '') ?? null
    done.set(arm.name, replayArm(replaying, trace, arm, source))
  }
  return arms.map((arm) => rowOf(replaying, trace, arm, done.get(arm.name) as Replay))
}

/** `source` is the replay that the arm depends on; null without one. */
export function replayArm({ header, n }: Replaying, trace: Trace, arm: Arm, source: Replay | null): Replay {
  if (arm.budget !== null) {
    const message = `Expected an arm without a budget, since a trace knows of no memory, but received ${arm.name}`
    throw new WinnowError('OPTION_INVALID', message)
  }
  const scorer = placeOf(header, arm)
  const all = arm.n ?? n
  if (source === null) return replay(header, trace, arm.policy, { n: all, scorer })
  if (arm.like !== null) return replay(header, trace, randomKill({ like: killsOf(source) }), { n: all, scorer })
  const count = candidatesFor(source.work.generatedTokens, [...trace.lengths.subarray(0, n)])
  return replay(header, trace, arm.policy, { n: count, scorer })
}

/** Which of the recorded scorers an arm ranks by: the first where it says nothing. */
export function placeOf({ scorers }: TraceHeader, { scorer, headSha256 }: Arm): number {
  if (scorer === null) return 0
  const place = scorers.findIndex(({ name }) => name === scorer.name)
  const names = scorers.map(({ name }) => name).join(', ')
  if (place < 0) {
    throw new WinnowError(
      'OPTION_INVALID',
      `Expected one of ${names} as the scorer, which were recorded, but received ${scorer.name}`
    )
  }
  if (scorers[place]?.sha256 === headSha256) return place
  throw new WinnowError('OPTION_INVALID', `Expected the recorded file for ${scorer.name} but received another`)
}

function rowOf(replaying: Replaying, trace: Trace, arm: Arm, done: Replay): ReplayedRow {
  const { header, arms, n, cost } = replaying
  const { winner, work, killedAt } = done
  const own = placeOf(header, arm)
  const measure = measureOf(arm, arms)
  const reference = measure === null ? 0 : placeOf(header, measure)
  const whole = winner !== null && killedAt[winner] === -1
  const score = scoreOf(header, trace, done, own, reference)
  const best = bestOf(trace, trace.scores(reference), n)
  const seconds = cost.seconds(done, own)
  return {
    prompt: trace.prompt,
    arm: arm.name,
    setting: settingOf(arm, arms),
    n: done.n,
    winner,
    text: '',
    truncated: winner !== null && !whole,
    right: trace.right[0] === null ? null : whole && trace.right[winner] === true,
    score,
    survived: whole && trace.same[winner] === trace.same[best],
    regret: regretOf(trace, score, reference, n),
    diverged: null,
    generatedTokens: work.generatedTokens,
    processedTokens: done.processedTokens,
    rewardTokens: cost.rewardTokens(done, own),
    wallSeconds: wallOf(seconds),
    seconds: { ...seconds },
    peakCells: work.peakCells,
    kills: killsOf(done),
    rounds: done.rounds
  }
}

/** By the scorer it is measured with; of a winner that was stopped only its own scorer has said something. */
function scoreOf(
  { grid }: TraceHeader,
  trace: Trace,
  { winner, killedAt }: Replay,
  own: number,
  reference: number
): number | null {
  if (winner === null) return null
  const stopped = killedAt[winner] as number
  if (stopped === -1) return finalScore(trace, trace.scores(reference), winner)
  return own === reference ? (trace.scores(own)[(trace.starts[winner] as number) + stopped / grid - 1] as number) : null
}

/** (max - score) / (max - min) over the finite final scores of the first n; 0 where they are all equal. */
function regretOf(trace: Trace, score: number | null, reference: number, n: number): number | null {
  if (score === null) return null
  const finals = Array.from({ length: n }, (_, id) => finalScore(trace, trace.scores(reference), id))
  const finite = finals.filter(Number.isFinite)
  if (finite.length === 0) return null
  const [low, high] = [Math.min(...finite), Math.max(...finite)]
  return high === low ? 0 : (high - score) / (high - low)
}

function killsOf({ killedAt }: Replay): KillCount[] {
  const counts = new Map<number, number>()
  for (const tokens of killedAt) if (tokens >= 0) counts.set(tokens, (counts.get(tokens) ?? 0) + 1)
  return [...counts].map(([tokens, killed]) => ({ tokens, killed })).sort((a, b) => a.tokens - b.tokens)
}
