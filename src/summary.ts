import type { Arm } from './arm.js'
import { bootstrap, type Interval, resamples } from './statistics.js'
import type { Row } from './trial.js'

/** How one arm stands against another, on the same prompts and resamples. */
export interface Versus {
  /** Difference of accuracies; positive where this arm is right more often. */
  readonly accuracy: Interval | null
  /** Ratio of the sums over prompts. */
  readonly generatedTokens: Interval
  readonly processedTokens: Interval
  readonly wallSeconds: Interval
}

/** One arm over all prompts. Means are per prompt, with a 95% paired bootstrap interval over prompts. */
export interface PolicySummary {
  readonly policy: string
  /** Candidates written on each prompt, the mean where they vary. */
  readonly n: number
  readonly prompts: number
  /** Share of right answers; null where no answer is known. */
  readonly accuracy: Interval | null
  /** Of the returned answers, by the scorer of what the arm is measured against: the reference unless it says otherwise. */
  readonly meanScore: Interval | null
  readonly generatedTokens: Interval
  readonly processedTokens: Interval
  /** Tokens a reward model decoded. */
  readonly rewardTokens: Interval
  readonly wallSeconds: Interval
  /** The most cells in use at once on any prompt. */
  readonly peakCells: number
  /** Share of prompts on which the returned answer is best-of-N's pick; like `regret`, of the best-of-N it is measured against. */
  readonly survival: Interval | null
  readonly regret: Interval | null
  /** Mean share of candidates that wrote something else than under the best-of-N it is measured against. */
  readonly diverged: number | null
  /** Share of prompts on which the returned answer was stopped before its end. */
  readonly truncated: number
  /** Share of the wall time spent on each phase. */
  readonly phases: Readonly<Record<string, number>>
  readonly versus: Readonly<Record<string, Versus>>
}

type Named = Pick<Arm, 'name'>
type Metric = (row: Row) => number | null

/**
 * Rows -> one summary for each arm. Only prompts measured under every arm count, so that all means are over the same
 * prompts and differences are paired.
 */
export function summarise(rows: readonly Row[], arms: readonly Named[], seed: number): PolicySummary[] {
  const table = complete(rows, arms)
  const count = table[0]?.length ?? 0
  const drawn = resamples(count, seed)
  return arms.map((arm, a) => {
    const own = table[a] as readonly Row[]
    const average = (metric: Metric) => meanOf(own, drawn, metric)
    const versus = arms.flatMap((other, b) =>
      b === a || count === 0 ? [] : [[other.name, against(own, table[b] as readonly Row[], drawn)] as const]
    )
    return {
      policy: arm.name,
      n: own.reduce((sum, row) => sum + row.n, 0) / Math.max(1, count),
      prompts: count,
      accuracy: average((row) => (row.right === null ? null : Number(row.right))),
      meanScore: average((row) => row.score),
      generatedTokens: average((row) => row.generatedTokens) as Interval,
      processedTokens: average((row) => row.processedTokens) as Interval,
      rewardTokens: average((row) => row.rewardTokens) as Interval,
      wallSeconds: average((row) => row.wallSeconds) as Interval,
      peakCells: Math.max(0, ...own.map((row) => row.peakCells)),
      survival: average((row) => (row.survived === null ? null : Number(row.survived))),
      regret: average((row) => row.regret),
      diverged: average((row) => row.diverged)?.mean ?? null,
      truncated: own.filter((row) => row.truncated).length / Math.max(1, count),
      phases: phasesOf(own),
      versus: Object.fromEntries(versus)
    }
  })
}

/** For each arm its rows, over the prompts that every arm has, in the order of the prompts. */
function complete(rows: readonly Row[], arms: readonly Named[]): (readonly Row[])[] {
  const of = new Map(rows.map((row) => [`${row.prompt} ${row.arm}`, row]))
  const prompts = [...new Set(rows.map((row) => row.prompt))].sort((a, b) => a - b)
  const full = prompts.filter((prompt) => arms.every((arm) => of.has(`${prompt} ${arm.name}`)))
  return arms.map((arm) => full.map((prompt) => of.get(`${prompt} ${arm.name}`) as Row))
}

/** Over the rows that have the metric; null when none has. */
function meanOf(rows: readonly Row[], drawn: readonly Int32Array[], metric: Metric): Interval | null {
  const values = rows.map(metric)
  if (!values.some((value) => value !== null)) return null
  return bootstrap(rows.length, drawn, (items) => {
    let [sum, count] = [0, 0]
    for (const item of items) {
      const value = values[item] as number | null
      if (value === null) continue
      sum += value
      count++
    }
    return count === 0 ? 0 : sum / count
  })
}

function against(own: readonly Row[], other: readonly Row[], drawn: readonly Int32Array[]): Versus {
  const ratio = (metric: (row: Row) => number) =>
    bootstrap(own.length, drawn, (items) => sum(items, own, metric) / Math.max(1e-12, sum(items, other, metric)))
  const known = own.every((row) => row.right !== null) && other.every((row) => row.right !== null)
  const right = (row: Row) => Number(row.right)
  return {
    accuracy: known
      ? bootstrap(own.length, drawn, (items) => (sum(items, own, right) - sum(items, other, right)) / items.length)
      : null,
    generatedTokens: ratio((row) => row.generatedTokens),
    processedTokens: ratio((row) => row.processedTokens),
    wallSeconds: ratio((row) => row.wallSeconds)
  }
}

function sum(items: Int32Array, rows: readonly Row[], metric: (row: Row) => number): number {
  let total = 0
  for (const item of items) total += metric(rows[item] as Row)
  return total
}

function phasesOf(rows: readonly Row[]): Record<string, number> {
  const totals: Record<string, number> = {}
  const wall = rows.reduce((total, row) => total + row.wallSeconds, 0)
  for (const { seconds } of rows) {
    for (const [phase, spent] of Object.entries(seconds)) totals[phase] = (totals[phase] ?? 0) + spent
  }
  return Object.fromEntries(Object.entries(totals).map(([phase, total]) => [phase, wall === 0 ? 0 : total / wall]))
}
