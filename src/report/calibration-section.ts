import { linear } from './axis.js'
import { field, plotOf } from './plot.js'
import type { Section } from './section.js'
import type { Study } from './study.js'
import { element, pathOf, sign } from './svg.js'
import { decimal, percent, whole, within } from './wording.js'

const looks = [
  { style: 'full', shape: 'circle' },
  { style: 'reject0', shape: 'diamond' }
] as const

/** How often a candidate of such a score is right; null where it is not known. */
export function calibrationSection({ calibrations }: Study, id: string): Section | null {
  const told = calibrations.slice(0, looks.length).filter(({ bins }) => bins.length > 0)
  if (told.length === 0) return null
  const bins = told.flatMap((each) => each.bins)
  const x = linear(
    bins.map(({ mean }) => mean),
    { from: field.left, to: field.right }
  )
  const y = linear([0, ...bins.map(({ share }) => share.high)], { from: field.bottom, to: field.top, text: whole })
  const marks = told.flatMap(({ bins }, i) => {
    const { style, shape } = looks[i] as (typeof looks)[number]
    const at = bins.map(({ mean, share }) => [x.at(mean), y.at(share.mean)] as const)
    return [
      element('path', { class: `line ${style}`, d: pathOf(at) }),
      ...bins.map(({ mean, share }) =>
        element('line', {
          class: `whisker ${style}`,
          x1: x.at(mean),
          x2: x.at(mean),
          y1: y.at(share.low),
          y2: y.at(share.high)
        })
      ),
      ...at.map((place) => sign(shape, ...place, `mark ${style}`))
    ]
  })
  const title = 'What a score means'
  return {
    title,
    text: 'Share of right candidates among those of alike scores, a tenth of all to a bin. A score that rejection can go by climbs. Wilson’s intervals, which take candidates for independent.',
    chart: plotOf({
      id,
      title,
      description: told
        .map(
          ({ when, bins }) =>
            `${when}: from ${percent(bins[0]?.share.mean ?? 0)} right in the lowest bin to ${percent(bins.at(-1)?.share.mean ?? 0)} in the highest`
        )
        .join('; '),
      x,
      y,
      xName: 'score',
      yName: 'right',
      marks
    }),
    legend: told.map(({ when }, i) => ({ name: when, style: looks[i]?.style ?? '', drawn: looks[i]?.shape ?? 'line' })),
    columns: ['score', 'mean', 'candidates', 'right'],
    rows: told.flatMap(({ when, bins }) =>
      bins.map(({ from, to, mean, count, share }) => [
        `${told.length > 1 ? `${when}: ` : ''}${decimal(from, 2)} to ${decimal(to, 2)}`,
        decimal(mean, 2),
        decimal(count, 0),
        within(share, percent)
      ])
    )
  }
}
