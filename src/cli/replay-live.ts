import { sourceOf } from '../arm.js'
import type { open as openEngine } from '../engine.js'
import { WinnowError } from '../errors.js'
import { contentKey } from '../journal.js'
import { engineConditions } from '../map.js'
import { scorerNamed } from '../names.js'
import type { BestOfOptions } from '../options.js'
import { wallOf } from '../traces/cost.js'
import { type Divergence, diverged, noDivergence } from '../traces/divergence.js'
import { placeOf, type Replaying, replayArm } from '../traces/replayed-row.js'
import type { Traces } from '../traces/trace-file.js'
import { Downloads } from './downloads.js'
import type { Interruption } from './exit.js'
import { type RewardFlags, RewardModels } from './reward.js'
import { type ModelFlags, type OutputFlags, openOptionsOf } from './settings.js'
import type { Terminal } from './terminal.js'
import { withThreads } from './threads.js'

export interface LiveFlags extends ModelFlags, RewardFlags, OutputFlags {
  readonly seed: number
}

interface Live {
  readonly traces: Traces
  readonly replaying: Replaying
  readonly flags: LiveFlags
  /** Prompts. */
  readonly count: number
  readonly interruption: Interruption
}

/**
 * Races the first prompts with the model, under every arm that depends on no other, and says what differs from their
 * replays. Throws RESULTS_MISMATCH where the model is not the one recorded.
 */
export async function checkLive(
  terminal: Terminal,
  open: typeof openEngine,
  { traces, replaying, flags, count, interruption }: Live
): Promise<Divergence> {
  const { header } = traces
  const { signal } = interruption
  const downloads = new Downloads(terminal, flags.quiet, signal)
  const opening = { ...withThreads(openOptionsOf(flags), terminal, flags.quiet), ...downloads.options }
  const rewards = new RewardModels(flags, opening)
  const arms = replaying.arms.filter((arm) => sourceOf(arm) === null)
  const scorers = header.scorers.map(({ name }) => scorerNamed(name, (other) => rewards.named(other)))
  const engine = await open(flags.model, opening)
  try {
    await rewards.load()
    const now = await engineConditions(engine, opening.kvType)
    const other = Object.keys(now).find((key) => contentKey(now[key]) !== contentKey(header.conditions[key]))
    if (other !== undefined) {
      throw new WinnowError('RESULTS_MISMATCH', `Expected the ${other} of the recording but received another`)
    }
    const options = { ...optionsOf(header.conditions), maxTokens: header.maxTokens, signal }
    let so = noDivergence
    let left = count
    for await (const trace of traces.all()) {
      if (left-- === 0) break
      for (const arm of arms) {
        const replayed = replayArm(replaying, trace, arm, null)
        const scorer = scorers[placeOf(header, arm)]
        const { policy } = arm
        const race = { ...options, policy, scorer, deterministic: header.deterministic }
        const live = await engine.bestOf(arm.n ?? replaying.n, trace.input, race)
        if (live.failure !== null) throw live.failure
        so = diverged(so, replayed, live, wallOf(replaying.cost.seconds(replayed, placeOf(header, arm))))
      }
    }
    return so
  } finally {
    await engine.close()
    await rewards.close()
    downloads.end()
  }
}

/** How the candidates were sampled. */
function optionsOf({ seed, sampling, stopTokens, raw }: Traces['header']['conditions']): BestOfOptions {
  return { seed: BigInt(seed as string), sampling, stopTokens, raw } as BestOfOptions
}
