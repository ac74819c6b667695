import type { Interval } from '../statistics.js'
import type { PolicySummary } from '../summary.js'
import { drawTable, type TableStyle } from './table.js'

export type BenchStyle = 'text' | 'md' | 'csv' | 'jsonl'
export const benchStyles: readonly string[] = ['text', 'md', 'csv', 'jsonl'] satisfies BenchStyle[]

/**
 * Means per prompt with their 95% intervals, a line for each policy. `text` and `md` are for people; `csv` has plain
 * numbers, the ends of an interval in columns of their own; `jsonl` has what `--json` says of the policy.
 */
export function benchReport(summaries: readonly PolicySummary[], style: BenchStyle): string {
  if (style === 'jsonl') return summaries.map((summary) => JSON.stringify(summary)).join('\n')
  return style === 'csv' ? numbers(summaries) : forPeople(summaries, style)
}

const means = ['accuracy', 'meanScore', 'generatedTokens', 'wallSeconds', 'survival', 'regret'] as const

function numbers(summaries: readonly PolicySummary[]): string {
  const columns = ['policy', 'n', 'prompts', ...means.flatMap((key) => [key, `${key}Low`, `${key}High`]), 'peakCells']
  const cells = (interval: Interval | null) => [interval?.mean, interval?.low, interval?.high]
  const rows = summaries.map((summary) => {
    const { policy, n, prompts, peakCells } = summary
    return [policy, n, prompts, ...means.flatMap((key) => cells(summary[key])), peakCells]
  })
  // An empty cell is a number that is not known.
  return drawTable(
    columns,
    rows.map((row) => row.map((cell) => (Number.isNaN(cell) ? '' : String(cell ?? '')))),
    'csv'
  )
}

function forPeople(summaries: readonly PolicySummary[], style: TableStyle): string {
  const columns = [
    'policy',
    'n',
    'prompts',
    'accuracy',
    'mean score',
    'tokens',
    'seconds',
    'peak cells',
    'survival',
    'regret'
  ]
  const rows = summaries.map((summary) => [
    summary.policy,
    decimal(summary.n, 1),
    String(summary.prompts),
    withInterval(summary.accuracy, percent),
    withInterval(summary.meanScore, (value) => value.toFixed(2)),
    withInterval(summary.generatedTokens, (value) => value.toFixed(0)),
    withInterval(summary.wallSeconds, (value) => value.toFixed(2)),
    String(summary.peakCells),
    withInterval(summary.survival, percent),
    withInterval(summary.regret, percent)
  ])
  return drawTable(columns, rows, style)
}

function withInterval(interval: Interval | null, text: (value: number) => string): string {
  if (interval === null || Number.isNaN(interval.mean)) return '-'
  return `${text(interval.mean)} [${text(interval.low)}, ${text(interval.high)}]`
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)}%`
}

function decimal(value: number, digits: number): string {
  return Number.isInteger(value) ? String(value) : value.toFixed(digits)
}
