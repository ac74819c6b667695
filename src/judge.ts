import type { Contender } from './contender.js'

/** What a judge may use besides the contenders. */
export interface Judging {
  /** The prompt as the model reads it, template included. */
  readonly prompt: string
  /** Aborted when the race is; a judge that takes long should listen. */
  readonly signal: AbortSignal
}

/** Accepts or rejects finished answers before the final choice: a gate, not a score. */
export interface Judge {
  readonly name: string
  /** One verdict for each contender, in order: true accepts. */
  judge(contenders: readonly Contender[], judging: Judging): Promise<readonly boolean[]> | readonly boolean[]
}

/** A judge out of a function of one contender. */
export function judgeOf(accepts: (contender: Contender) => boolean, name: string = accepts.name || 'custom'): Judge {
  return { name, judge: (contenders) => contenders.map((contender) => accepts(contender)) }
}
