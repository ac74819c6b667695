import type { PolicyName } from '../names.js'
import type { PolicySummary } from '../summary.js'
import type { RoundSurvival } from '../traces/round-survival.js'
import type { Calibration } from './calibration.js'
import type { CurvePoint } from './curve.js'
import type { Flow } from './flow.js'
import type { Trajectories } from './trajectories.js'

const kinds = ['best-of-n', 'random-kill'] as const satisfies PolicyName[]
/** What an arm is to a report: the baseline, a control, or what is judged. */
export type Kind = (typeof kinds)[number] | 'rejecting'

/** One policy with all that was measured of it. */
export interface StudyArm extends PolicySummary {
  readonly kind: Kind
  /** Survival by round; empty where it is not known. */
  readonly rounds: readonly RoundSurvival[]
}

/** What a report tells of one set of measurements: a bench's, or replays of one recording. */
export interface Study {
  /** Names of the files it was read from. */
  readonly files: readonly string[]
  readonly what: 'bench' | 'replay'
  /** The arm others are measured against; null without one. */
  readonly reference: string | null
  readonly arms: readonly StudyArm[]
  /** Best-of-N by its number of candidates, ascending. */
  readonly curve: readonly CurvePoint[]
  readonly flows: readonly Flow[]
  /** What scores say of right and wrong; empty where it is not known. */
  readonly calibrations: readonly Calibration[]
  /** Of one prompt; null where it is not known. */
  readonly trajectories: Trajectories | null
  /** With what, and on what machine, it was made: names and texts, in the order they are shown. */
  readonly facts: readonly (readonly [string, string])[]
}

/** The kind of an arm by what is set for it or, where only that is known, its name: both begin with its policy, unless somebody named it otherwise. */
export function kindOf(definition: string): Kind {
  const [policy] = definition.split(/[:; ]/)
  return kinds.find((kind) => kind === policy) ?? 'rejecting'
}

/** Best-of-N that ranks as the reference does: a point of the baseline. */
export function isPlain({ policy, kind }: Pick<StudyArm, 'policy' | 'kind'>): boolean {
  return kind === 'best-of-n' && !policy.includes(':scorer=')
}

/** Those that are judged. */
export function rejecting({ arms }: Pick<Study, 'arms'>): StudyArm[] {
  return arms.filter(({ kind }) => kind === 'rejecting')
}

export function referenceIn({ arms, reference }: Pick<Study, 'arms' | 'reference'>): StudyArm | null {
  return arms.find(({ policy }) => policy === reference) ?? null
}
