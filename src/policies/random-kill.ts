import { at } from '../checkpoint.js'
import { expected } from '../errors.js'
import type { Policy, View } from '../policy.js'
import { type SpecRejectOptions, schedule, survivors } from './spec-reject.js'

/** How many branches a race killed when its live ones had `tokens` tokens. */
export interface KillCount {
  readonly tokens: number
  readonly killed: number
}

export interface RandomKillOptions extends Pick<SpecRejectOptions, 'alpha' | 'checkpoints'> {
  /**
   * The kills of another race, instead of alpha and checkpoints: as many die here at the same tokens, the last live branch
   * excepted. The control of a policy whose numbers depend on the scores.
   */
  readonly like?: readonly KillCount[] | undefined
}

/**
 * A control: kills as many as `specReject` without a margin would, or as many as another race did, chosen by lot. What
 * speculative rejection gains over this is what its scores are worth. The lots follow from the view's seed, the checkpoint
 * and the branch alone. Throws OPTION_INVALID.
 */
export function randomKill(options: RandomKillOptions = {}): Policy {
  const { like } = options
  if (like !== undefined) return killsLike(like)
  const { alpha, checkpoints } = schedule(options)
  return {
    name: 'random-kill',
    checkpoints,
    keeps: (live) => survivors(live, alpha),
    decide: (view) => killByLot(view, (live) => survivors(live, alpha))
  }
}

function killsLike(like: readonly KillCount[]): Policy {
  const killed = new Map<number, number>()
  for (const count of like) {
    if (!Number.isSafeInteger(count.killed) || count.killed < 0) {
      throw expected('OPTION_INVALID', 'a whole number from 0', `the kills at ${count.tokens} tokens`, count.killed)
    }
    killed.set(count.tokens, (killed.get(count.tokens) ?? 0) + count.killed)
  }
  return {
    name: 'random-kill',
    checkpoints: at([...killed.keys()]),
    decide: (view) => killByLot(view, (live) => Math.max(Math.min(live, 1), live - (killed.get(view.tokens) ?? 0)))
  }
}

function killByLot(view: View, survivorsOf: (live: number) => number) {
  const live = view.branches.filter((branch) => branch.state === 'live').map((branch) => branch.id)
  const lots = new Map(live.map((id) => [id, lot(view.seed, view.index, id)]))
  const shuffled = live.sort((a, b) => (lots.get(a) as number) - (lots.get(b) as number) || a - b)
  return { kill: shuffled.slice(survivorsOf(live.length)).sort((a, b) => a - b), why: 'by lot' }
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
