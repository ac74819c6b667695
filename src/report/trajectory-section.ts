import { linear } from './axis.js'
import { field, plotOf } from './plot.js'
import type { Section } from './section.js'
import type { Study } from './study.js'
import { element, pathOf, sign } from './svg.js'
import type { Trajectory } from './trajectories.js'
import { decimal } from './wording.js'

/** The scores of one prompt's candidates, kills marked; null where they are not known. */
export function trajectorySection({ trajectories }: Study, id: string): Section | null {
  if (trajectories === null) return null
  const { arm, scorer, prompt, winner, best, n, told } = trajectories
  const points = told.flatMap(({ points }) => points)
  if (points.length === 0) return null
  const x = linear([0, ...points.map(([tokens]) => tokens)], {
    from: field.left,
    to: field.right,
    text: (value) => decimal(value, 0)
  })
  const y = linear(
    points.map(([, score]) => score),
    { from: field.bottom, to: field.top }
  )
  const placed = ({ points }: Trajectory) => points.map(([tokens, score]) => [x.at(tokens), y.at(score)] as const)
  const styleOf = ({ id, end }: Trajectory) =>
    id === winner ? 'reject0 strong' : id === best ? 'full strong' : end === 'killed' ? 'killed thin' : 'finished thin'
  // Who matters is drawn last, over the others.
  const order = [...told].sort(
    (a, b) => Number(a.id === winner || a.id === best) - Number(b.id === winner || b.id === best)
  )
  const marks = order.flatMap((one) => {
    const line = placed(one)
    const end = line.at(-1)
    if (end === undefined) return []
    const drawn = element('path', { class: `line ${styleOf(one)}`, d: pathOf(line) })
    if (one.end === 'killed') {
      return [drawn, sign('cross', end[0], end[1], `mark small ${one.id === best ? 'full' : 'killed'}`, 2.5)]
    }
    return [
      drawn,
      element('circle', { class: `mark ${styleOf(one)}`, cx: end[0], cy: end[1], r: one.id === winner ? 4 : 2.5 })
    ]
  })
  const killed = told.filter(({ end }) => end === 'killed').length
  const rest = told.length < n ? ` ${told.length} of ${n} candidates are drawn.` : ''
  const title = 'Scores of one prompt'
  const named = told.filter((one) => one.id === winner || one.id === best || one.end === 'finished')
  return {
    title,
    text: `Candidates of prompt ${prompt + 1} by ${scorer} under ${arm}, until they end (dot) or are killed (cross).${rest}`,
    chart: plotOf({
      id,
      title,
      description: `${killed} of ${told.length} candidates are killed; candidate ${winner} is returned and best-of-N would return ${best}`,
      x,
      y,
      xName: 'tokens',
      yName: 'score',
      marks
    }),
    legend: [
      { name: winner === best ? 'returned, as by best-of-N' : 'returned', style: 'reject0', drawn: 'line' },
      ...(winner === best ? [] : [{ name: 'best-of-N’s pick', style: 'full', drawn: 'line' as const }]),
      { name: 'ended by itself', style: 'finished', drawn: 'line' },
      { name: 'killed', style: 'killed', drawn: 'cross' }
    ],
    columns: ['candidate', 'tokens', 'last score', 'right', ''],
    rows: named
      .slice(0, 12)
      .map((one) => [
        String(one.id),
        decimal(one.points.at(-1)?.[0] ?? 0, 0),
        decimal(one.points.at(-1)?.[1] ?? 0, 2),
        one.right === null ? '-' : one.right ? 'yes' : 'no',
        [one.id === winner ? 'returned' : '', one.id === best ? 'best-of-N’s pick' : '', one.end]
          .filter((word) => word !== '')
          .join(', ')
      ])
  }
}
