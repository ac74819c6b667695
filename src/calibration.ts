import { type Entrant, judge, leastRounds, worthwhile } from './contest.js'
import { WinnowError } from './errors.js'
import { quantile } from './statistics.js'
import type { Cost, Shape, Subject } from './subject.js'
import { moved, type Settings, type Timing } from './timing.js'

/** Settings as they were measured. The first of each setting's trials is what was in force. */
export interface SettingTrial {
  /** The one whose values were compared. */
  readonly setting: keyof Settings
  readonly settings: Settings
  /** Times it was measured, in turn with the others. */
  readonly rounds: number
  /** Of a step of all candidates; the median. NaN, as what follows, where nothing was measured. */
  readonly stepSeconds: number
  /** The median. */
  readonly promptTokensPerSecond: number
  /** Of the time that was compared: the range of its middle half as a share of the median. */
  readonly spread: number
  /** The most that a log-probability differs from the one with the settings of the beginning, nats; 0: the same bits. */
  readonly moved: number
  readonly cellBytes: number
  /** Why it was given up: its error, or that it took several times as long. Null if it was not. */
  readonly failure: string | null
}

export interface SettingChoice {
  readonly setting: keyof Settings
  readonly was: number | string
  readonly value: number | string
  /** What is fastest where that was not chosen, because it moves log-probabilities; null for nothing. */
  readonly advice: number | string | null
  readonly verdict: 'changed' | 'kept' | 'advised' | 'undecided'
  readonly reason: string
}

export interface Calibration extends Shape {
  /** That measuring took. */
  readonly seconds: number
  readonly trials: readonly SettingTrial[]
  /** One for each setting, in the order in which they were searched. */
  readonly choices: readonly SettingChoice[]
  /** To be given to `open`. */
  readonly settings: Settings
}

/** What a contest says of a setting. The first entrant is what was in force. */
export function choose(
  { setting, numeric }: Subject,
  settings: Settings,
  [incumbent, ...candidates]: readonly Entrant[],
  cost: Cost,
  movedOf: (entrant: Entrant) => number,
  allowNumerics: boolean
): SettingChoice {
  const was = settings[setting]
  const kept = (verdict: 'kept' | 'undecided', reason: string): SettingChoice => {
    return { setting, was, value: was, advice: null, verdict, reason }
  }
  if (incumbent === undefined) return kept('kept', 'there is nothing else to try')
  const running = candidates.filter(({ givenUp }) => givenUp === null)
  if (running.length === 0) return kept('kept', 'nothing else could be run, or not nearly as fast')
  if (incumbent.timings.length < leastRounds) {
    const rounds = `${incumbent.timings.length} of at least ${leastRounds} rounds`
    return kept('undecided', `the time was enough for ${rounds}; more seconds are needed`)
  }
  const judged = running
    .map((entrant) => ({ entrant, value: entrant.settings[setting], ...judge(incumbent, entrant, cost) }))
    .sort((a, b) => a.ratio - b.ratio)
  const said = ({ value, ratio, wins, rounds }: (typeof judged)[number]) =>
    `${value} took ${ratio.toFixed(2)} of the time of ${was}, the median, and at least 3% less in ${wins} of ${rounds} rounds`
  const better = judged.filter((candidate) => candidate.better)
  const [fastest] = better
  if (fastest === undefined) {
    const next = judged[0] as (typeof judged)[number]
    return kept('kept', next.ratio > 1 - worthwhile ? said(next) : `${said(next)}: no more than noise`)
  }
  const chosen = better.find(({ entrant }) => allowNumerics || (!numeric && movedOf(entrant) === 0))
  const others = fastest === chosen ? [] : [fastest]
  const reason = [...(chosen === undefined ? [] : [chosen]), ...others]
    .map((candidate) => `${said(candidate)}; ${movesText(movedOf(candidate.entrant))}`)
    .join('; ')
  const verdict = chosen === undefined ? 'advised' : 'changed'
  return { setting, was, value: chosen?.value ?? was, advice: others[0]?.value ?? null, verdict, reason }
}

function movesText(nats: number): string {
  if (nats === 0) return 'log-probabilities here are the same bits'
  return `log-probabilities move by up to ${nats.toPrecision(2)} nats`
}

/** `reference`: a run with the settings of the beginning; null where there was no time for it. */
export function trialOf(
  setting: keyof Settings,
  { settings, timings, givenUp }: Entrant,
  { promptTokens }: Shape,
  cost: Cost,
  reference: Timing | null
): SettingTrial {
  const sorted = (of: Cost) => timings.map(of).sort((a, b) => a - b)
  const median = (of: Cost) => quantile(sorted(of), 0.5)
  const costs = sorted(cost)
  return {
    setting,
    settings,
    rounds: timings.length,
    stepSeconds: median(({ stepSeconds }) => stepSeconds),
    promptTokensPerSecond: median(({ promptSeconds }) => promptTokens / promptSeconds),
    spread: (quantile(costs, 0.75) - quantile(costs, 0.25)) / quantile(costs, 0.5),
    moved: movedBy(timings, reference),
    cellBytes: timings[0]?.cellBytes ?? Number.NaN,
    failure: givenUp === null ? null : WinnowError.is(givenUp) ? givenUp.message : 'it took several times as long'
  }
}

/** By the round that moved most: a device that does not repeat itself shows it. */
function movedBy(timings: readonly Timing[], reference: Timing | null): number {
  if (reference === null || timings.length === 0) return Number.NaN
  return Math.max(...timings.map((timing) => moved(reference, timing)))
}
