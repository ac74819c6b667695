import { linear } from './axis.js'
import { looksOf } from './looks.js'
import { field, plotOf } from './plot.js'
import { levelAt } from './ribbon-section.js'
import type { Section } from './section.js'
import type { Study } from './study.js'
import { sampled } from './survival-section.js'
import { element, pathOf } from './svg.js'
import { decimal } from './wording.js'

/** KV cells in use at each step; null where it is not known. */
export function memorySection(study: Study, id: string): Section | null {
  const { flows } = study
  if (flows.length === 0) return null
  const look = looksOf(study)
  const style = (arm: string) => look({ policy: arm }).style
  const steps = flows.flatMap((flow) => flow.steps)
  const x = linear([0, ...steps], { from: field.left, to: field.right, text: (value) => decimal(value, 0) })
  const y = linear([0, ...flows.flatMap(({ cells }) => cells)], { from: field.bottom, to: field.top, text: thousands })
  const places = sampled(
    [...new Set(steps)].sort((a, b) => a - b),
    10
  )
  const most = (cells: readonly number[]) => cells.reduce((most, count) => Math.max(most, count), 0)
  const title = 'Memory over time'
  return {
    title,
    text: 'KV cells in use while candidates are written, means over the prompts. A cell holds one token of one candidate; the prompt counts once for each.',
    chart: plotOf({
      id,
      title,
      description: flows.map(({ arm, cells }) => `${arm}: ${decimal(most(cells), 0)} at the most`).join('; '),
      x,
      y,
      xName: 'step',
      yName: 'cells',
      marks: flows.map((flow) => {
        const line = flow.cells.map((count, i) => [x.at(flow.steps[i] as number), y.at(count)] as const)
        return element('path', { class: `line ${style(flow.arm)}`, d: pathOf(line) })
      })
    }),
    legend: flows.map(({ arm }) => ({ name: arm, style: style(arm), drawn: 'line' as const })),
    columns: ['step', ...flows.map(({ arm }) => arm)],
    rows: places.map((step) => [decimal(step, 0), ...flows.map((flow) => decimal(levelAt(flow.cells, flow, step), 0))])
  }
}

function thousands(value: number): string {
  return value >= 10_000 ? `${decimal(value / 1000, 0)}k` : decimal(value, 0)
}
