import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { every } from '../src/checkpoint.js'
import { specReject } from '../src/policies/spec-reject.js'
import { generator } from '../src/statistics.js'
import { replay } from '../src/traces/replay.js'
import { startsOf, type Trace, type TraceHeader } from '../src/traces/trace.js'
import { madeTraces } from './fakes/traces.js'

/** A table of scores, as oracle/paper_rule.py reads it. */
interface Race {
  readonly alpha: number
  readonly rounds: number
  readonly candidates: readonly { readonly ends: number; readonly scores: readonly number[] }[]
}

interface Verdict {
  readonly alive: readonly (readonly number[])[]
  readonly winner: number
}

const grid = 2

/** Small tables and large ones, of odd sizes and even, with few scores (many ties) and with all different ones. */
function tables(count: number): Race[] {
  const draw = generator(20241020)
  const whole = (low: number, high: number) => low + Math.floor(draw() * (high - low + 1))
  const usual = [0, 0.1, 0.2, 0.25, 0.3, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9, 0.95]
  return Array.from({ length: count }, (_, i) => {
    const rounds = whole(1, 6)
    const most = i % 10 === 0 ? 257 : 19
    const values = i % 3 === 0 ? 1e9 : whole(1, 6)
    const alpha = draw() < 0.7 ? (usual[whole(0, usual.length - 1)] as number) : draw() * 0.99
    const candidates = Array.from({ length: whole(1, most) }, () => ({
      ends: whole(0, 2 * rounds),
      scores: Array.from({ length: rounds }, () => whole(-values, values) / 4)
    }))
    return { alpha, rounds, candidates }
  })
}

/** The same race as a trace: round r is a look at 2 (r + 1) tokens; who ends in it ends between two looks. */
function traced({ rounds, candidates }: Race): { readonly header: TraceHeader; readonly trace: Trace } {
  const made = madeTraces({ prompts: 1, n: candidates.length, grid, rho: () => 0 })
  const ended = candidates.map(({ ends }) => ends < rounds)
  const lived = Int32Array.from(candidates, ({ ends }, i) => (ended[i] ? ends : rounds - 1))
  const trace = {
    ...(made.traces[0] as Trace),
    lengths: Int32Array.from(candidates, ({ ends }, i) => (ended[i] ? grid * ends + 1 : grid * rounds)),
    lived,
    starts: startsOf(lived),
    reasons: ended.map((itself) => (itself ? ('end' as const) : ('length' as const))),
    scores: () => Float64Array.from(candidates.flatMap(({ scores }, i) => scores.slice(0, (lived[i] as number) + 1)))
  }
  return { header: { ...made.header, maxTokens: grid * rounds }, trace }
}

/** Who is alive after each round, and who wins, by the policy under test. */
function ours(race: Race): Verdict {
  const { header, trace } = traced(race)
  const policy = specReject({ paper: true, alpha: race.alpha, checkpoints: every(grid) })
  const { killedAt, rounds, winner } = replay(header, trace, policy)
  const ids = race.candidates.map((_, id) => id)
  const alive = rounds.map((_, r) =>
    ids.filter((id) => {
      const killed = killedAt[id] as number
      return (trace.lived[id] as number) > r && (killed === -1 || killed > (r + 1) * grid)
    })
  )
  return { alive, winner: winner as number }
}

it('has the survivors and the winner of the published rule on 10,000 random score tables', () => {
  const races = tables(10_000)
  const oracle = fileURLToPath(new URL('oracle/paper_rule.py', import.meta.url))
  const { stdout, stderr, status } = spawnSync('python3', [oracle], {
    input: JSON.stringify(races),
    encoding: 'utf8',
    maxBuffer: 1 << 28
  })
  expect([status, stderr]).toEqual([0, ''])
  const theirs = JSON.parse(stdout) as Verdict[]
  expect(theirs).toHaveLength(races.length)
  let [kills, ties] = [0, 0]
  for (const [i, race] of races.entries()) {
    const [own, other] = [ours(race), theirs[i] as Verdict]
    // In the last round all that still live are ended by length; the reference ranks them once more and returns.
    const compared = other.alive.length < race.rounds ? other.alive : other.alive.slice(0, -1)
    expect([i, own.alive.slice(0, compared.length), own.winner]).toEqual([i, compared, other.winner])
    kills += compared.length > 0 && (compared[0] as readonly number[]).length < race.candidates.length ? 1 : 0
    const first = race.candidates.map(({ scores }) => scores[0])
    ties += new Set(first).size < first.length ? 1 : 0
  }
  // The tables are about something.
  expect(kills).toBeGreaterThan(5000)
  expect(ties).toBeGreaterThan(4000)
}, 120_000)
