import type { Replay } from '../traces/replay.js'
import { finalScore, type Trace, type TraceHeader } from '../traces/trace.js'

/** One candidate's score while it was written. */
export interface Trajectory {
  readonly id: number
  /** [generated tokens, score], until it ended or was killed. */
  readonly points: readonly (readonly [number, number])[]
  readonly end: 'killed' | 'finished'
  readonly right: boolean | null
}

/** The candidates of one prompt under a policy. */
export interface Trajectories {
  readonly arm: string
  readonly scorer: string
  /** Place of the prompt among those of its recording, from 0. */
  readonly prompt: number
  readonly winner: number | null
  /** Best-of-N's pick. */
  readonly best: number
  /** Candidates of the race, of which only some are told. */
  readonly n: number
  readonly told: readonly Trajectory[]
}

/** Lines that a chart can hold; the winner and best-of-N's pick are told beyond them. */
const most = 64

/** `scorer`: which of the header's the policy ranked by, by its place. */
export function trajectoriesOf(
  arm: string,
  { grid, scorers }: Pick<TraceHeader, 'grid' | 'scorers'>,
  trace: Trace,
  scorer: number,
  { n, winner, best, killedAt }: Replay
): Trajectories {
  const scores = trace.scores(scorer)
  const told = Array.from({ length: n }, (_, id) => id).filter((id) => id < most || id === winner || id === best)
  return {
    arm,
    scorer: scorers[scorer]?.name ?? '',
    prompt: trace.prompt,
    winner,
    best,
    n,
    told: told.map((id) => {
      const stopped = killedAt[id] as number
      const looks = stopped === -1 ? (trace.lived[id] as number) : stopped / grid
      const first = trace.starts[id] as number
      const points = Array.from({ length: looks }, (_, i) => [(i + 1) * grid, scores[first + i] as number] as const)
      const last = [trace.lengths[id] as number, finalScore(trace, scores, id)] as const
      const all = stopped === -1 ? [...points, last] : points
      return {
        id,
        // An infinite score is on no chart.
        points: all.filter(([, score]) => Number.isFinite(score)),
        end: stopped === -1 ? ('finished' as const) : ('killed' as const),
        right: trace.right[id] ?? null
      }
    })
  }
}
