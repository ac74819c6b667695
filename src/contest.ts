import { WinnowError } from './errors.js'
import { quantile } from './statistics.js'
import type { Settings, Timing } from './timing.js'

/** One that runs in a contest. `timings[i]` belongs to round i; who was given up has fewer. */
export interface Entrant {
  readonly settings: Settings
  readonly timings: Timing[]
  /** Why it runs no more: what it failed with, or that it took too long beside the incumbent. */
  givenUp: WinnowError | 'slow' | null
}

export interface ContestOptions {
  /** When the next contest should begin; this one goes on to `leastRounds` all the same. Of `performance.now()`. */
  readonly share: number
  /** When no round may be under way any more. */
  readonly deadline: number
  readonly signal: AbortSignal | undefined
  /** Null where `deadline` came first. */
  readonly run: (settings: Settings, deadline: number) => Promise<Timing | null>
  readonly onRun: (entrant: Entrant) => void
}

/** Of a decision. */
export const leastRounds = 5
const mostRounds = 15

/** What a change must save to be one, as a share. */
export const worthwhile = 0.03

/** The sign test's level: how seldom a candidate that is no better may pass. */
const level = 0.05

/** In the first round a candidate has this many times the incumbent's time, and then is given up; seconds at least. */
const patience = { times: 3, least: 0.25 }

/**
 * Runs the candidates in turn, round by round, so that what disturbs the machine disturbs them alike; every other round
 * backwards, so that nobody always runs behind the same one. A round counts when all of it was run. The incumbent is the
 * first; what it fails with is thrown.
 */
export async function contest(settings: readonly Settings[], options: ContestOptions): Promise<readonly Entrant[]> {
  const entrants: Entrant[] = settings.map((own) => ({ settings: own, timings: [], givenUp: null }))
  const now = () => performance.now()
  let reference = Number.POSITIVE_INFINITY
  for (let round = 0; round < mostRounds; round++) {
    if (now() >= options.deadline || (round >= leastRounds && now() >= options.share)) break
    const running = entrants.filter(({ givenUp }) => givenUp === null)
    const timings = new Map<Entrant, Timing>()
    for (const entrant of round % 2 === 0 ? running : running.toReversed()) {
      const incumbent = entrant === entrants[0]
      const patient = round > 0 || incumbent ? options.deadline : Math.min(options.deadline, now() + reference)
      const began = now()
      const timing = await options.run(entrant.settings, patient).catch((error: unknown) => {
        if (incumbent || options.signal?.aborted || !WinnowError.is(error)) throw error
        entrant.givenUp = error
        return null
      })
      if (timing !== null) timings.set(entrant, timing)
      else if (entrant.givenUp === null && patient === options.deadline) return entrants
      else entrant.givenUp ??= 'slow'
      if (round === 0 && incumbent) reference = Math.max(patience.least * 1000, patience.times * (now() - began))
    }
    for (const [entrant, timing] of timings) {
      entrant.timings.push(timing)
      options.onRun(entrant)
    }
    if (entrants.slice(1).every(({ givenUp }) => givenUp !== null)) break
  }
  return entrants
}

/** How a candidate did beside the incumbent. */
export interface Verdict {
  /** Whether it is better by more than the noise. */
  readonly better: boolean
  readonly rounds: number
  /** Rounds in which it took at least 3% less. */
  readonly wins: number
  /** Its time by the incumbent's of the same round, the median. */
  readonly ratio: number
}

/**
 * Better is who takes at least 3% less time than the incumbent in so many of at least five rounds that tossing a coin
 * would do as well in fewer than 5 of 100 contests: a one-sided sign test of each candidate, 5 of 5, 7 of 8 or 12 of 15. It
 * asks nothing of the noise but that it favours nobody, and one disturbed round of eight does not decide.
 */
export function judge(incumbent: Entrant, candidate: Entrant, cost: (timing: Timing) => number): Verdict {
  const ratios = candidate.timings.map((timing, round) => cost(timing) / cost(incumbent.timings[round] as Timing))
  const wins = ratios.filter((ratio) => ratio <= 1 - worthwhile).length
  const rounds = ratios.length
  const better = rounds >= leastRounds && byChance(wins, rounds) < level
  const sorted = ratios.toSorted((a, b) => a - b)
  return { better, rounds, wins, ratio: quantile(sorted, 0.5) }
}

/** The chance of at least `heads` in `tosses` of a fair coin. */
function byChance(heads: number, tosses: number): number {
  let [ways, sum] = [1, 0]
  for (let k = 0; k <= tosses; k++) {
    if (k >= heads) sum += ways
    ways = (ways * (tosses - k)) / (k + 1)
  }
  return sum / 2 ** tosses
}
