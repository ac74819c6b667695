import type { Arm } from '../arm.js'
import { referenceOf } from '../bench.js'
import type { PolicySummary } from '../summary.js'
import type { Divergence } from '../traces/divergence.js'
import type { ReplayedRow } from '../traces/replayed-row.js'
import { type RoundSurvival, roundSurvival } from '../traces/round-survival.js'
import type { TraceHeader } from '../traces/trace.js'
import { type BenchStyle, benchReport } from './bench-report.js'
import { schemaVersion } from './provenance.js'
import { type Measured, measuresReport } from './replay-measures.js'

export interface Replayed {
  readonly header: TraceHeader
  readonly arms: readonly Arm[]
  readonly rows: readonly ReplayedRow[]
  readonly summaries: readonly PolicySummary[]
  /** Of races with the model beside; null where there were none. */
  readonly divergence: Divergence | null
  /** Null where they were not asked for. */
  readonly measured: Measured | null
  readonly n: number
  readonly seed: number
  readonly invocation: string
}

/** The table of a bench, then for people survival by round and what live races differed in. Tables alone for programs. */
export function replayReport(replayed: Replayed, style: BenchStyle | 'json'): string {
  const { header, arms, rows, summaries, divergence, measured, n, seed, invocation } = replayed
  const rounds = new Map(arms.map(({ name }) => [name, roundSurvival(ofArm(rows, name))]))
  const policies = summaries.map((summary) => ({ ...summary, rounds: rounds.get(summary.policy) ?? [] }))
  if (style === 'json') {
    return JSON.stringify({
      schemaVersion,
      command: invocation,
      seed: String(seed),
      options: { candidates: n },
      traces: header,
      reference: referenceOf(arms)?.name ?? null,
      prompts: new Set(rows.map(({ prompt }) => prompt)).size,
      divergence,
      policies,
      ...measured
    })
  }
  if (style === 'jsonl') return policies.map((policy) => JSON.stringify(policy)).join('\n')
  const table = benchReport(summaries, style)
  if (style === 'csv') return table
  const by = policies.flatMap(({ policy, rounds: each }) => (each.length === 0 ? [] : [`${policy}: ${survival(each)}`]))
  return [
    table,
    '',
    'Seconds are foretold from those of the recording.',
    ...(by.length === 0 ? [] : ['', 'Prompts on which the best of all is still in the race, by tokens:', ...by]),
    ...(measured === null ? [] : ['', measuresReport(measured, style)]),
    ...(divergence === null ? [] : ['', differing(divergence)])
  ].join('\n')
}

function ofArm(rows: readonly ReplayedRow[], name: string) {
  return rows.filter(({ arm }) => arm === name).map(({ rounds }) => rounds)
}

/** Where it changes. */
function survival(rounds: readonly RoundSurvival[]): string {
  const changed = rounds.filter(({ bestAlive }, i) => bestAlive !== rounds[i - 1]?.bestAlive)
  return changed.map(({ tokens, bestAlive }) => `${tokens}: ${(100 * bestAlive).toFixed(1)}%`).join('  ')
}

function differing({ races, winners, kills, lengths, candidates, seconds, foretold }: Divergence): string {
  const same = winners + kills + lengths === 0 ? 'as replayed' : 'NOT as replayed'
  const off = `${winners} other winners, ${kills} other kills and ${lengths} other lengths of ${candidates} candidates`
  return `${races} live races went ${same}: ${off}; ${seconds.toFixed(2)} s, ${foretold.toFixed(2)} s foretold.`
}
