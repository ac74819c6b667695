import type { Interval } from '../statistics.js'
import { type Axis, linear, logarithmic } from './axis.js'
import type { CurvePoint } from './curve.js'
import { looksOf } from './looks.js'
import { field, plotOf } from './plot.js'
import type { Look, Section } from './section.js'
import { isPlain, type Study } from './study.js'
import { element, label, pathOf, sign } from './svg.js'
import { decimal, percent, whole, within } from './wording.js'

/** What quality is held against. */
export type Cost = 'tokens' | 'time'

interface Spot {
  readonly name: string
  readonly look: Look
  readonly quality: Interval
  readonly cost: Interval
}

const baseline: Look = { style: 'full', shape: 'circle' }
/** Units between signs that would cover each other. */
const apart = 7

/** Quality against what it costs, over best-of-N as the baseline; null where one of the two is not known. */
export function qualitySection(study: Study, id: string, cost: Cost): Section | null {
  const known = study.arms.every(({ accuracy }) => accuracy !== null)
  const spotOf = (name: string, look: Look, point: Omit<CurvePoint, 'n'>): Spot[] => {
    const quality = known ? point.accuracy : point.meanScore
    const paid = cost === 'tokens' ? point.generatedTokens : point.wallSeconds
    return quality === null || paid === null || !(paid.mean > 0) ? [] : [{ name, look, quality, cost: paid }]
  }
  const look = looksOf(study)
  const curve = study.curve.flatMap((point) => spotOf(`best-of-${Number(point.n.toFixed(1))}`, baseline, point))
  const arms = study.arms.filter((arm) => !isPlain(arm)).flatMap((arm) => spotOf(arm.policy, look(arm), arm))
  const all = [...curve, ...arms]
  if (all.length < 2) return null
  const x = logarithmic(
    all.map(({ cost }) => cost.mean),
    { from: field.left, to: field.right, text: (value) => decimal(value, Number.isInteger(value) ? 0 : 2) }
  )
  const y = linear(
    all.flatMap(({ quality }) => [quality.low, quality.high]),
    { from: field.bottom, to: field.top, ...(known && { text: whole }) }
  )
  const unit = (value: number) => decimal(value, cost === 'tokens' ? 0 : 2)
  const good = (value: number) => (known ? percent(value) : decimal(value, 2))
  const paid = cost === 'tokens' ? 'tokens' : 'seconds'
  const title = `Quality against ${cost === 'tokens' ? 'tokens' : 'wall time'}`
  return {
    title,
    text: [
      `${known ? 'Share of prompts answered right' : 'Mean score of what is returned'}, by what a prompt costs.`,
      'The line is best-of-N, with its N: what lies above it is worth its cost. Bars are 95% intervals; what would cover',
      'something else stands a little beside it.',
      ...(study.what === 'replay' && cost === 'time' ? ['Seconds are foretold from those of the recording.'] : [])
    ].join(' '),
    chart: plotOf({
      id,
      title,
      description: all.map((spot) => `${spot.name}: ${good(spot.quality.mean)} for ${unit(spot.cost.mean)}`).join('; '),
      x,
      y,
      xName: `${paid} a prompt`,
      yName: known ? 'right' : 'mean score',
      marks: [...baselineOf(curve, x, y), ...spreadOf(arms, x).flatMap(([spot, place]) => drawn(spot, place, y))]
    }),
    legend: [
      { name: 'best-of-N', style: 'full', drawn: 'line' },
      ...arms.map(({ name, look }) => ({ name, style: look.style, drawn: look.shape }))
    ],
    columns: ['', known ? 'right' : 'mean score', paid],
    rows: all.map(({ name, quality, cost }) => [name, within(quality, good), within(cost, unit)])
  }
}

function baselineOf(curve: readonly Spot[], x: Axis, y: Axis): string[] {
  const at = ({ quality, cost }: Spot) => [x.at(cost.mean), y.at(quality.mean)] as const
  const line = element('path', { class: 'line full', d: pathOf(curve.map(at)) })
  let free = Number.NEGATIVE_INFINITY
  const named = curve.flatMap((spot) => {
    const [place, height] = at(spot)
    const n = spot.name.slice('best-of-'.length)
    // Of numbers that vary from prompt to prompt the figures tell.
    if (n.includes('.') || place < free) return []
    free = place + 18
    // Below its sign, unless the axis is there.
    const y = height + 16 > field.bottom ? height - 7 : height + 13
    return [label(place + 5, y, n, { class: 'near' })]
  })
  return [line, ...curve.flatMap((spot) => drawn(spot, x.at(spot.cost.mean), y)), ...named]
}

function drawn({ quality, look }: Spot, place: number, y: Axis): string[] {
  const ends = { x1: place, x2: place, y1: y.at(quality.low), y2: y.at(quality.high) }
  return [
    element('line', { class: `whisker ${look.style}`, ...ends }),
    sign(look.shape, place, y.at(quality.mean), `mark ${look.style}`)
  ]
}

/** Places of spots along x, those that would cover each other side by side. */
function spreadOf(spots: readonly Spot[], x: Axis): (readonly [Spot, number])[] {
  const order = [...spots].sort((a, b) => a.cost.mean - b.cost.mean)
  const groups: Spot[][] = []
  for (const spot of order) {
    const last = groups.at(-1)?.at(-1)
    if (last !== undefined && x.at(spot.cost.mean) - x.at(last.cost.mean) < apart) groups.at(-1)?.push(spot)
    else groups.push([spot])
  }
  return groups.flatMap((group) => {
    const middle = group.reduce((sum, { cost }) => sum + x.at(cost.mean), 0) / group.length
    return group.map((spot, i) => [spot, middle + (i - (group.length - 1) / 2) * apart] as const)
  })
}
