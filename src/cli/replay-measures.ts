import type { Arm } from '../arm.js'
import { type PlaceCorrelation, PlaceCorrelations } from '../measures/correlation.js'
import { type BestOfNMeasure, PaperMeasures, type PolicyMeasure } from '../measures/paper-measures.js'
import type { CostModel } from '../traces/cost.js'
import type { ReplayedRow } from '../traces/replayed-row.js'
import type { Trace, TraceHeader } from '../traces/trace.js'
import { drawTable, type TableStyle } from './table.js'

/** The paper's measures, and what partial scores are worth, as they stand in results. */
export interface Measured {
  readonly bestOfN: readonly BestOfNMeasure[]
  readonly measures: readonly PolicyMeasure[]
  /** By scorer. */
  readonly correlations: Readonly<Record<string, readonly PlaceCorrelation[]>>
}

/** Gathers both, trace by trace. */
export class Measures {
  readonly #paper: PaperMeasures
  readonly #correlations: ReadonlyMap<string, PlaceCorrelations>

  constructor(header: TraceHeader, arms: readonly Arm[], cost: CostModel, n: number) {
    this.#paper = new PaperMeasures(header, arms, cost, n)
    this.#correlations = new Map(header.scorers.map(({ name }, place) => [name, new PlaceCorrelations(header, place)]))
  }

  add(trace: Trace, rows: readonly ReplayedRow[]): void {
    this.#paper.add(trace, rows)
    for (const each of this.#correlations.values()) each.add(trace)
  }

  measured(seed: number): Measured {
    const correlations = [...this.#correlations].map(([name, each]) => [name, each.all()] as const)
    return {
      bestOfN: this.#paper.bestOfN(),
      measures: this.#paper.policies(seed),
      correlations: Object.fromEntries(correlations)
    }
  }
}

/** For people: a table of the policies, and one of the correlations. */
export function measuresReport({ measures, correlations }: Measured, style: TableStyle): string {
  const decimal = (value: number | null, digits = 2) => (value === null ? '-' : value.toFixed(digits))
  const columns = ['policy', 'improvement score', 'relative compute', 'equal to best-of', 'speed-up', 'in tokens']
  const sizes = measures[0]?.winRates.map(({ n }) => n) ?? []
  const rows = measures.map((measure) => [
    measure.policy,
    decimal(measure.improvementScore, 1),
    decimal(measure.relativeCompute),
    decimal(measure.equivalentN, 1),
    decimal(measure.speedUp),
    decimal(measure.tokenSpeedUp),
    ...measure.winRates.map(({ reward, gold }) => {
      return [reward, gold].map((rate) => (rate === null ? '-' : `${(100 * rate.mean).toFixed(0)}%`)).join(' / ')
    })
  ])
  const table = drawTable([...columns, ...sizes.map((n) => `beats best-of-${n}`)], rows, style)
  const places = Object.entries(correlations).flatMap(([name, list]) =>
    list.map(({ tokens, prompts, pearson, kendall }) => {
      return [name, String(tokens), String(prompts), decimal(pearson.mean), decimal(kendall.mean)]
    })
  )
  return [
    table,
    'Win rates by the first scorer and by right answers.',
    '',
    drawTable(['scorer', 'tokens', 'prompts', "Pearson's r with the final score", "Kendall's tau"], places, style)
  ].join('\n')
}
