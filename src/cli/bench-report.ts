import type { Interval } from '../statistics.js'
import type { PolicySummary } from '../summary.js'
import { drawTable, type TableStyle } from './table.js'

/** One line for each policy: means per prompt with their 95% intervals. */
export function benchTable(summaries: readonly PolicySummary[], style: TableStyle): string {
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
  if (interval === null) return '-'
  return `${text(interval.mean)} [${text(interval.low)}, ${text(interval.high)}]`
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)}%`
}

function decimal(value: number, digits: number): string {
  return Number.isInteger(value) ? String(value) : value.toFixed(digits)
}
