import { kindOf, type Study, type StudyArm } from '../../src/report/study.js'
import type { Interval } from '../../src/statistics.js'

/** An interval as wide to both sides. */
export function about(mean: number, half = 0): Interval {
  return { mean, low: mean - half, high: mean + half }
}

/** An arm of 100 prompts; `against` has its gain and its share of tokens for other arms. */
export function fakeArm(
  policy: string,
  more: Partial<StudyArm> = {},
  against: Record<string, { gain?: Interval | null; tokens?: Interval; seconds?: Interval }> = {}
): StudyArm {
  const versus = Object.entries(against).map(([other, { gain = null, tokens = about(1), seconds = tokens }]) => {
    return [other, { accuracy: gain, generatedTokens: tokens, processedTokens: tokens, wallSeconds: seconds }] as const
  })
  return {
    policy,
    kind: kindOf(policy),
    n: 64,
    prompts: 100,
    accuracy: about(0.8, 0.05),
    meanScore: about(2, 0.1),
    generatedTokens: about(1000, 10),
    processedTokens: about(1100, 10),
    rewardTokens: about(0),
    wallSeconds: about(2, 0.1),
    peakCells: 5000,
    survival: about(0.9, 0.05),
    regret: about(0.01, 0.005),
    diverged: 0,
    truncated: 0,
    phases: { prefill: 0.1, decode: 0.8, other: 0.1 },
    versus: Object.fromEntries(versus),
    rounds: [],
    ...more
  }
}

export function fakeStudy(arms: readonly StudyArm[]): Study {
  return {
    files: ['results.json'],
    what: 'bench',
    reference: 'best-of-n',
    arms,
    curve: [],
    flows: [],
    calibrations: [],
    trajectories: null,
    facts: [['command', 'winnow bench']]
  }
}
