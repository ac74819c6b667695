import type { BranchStatus } from '../branch.js'

/**
 * Why an answer ended, as OpenAI says it; where it has no word for it, in ours: `deadline` and `budget` for the caller's
 * own limits, `stopped` for a service that goes down, `refused` for a grammar that allowed no token.
 */
export type FinishedBy = 'stop' | 'length' | 'deadline' | 'budget' | 'stopped' | 'refused' | 'error'

export function finishedBy(status: BranchStatus, overBudget: boolean): FinishedBy {
  if (status.state !== 'finished') return 'error'
  switch (status.reason) {
    case 'end':
    case 'stop':
      return 'stop'
    case 'length':
    case 'context':
    case 'full':
      return 'length'
    case 'stopped':
      return overBudget ? 'budget' : 'stopped'
    case 'failed':
      return 'error'
    default:
      return status.reason
  }
}
