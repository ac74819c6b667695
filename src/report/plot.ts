import type { Axis } from './axis.js'
import { element, escaped, label } from './svg.js'

/** Units of every chart; the page scales them to the width there is. */
export const size = { width: 440, height: 280 } as const
/** Where the figures of a plot are drawn. */
export const field = { left: 50, right: 416, top: 24, bottom: 236 } as const

export interface Plot {
  /** Unique on the page. */
  readonly id: string
  readonly title: string
  /** What is to be seen, for who cannot see it. */
  readonly description: string
  readonly x: Axis
  readonly y: Axis
  readonly xName: string
  readonly yName: string
  /** Markup, drawn in this order. */
  readonly marks: readonly string[]
}

/** Axes, names and marks. */
export function plotOf({ id, title, description, x, y, xName, yName, marks }: Plot): string {
  const rows = y.ticks.map(({ value, text }) => {
    const at = y.at(value)
    const line = element('line', { class: 'grid', x1: field.left, x2: field.right, y1: at, y2: at })
    return line + label(field.left - 6, at + 4, text, { class: 'tick', 'text-anchor': 'end' })
  })
  const columns = withRoom(x).map(({ value, text }) => {
    const at = x.at(value)
    const line = element('line', { class: 'notch', x1: at, x2: at, y1: field.bottom, y2: field.bottom + 4 })
    return line + label(at, field.bottom + 17, text, { class: 'tick', 'text-anchor': 'middle' })
  })
  const base = element('line', { class: 'base', x1: field.left, x2: field.right, y1: field.bottom, y2: field.bottom })
  const names = [
    label(field.left - 44, 12, yName, { class: 'axis' }),
    label(field.right, field.bottom + 36, xName, { class: 'axis', 'text-anchor': 'end' })
  ]
  return drawing({ id, title, description }, [...rows, ...columns, base, ...names, ...marks])
}

/** Any drawing of the charts' size, unless told otherwise. */
export function drawing(
  { id, title, description }: Pick<Plot, 'id' | 'title' | 'description'>,
  marks: readonly string[],
  height: number = size.height
): string {
  const named = { role: 'img', 'aria-labelledby': `${id}-title ${id}-desc` }
  return element(
    'svg',
    { viewBox: `0 0 ${size.width} ${height}`, xmlns: 'http://www.w3.org/2000/svg', ...named },
    element('title', { id: `${id}-title` }, escaped(title)),
    element('desc', { id: `${id}-desc` }, escaped(description)),
    ...marks
  )
}

/** The ticks whose texts do not run into the one before. */
function withRoom({ ticks, at }: Axis) {
  let free = Number.NEGATIVE_INFINITY
  return ticks.filter(({ value, text }) => {
    const half = 3.4 * text.length
    if (at(value) - half < free) return false
    free = at(value) + half + 6
    return true
  })
}
