import { never } from '../checkpoint.js'
import type { Policy } from '../policy.js'

/** Kills nobody: every candidate is written to its end and the highest score wins. */
export function bestOfN(): Policy {
  return { name: 'best-of-n', checkpoints: never, decide: () => ({ kill: [] }) }
}
