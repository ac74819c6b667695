import type { Shape } from './svg.js'

/** What a series looks like: a class of the page's style, and a sign. */
export interface Look {
  readonly style: string
  readonly shape: Shape
}

export interface LegendItem {
  readonly name: string
  readonly style: string
  /** A sign, a line, or the colour of an area. */
  readonly drawn: Shape | 'line' | 'dashed' | 'area'
}

/** One question with its chart and its figures. */
export interface Section {
  readonly title: string
  /** What is to be seen and how it was come by, in a sentence or two. */
  readonly text: string
  /** SVG. */
  readonly chart: string
  readonly legend: readonly LegendItem[]
  readonly columns: readonly string[]
  /** The first cell of a row names it. */
  readonly rows: readonly (readonly string[])[]
}
