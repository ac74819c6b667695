import { parseCheckpoints } from '../names.js'
import { type Safety, type SafetyRule, safeShares } from '../policies/safety.js'
import type { PolicySettings } from '../policy-file.js'

/** A policy and a schedule that tuning tries. */
export interface TuningCandidate {
  /** As people read it. */
  readonly name: string
  /** What it is where these races are known; null where they allow nothing of the kind. */
  settings(safety: Safety): PolicySettings | null
}

const alphas = [0.05, 0.08, 0.13, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
const rights = [1, 2, 4, 8, 16, 32]
const deltas = [0.3, 0.2, 0.1, 0.05, 0.02, 0.01]

/** Rejection rates, chances and calibrated shares, each on schedules that lie on the grid; best-of-N first. */
export function tuningCandidates(grid: number): TuningCandidate[] {
  const schedules = [1, 2, 4].flatMap((times) => [`every:${times * grid}`, `doubling:${times * grid}`])
  const fixed = (settings: PolicySettings, name: string) => ({ name, settings: () => settings })
  return [
    fixed({ policy: 'best-of-n', checkpoints: schedules[0] as string }, 'best-of-n'),
    ...schedules.flatMap((checkpoints) => [
      ...alphas.map((alpha) =>
        fixed({ policy: 'spec-reject', alpha, checkpoints }, `spec-reject:alpha=${alpha}:checkpoints=${checkpoints}`)
      ),
      ...rights.map((right) =>
        fixed({ policy: 'keep-enough', right, checkpoints }, `keep-enough:right=${right}:checkpoints=${checkpoints}`)
      ),
      ...(['ranks', 'normal'] as const).flatMap((rule) => deltas.map((delta) => safe(delta, rule, checkpoints)))
    ])
  ]
}

function safe(delta: number, rule: SafetyRule, checkpoints: string): TuningCandidate {
  return {
    name: `safe-reject:delta=${delta}:rule=${rule}:checkpoints=${checkpoints}`,
    settings(safety) {
      const shares = safeShares(safety, delta, parseCheckpoints(checkpoints), rule)
      if (!shares.some(({ share }) => share > 0)) return null
      return { policy: 'safe-reject', checkpoints, shares }
    }
  }
}
