import { linear } from './axis.js'
import type { Flow } from './flow.js'
import { field, plotOf } from './plot.js'
import type { Section } from './section.js'
import { rejecting, type Study } from './study.js'
import { sampled } from './survival-section.js'
import { areaOf, element, pathOf } from './svg.js'
import { decimal } from './wording.js'

/** Candidates being killed while they are written, of the first arm that rejects; null where it is not known. */
export function ribbonSection(study: Study, id: string): Section | null {
  const arm = rejecting(study)[0]
  const flow = study.flows.find((flow) => flow.arm === arm?.policy)
  const full = study.flows.find((flow) => flow.arm === study.reference)
  if (arm === undefined || flow === undefined) return null
  const n = (flow.live[0] ?? 0) + (flow.finished[0] ?? 0) + (flow.killed[0] ?? 0)
  const x = linear([0, ...flow.steps, ...(full?.steps ?? [])], {
    from: field.left,
    to: field.right,
    text: (value) => decimal(value, 0)
  })
  const y = linear([0, n], { from: field.bottom, to: field.top, text: (value) => decimal(value, 0) })
  const last = Math.max(0, ...flow.steps, ...(full?.steps ?? []))
  // What has ended stays so until the last step of all.
  const line = (heights: readonly number[], { steps }: Flow) =>
    [...heights, heights.at(-1) ?? 0].map((height, i) => [x.at(steps[i] ?? last), y.at(height)] as const)
  const ended = flow.live.map((live, i) => live + (flow.finished[i] as number))
  const all = ended.map((height, i) => height + (flow.killed[i] as number))
  const zero = flow.live.map(() => 0)
  const marks = [
    element('path', { class: 'area killed', d: areaOf(line(all, flow), line(ended, flow)) }),
    element('path', { class: 'area finished', d: areaOf(line(ended, flow), line(flow.live, flow)) }),
    element('path', { class: 'area live', d: areaOf(line(flow.live, flow), line(zero, flow)) }),
    ...(full === undefined ? [] : [element('path', { class: 'line full dashed', d: pathOf(line(full.live, full)) })])
  ]
  const title = 'Where tokens went'
  const rows = sampled(
    flow.steps.map((_, i) => i),
    10
  )
  const cell = (value: number | undefined) => decimal(value ?? 0, 1)
  return {
    title,
    text: `What the candidates of ${arm.policy} are doing at each token, means over the prompts. The area of those that write is what was written; up to the dashed line is what best-of-N writes.`,
    chart: plotOf({
      id,
      title,
      description: `Of ${decimal(n, 0)} candidates ${cell(flow.killed.at(-1))} are killed and ${cell(flow.finished.at(-1))} have ended before the last step`,
      x,
      y,
      xName: 'tokens',
      yName: 'candidates',
      marks
    }),
    legend: [
      { name: 'writing', style: 'live', drawn: 'area' },
      { name: 'ended by themselves', style: 'finished', drawn: 'area' },
      { name: 'killed', style: 'killed', drawn: 'area' },
      ...(full === undefined ? [] : [{ name: 'writing, best-of-N', style: 'full', drawn: 'dashed' as const }])
    ],
    columns: ['token', 'writing', 'ended', 'killed', ...(full === undefined ? [] : ['writing, best-of-N'])],
    rows: rows.map((i) => [
      decimal(flow.steps[i] as number, 0),
      cell(flow.live[i]),
      cell(flow.finished[i]),
      cell(flow.killed[i]),
      ...(full === undefined ? [] : [cell(levelAt(full.live, full, flow.steps[i] as number))])
    ])
  }
}

/** Of a flow at the last step told that is not after this one; 0 after its last. */
export function levelAt(levels: readonly number[], { steps }: Flow, step: number): number {
  if (step > (steps.at(-1) ?? 0)) return 0
  return levels[steps.findLastIndex((told) => told <= step)] ?? 0
}
