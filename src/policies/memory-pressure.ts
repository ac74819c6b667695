import { never } from '../checkpoint.js'
import { type Decision, type Policy, ranking, type View } from '../policy.js'

/**
 * No rounds: when memory is full the lowest-scored branches go, no more of them than it takes for the others to have longer
 * streams. Whoever writes much is not held against it; whoever scores least pays for all.
 */
export function memoryPressure(): Policy {
  return {
    name: 'memory-pressure',
    checkpoints: never,
    onFull: true,
    keeps: (live) => Math.max(1, live - 1),
    decide: (view) => (view.room === undefined ? { kill: [] } : keepRoom(view, view.room))
  }
}

/** The best live branches that there is room for. */
export function keepRoom(view: View, room: number): Decision {
  const live = view.branches.filter(({ state }) => state === 'live')
  return {
    kill: ranking(live)
      .slice(room)
      .map(({ id }) => id),
    why: 'memory'
  }
}
