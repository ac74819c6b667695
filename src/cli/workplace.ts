import type { Engine, open as openEngine } from '../engine.js'
import { Downloads } from './downloads.js'
import { type Interruption, onInterrupt } from './exit.js'
import { type RewardFlags, RewardModels } from './reward.js'
import { type ModelFlags, openOptionsOf } from './settings.js'
import type { Terminal } from './terminal.js'
import { withThreads } from './threads.js'

/** What a command that opens models works with, until it ends. */
export interface Workplace {
  readonly interruption: Interruption
  /** To open models with, those given by address included. */
  readonly opening: ReturnType<typeof openOptionsOf> & Downloads['options']
  /** Not loaded yet. */
  readonly rewards: RewardModels
}

/** Throws OPTION_INVALID and TEMPLATE_FAILED for what can be refused before a large model is loaded. */
export async function atWork(
  terminal: Terminal,
  flags: ModelFlags & RewardFlags & { readonly quiet: boolean },
  work: (workplace: Workplace) => Promise<number>
): Promise<number> {
  const interruption = onInterrupt(terminal)
  const downloads = new Downloads(terminal, flags.quiet, interruption.signal)
  try {
    const opening = { ...withThreads(openOptionsOf(flags), terminal, flags.quiet), ...downloads.options }
    return await work({ interruption, opening, rewards: new RewardModels(flags, opening) })
  } finally {
    downloads.end()
    interruption.release()
  }
}

/** Loads the model at `path`, the embedded one where there is none, and the reward models, and closes them at the end. */
export async function withEngine(
  open: typeof openEngine,
  path: string | undefined,
  { opening, rewards }: Omit<Workplace, 'interruption'>,
  use: (engine: Engine) => Promise<number>
): Promise<number> {
  const engine = await open(path, opening)
  try {
    await rewards.load()
    return await use(engine)
  } finally {
    await engine.close()
    await rewards.close()
  }
}
