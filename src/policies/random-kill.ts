import type { Policy } from '../policy.js'
import { type SpecRejectOptions, schedule, survivors } from './spec-reject.js'

/**
 * A control: kills as many as `specReject` would, chosen by lot. What speculative rejection gains over this is what
 * its scores are worth. The lots follow from the view's seed, the checkpoint and the branch alone.
 */
export function randomKill(options: Omit<SpecRejectOptions, 'paper'> = {}): Policy {
  const { alpha, checkpoints } = schedule(options)
  return {
    name: 'random-kill',
    checkpoints,
    decide(view) {
      const live = view.branches.filter((branch) => branch.state === 'live').map((branch) => branch.id)
      const lots = new Map(live.map((id) => [id, lot(view.seed, view.index, id)]))
      const shuffled = live.sort((a, b) => (lots.get(a) as number) - (lots.get(b) as number) || a - b)
      return { kill: shuffled.slice(survivors(live.length, alpha)).sort((a, b) => a - b), why: 'by lot' }
    }
  }
}

/** 32 well mixed bits of three integers: the finaliser of MurmurHash3 applied after each. */
function lot(seed: number, index: number, id: number): number {
  let hash = 0x9e3779b9
  for (const word of [seed, index, id]) {
    hash = Math.imul(hash ^ word, 0x85ebca6b)
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
    hash ^= hash >>> 16
  }
  return hash >>> 0
}
