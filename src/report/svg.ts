/** SVG as text. Coordinates are rounded to a tenth, so that the same figures give the same bytes everywhere. */

export type Attributes = Readonly<Record<string, string | number>>

/** `children` are markup already. */
export function element(name: string, attributes: Attributes, ...children: readonly string[]): string {
  const written = Object.entries(attributes).map(([key, value]) => ` ${key}="${escaped(text(value))}"`)
  return children.length === 0
    ? `<${name}${written.join('')}/>`
    : `<${name}${written.join('')}>${children.join('')}</${name}>`
}

export function label(x: number, y: number, content: string, attributes: Attributes = {}): string {
  return element('text', { x, y, ...attributes }, escaped(content))
}

/** Through all points, left to right. */
export function pathOf(points: readonly (readonly [number, number])[]): string {
  return points.map(([x, y], i) => `${i === 0 ? 'M' : 'L'}${text(x)} ${text(y)}`).join('')
}

/** A level holds until the next point. */
export function stepsOf(points: readonly (readonly [number, number])[]): string {
  return points.map(([x, y], i) => (i === 0 ? `M${text(x)} ${text(y)}` : `H${text(x)}V${text(y)}`)).join('')
}

/** Between two lines over the same places. */
export function areaOf(top: readonly (readonly [number, number])[], bottom: readonly (readonly [number, number])[]) {
  return `${pathOf([...top, ...[...bottom].reverse()])}Z`
}

/** For HTML and SVG, in texts and in double quotes. */
export function escaped(content: string): string {
  const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }
  return content.replace(/[&<>"]/g, (sign) => entities[sign] as string)
}

function text(value: string | number): string {
  // Not -0.
  return typeof value === 'string' ? value : String(Math.round(value * 10) / 10 + 0)
}

/** The signs of series, so that colour is never all that tells them apart. */
export const shapes = ['circle', 'diamond', 'square', 'triangle', 'cross'] as const
export type Shape = (typeof shapes)[number]

/** A sign of about 10 units, its centre at a place; of a cross `half` is half its width. */
export function sign(shape: Shape, x: number, y: number, style: string, half = 4): string {
  const drawn = { class: style }
  if (shape === 'circle') return element('circle', { cx: x, cy: y, r: 4, ...drawn })
  if (shape === 'square') return element('rect', { x: x - 4, y: y - 4, width: 8, height: 8, ...drawn })
  if (shape === 'cross') {
    const [left, across] = [text(x - half), 2 * half]
    const d = `M${left} ${text(y - half)}l${across} ${across}M${left} ${text(y + half)}l${across} ${-across}`
    return element('path', { d, ...drawn, class: `${style} stroke` })
  }
  const d = shape === 'diamond' ? 'v-5.5l5.5 5.5l-5.5 5.5l-5.5 -5.5l5.5 -5.5' : 'm0 -5l5 9h-10z'
  return element('path', { d: `M${text(x)} ${text(y)}${d}`, ...drawn })
}
