import { type Interval, mean } from '../statistics.js'
import { byPrompt } from './groups.js'
import { type Judged, meanOf, type Ranking, rankingOf } from './measure.js'

/** One candidate at the end of a quarter: what the head says there, and what the teacher says of the whole answer. */
export interface Taught extends Judged {
  /** Whether the finished answer is right; null where nobody can say. */
  readonly right: boolean | null
}

/** How much of a teacher's choice a head made, at the ends of the four quarters, and what both are worth. */
export interface Survival {
  /**
   * Share of prompts in which the candidate the head scores highest is one the teacher scores highest; where the head
   * has several, the share of them.
   */
  readonly samePick: readonly Interval[]
  /** The same share of a head that picks blindly. */
  readonly blindPick: number
  /** Against verified answers; null where no prompt has any. */
  readonly verified: Verified | null
}

export interface Verified {
  /** Prompts of which every candidate is known to be right or wrong. */
  readonly prompts: number
  /** AUROC against right and wrong, by quarter. */
  readonly head: readonly Ranking[]
  /** The same of the teacher's scores of whole answers. */
  readonly teacher: Ranking
  /** Share of prompts whose best-scored candidate is right, by quarter for the head; ties count their share. */
  readonly rightPicks: { readonly head: readonly Interval[]; readonly teacher: Interval; readonly blind: number }
}

const ownScore = ({ score }: Taught) => score

/** `quarters`: candidates of the same prompts at the ends of quarters 1 to 4, `label` being the teacher's score. */
export function survivalOf(quarters: readonly (readonly Taught[])[], seed: number): Survival {
  const finished = quarters.at(-1) ?? []
  const best = ({ label }: Taught, group: readonly Taught[]) => label === Math.max(...group.map((one) => one.label))
  return {
    samePick: quarters.map((rows) => meanOf(picks(rows, ownScore, best), seed)),
    blindPick: mean(picks(finished, () => 0, best)),
    verified: verifiedOf(quarters, seed)
  }
}

function verifiedOf(quarters: readonly (readonly Taught[])[], seed: number): Verified | null {
  const known = quarters.map((rows) =>
    byPrompt(rows)
      .filter((group) => group.every(({ right }) => right !== null))
      .flat()
  )
  const finished = known.at(-1) ?? []
  if (finished.length === 0) return null
  const judged = (rows: readonly Taught[], score: (row: Taught) => number): Judged[] =>
    rows.map((row) => ({ prompt: row.prompt, label: Number(row.right), score: score(row) }))
  const label = (row: Taught) => row.label
  const isRight = ({ right }: Taught) => right === true
  return {
    prompts: byPrompt(finished).length,
    head: known.map((rows) => rankingOf(judged(rows, ownScore), true, seed)),
    teacher: rankingOf(judged(finished, label), true, seed),
    rightPicks: {
      head: known.map((rows) => meanOf(picks(rows, ownScore, isRight), seed)),
      teacher: meanOf(picks(finished, label, isRight), seed),
      blind: mean(picks(finished, () => 0, isRight))
    }
  }
}

/** Of each prompt, the share of its best-scored candidates that are good. */
function picks(
  rows: readonly Taught[],
  score: (row: Taught) => number,
  good: (row: Taught, group: readonly Taught[]) => boolean
): number[] {
  return byPrompt(rows).map((group) => {
    const highest = Math.max(...group.map(score))
    const picked = group.filter((row) => score(row) === highest)
    return picked.filter((row) => good(row, group)).length / picked.length
  })
}
