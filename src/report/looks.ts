import type { Look } from './section.js'
import type { Study, StudyArm } from './study.js'

const shapes = ['diamond', 'triangle', 'square'] as const

/** One look for each arm that is no best-of-N, the same in every chart: what rejects is coloured, controls are crosses. */
export function looksOf({ arms }: Pick<Study, 'arms'>): (arm: Pick<StudyArm, 'policy'>) => Look {
  const of = (kind: StudyArm['kind']) => arms.filter((arm) => arm.kind === kind).map(({ policy }) => policy)
  const [rejecting, controls] = [of('rejecting'), of('random-kill')]
  return ({ policy }) => {
    const place = rejecting.indexOf(policy)
    if (place >= 0) return { style: `reject${place % 5}`, shape: shapes[place % 3] as Look['shape'] }
    const control = controls.indexOf(policy)
    if (control >= 0) return { style: `control${control % 3}`, shape: 'cross' }
    return { style: 'full', shape: 'circle' }
  }
}
