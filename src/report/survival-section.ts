import { wilson } from '../statistics.js'
import type { RoundSurvival } from '../traces/round-survival.js'
import { linear } from './axis.js'
import { looksOf } from './looks.js'
import { field, plotOf } from './plot.js'
import type { Section } from './section.js'
import type { Study, StudyArm } from './study.js'
import { element, stepsOf } from './svg.js'
import { decimal, part, whole, within } from './wording.js'

/** How long the best of all stays in the race; null where it is not known. */
export function survivalSection(study: Study, id: string): Section | null {
  const arms = study.arms.filter(({ kind, rounds }) => kind !== 'best-of-n' && rounds.length > 0)
  if (arms.length === 0) return null
  const look = looksOf(study)
  const places = [...new Set(arms.flatMap(({ rounds }) => rounds.map(({ tokens }) => tokens)))].sort((a, b) => a - b)
  const last = places.at(-1) as number
  const x = linear([0, ...places], { from: field.left, to: field.right, text: (value) => decimal(value, 0) })
  const y = linear([0, 1], { from: field.bottom, to: field.top, text: whole })
  const drawn = arms.map(({ rounds, policy }) => {
    const levels = rounds.map(({ tokens, bestAlive }) => [x.at(tokens), y.at(bestAlive)] as const)
    const end = [x.at(last), y.at(rounds.at(-1)?.bestAlive ?? 1)] as const
    return element('path', {
      class: `line ${look({ policy }).style}`,
      d: stepsOf([[x.at(0), y.at(1)], ...levels, end])
    })
  })
  const title = 'Survival by round'
  return {
    title,
    text: 'Share of prompts on which best-of-N’s pick is still in the race, live or finished, by the tokens that a live candidate has. Intervals are Wilson’s.',
    chart: plotOf({
      id,
      title,
      description: arms.map((arm) => `${arm.policy}: ${part(arm.rounds.at(-1)?.bestAlive ?? 1)} at the end`).join('; '),
      x,
      y,
      xName: 'tokens',
      yName: 'best still in the race',
      marks: drawn
    }),
    legend: arms.map(({ policy }) => ({ name: policy, style: look({ policy }).style, drawn: 'line' as const })),
    columns: ['tokens', ...arms.map(({ policy }) => policy)],
    rows: sampled(places, 10).map((tokens) => [
      decimal(tokens, 0),
      ...arms.map((arm) => within(aliveAt(arm, tokens), whole))
    ])
  }
}

function aliveAt({ rounds, prompts }: StudyArm, tokens: number) {
  const share = rounds.findLast((round: RoundSurvival) => round.tokens <= tokens)?.bestAlive ?? 1
  return wilson(Math.round(share * prompts), prompts)
}

/** So many of a list at most, its first and last among them. */
export function sampled<T>(list: readonly T[], most: number): T[] {
  if (list.length <= most) return [...list]
  return Array.from({ length: most }, (_, i) => list[Math.round((i * (list.length - 1)) / (most - 1))] as T)
}
