import type { ReplayedRound } from './replay.js'

/** What is left at one place, over many prompts. */
export interface RoundSurvival {
  /** Generated tokens of a live candidate. */
  readonly tokens: number
  /** Prompts with somebody live there. */
  readonly prompts: number
  /** Mean number of live candidates before the decision. */
  readonly live: number
  /** Mean number killed by it. */
  readonly killed: number
  /** Share of all prompts on which best-of-N's pick is still in the race afterwards: live or finished. */
  readonly bestAlive: number
}

/**
 * Survival by round, over the races of one policy: at each token count at which it looked while somebody lived. A race that
 * was over before counts with how it ended.
 */
export function roundSurvival(races: readonly (readonly ReplayedRound[])[]): RoundSurvival[] {
  const places = new Set(races.flatMap((rounds) => rounds.filter(({ live }) => live > 0).map(({ tokens }) => tokens)))
  return [...places]
    .sort((a, b) => a - b)
    .map((tokens) => {
      const at = races.flatMap((rounds) => rounds.filter((round) => round.tokens === tokens && round.live > 0))
      const alive = races.filter((rounds) => rounds.findLast((round) => round.tokens <= tokens)?.bestAlive ?? true)
      return {
        tokens,
        prompts: at.length,
        live: at.reduce((sum, { live }) => sum + live, 0) / at.length,
        killed: at.reduce((sum, { killed }) => sum + killed, 0) / at.length,
        bestAlive: alive.length / races.length
      }
    })
}
