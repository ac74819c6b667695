import { drawing, size } from './plot.js'
import type { Section } from './section.js'
import type { Study } from './study.js'
import { element, label } from './svg.js'
import { decimal, percent } from './wording.js'

/** Phases in the order they are drawn; others come after them. */
const usual = ['prefill', 'decode', 'sample', 'score', 'policy', 'other']

/** What the seconds of each arm were spent on; null where nobody counted them. */
export function costSection({ arms, what }: Study, id: string): Section | null {
  const names = arms.flatMap(({ phases }) => Object.keys(phases))
  const phases = [...new Set([...usual.filter((name) => names.includes(name)), ...names])]
  const longest = Math.max(...arms.map(({ wallSeconds }) => wallSeconds.mean))
  if (phases.length === 0 || !(longest > 0)) return null
  const [left, right, top, row] = [8, size.width - 60, 8, 38]
  const marks = arms.flatMap(({ policy, wallSeconds, phases: shares }, i) => {
    const y = top + i * row
    let x = left
    const bars = phases.flatMap((phase, place) => {
      const width = ((shares[phase] ?? 0) * wallSeconds.mean * (right - left)) / longest
      const bar = element('rect', { class: `area phase${place % 8}`, x, y: y + 16, width, height: 12 })
      x += width
      return width < 0.05 ? [] : [bar]
    })
    const name = policy.length > 62 ? `${policy.slice(0, 61)}…` : policy
    return [
      label(left, y + 11, name, { class: 'tick' }),
      ...bars,
      label(x + 5, y + 26, `${decimal(wallSeconds.mean, 2)} s`, { class: 'tick' })
    ]
  })
  const title = 'Where time went'
  const totals = arms.map(({ policy, wallSeconds }) => `${policy}: ${decimal(wallSeconds.mean, 2)} s`)
  return {
    title,
    text: `Seconds a prompt by what they were spent on.${what === 'replay' ? ' They are foretold from those of the recording.' : ''}`,
    chart: drawing({ id, title, description: totals.join('; ') }, marks, top + arms.length * row),
    legend: phases.map((name, place) => ({ name, style: `phase${place % 8}`, drawn: 'area' as const })),
    columns: ['', 'seconds', ...phases],
    rows: arms.map(({ policy, wallSeconds, phases: shares }) => [
      policy,
      decimal(wallSeconds.mean, 2),
      ...phases.map((phase) => percent(shares[phase] ?? 0))
    ])
  }
}
