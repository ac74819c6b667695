import { Command } from 'commander'
import { withoutSecrets } from '../address.js'
import { headSha256Of } from '../arm.js'
import type { open as openEngine } from '../engine.js'
import { expected } from '../errors.js'
import type { MapOptions } from '../map.js'
import { resolveBestOf, resolveCandidates } from '../options.js'
import { nativeRules } from '../sampling-rules.js'
import { Downloads } from './downloads.js'
import { onInterrupt } from './exit.js'
import { add, number, seconds } from './flag.js'
import { openPrompts, promptFormats } from './prompts.js'
import { type OneRaceFlags, ownSettings, raceOf } from './race.js'
import { addRerankerFlag, addRewardFlags, RewardModels } from './reward.js'
import { write } from './sampling.js'
import {
  addModelFlags,
  addOutputFlags,
  addRaceFlags,
  openOptionsOf,
  policyHelp,
  samplingOf,
  scorerHelp
} from './settings.js'
import type { Terminal } from './terminal.js'
import { withThreads } from './threads.js'

/** Flags of `winnow sample`: those of `winnow run`, but for the comparison, and where prompts and rows are. */
export interface SampleFlags extends Omit<OneRaceFlags, 'compare'> {
  readonly prompts?: string
  readonly out?: string
  readonly format: string
  readonly concurrency?: number
  readonly all: boolean
}

/** `winnow sample`: the best answer to each of many prompts, into a file that a later call goes on with. */
export function sampleCommand(
  terminal: Terminal,
  open: typeof openEngine,
  finish: (code: number) => void,
  argv: readonly string[]
): Command {
  const command = new Command('sample')
  command.description(
    'write the best of many candidates to each prompt of a file; interrupted, the same command goes on'
  )
  add(command, '--prompts <file>', 'prompts, JSONL with prompt or messages and, if any, id; "-" for standard input')
  add(command, '--out <file>', 'append a row of JSON for each prompt, and go on from what the file has')
  add(command, '--format <name>', 'of the prompts: jsonl, or lines for one prompt a line', 'jsonl')
  add(command, '--all', 'keep every candidate in the rows (default: the winner)', false)
  const most = 'prompts at a time (default: as many as fill 256 candidates, and one more)'
  add(command, '--concurrency <count>', most, undefined, number)
  add(command, '--policy <name>', `whom to kill: ${policyHelp}`, 'spec-reject')
  add(command, '--scorer <name>', `what to rank by: ${scorerHelp} (default: the head, without one mean-logprob)`)
  const late = 'take the best so far of a prompt this long after its race began (default: none)'
  add(command, '--deadline <seconds>', late, undefined, seconds)
  add(command, '--deterministic', 'the same tokens for a candidate whoever else is alive', false)
  addRaceFlags(command)
  addModelFlags(command)
  addRewardFlags(command)
  addRerankerFlag(command)
  addOutputFlags(command)
  command.action(async (flags: SampleFlags) => {
    finish(await sample(terminal, open, flags, `winnow ${argv.map(withoutSecrets).join(' ')}`))
  })
  return command
}

async function sample(
  terminal: Terminal,
  open: typeof openEngine,
  flags: SampleFlags,
  invocation: string
): Promise<number> {
  // Refuse what can be refused before a large model is loaded.
  const n = resolveCandidates(flags.candidates)
  const [path, out] = [required(flags.prompts, '--prompts'), required(flags.out, '--out')]
  if (!promptFormats.includes(flags.format)) {
    throw expected('OPTION_INVALID', `one of ${promptFormats.join(', ')}`, '--format', flags.format)
  }
  const { concurrency, seed, deadline } = flags
  if (concurrency !== undefined && !(Number.isSafeInteger(concurrency) && concurrency >= 1)) {
    throw expected('OPTION_INVALID', 'a whole number, 1 or more', '--concurrency', concurrency)
  }
  const interruption = onInterrupt(terminal)
  const downloads = new Downloads(terminal, flags.quiet, interruption.signal)
  try {
    const opening = { ...withThreads(openOptionsOf(flags), terminal, flags.quiet), ...downloads.options }
    const rewards = new RewardModels(flags, opening)
    const race = {
      ...raceOf({ ...flags, compare: false }, rewards),
      sampling: samplingOf(flags),
      seed,
      deadlineMs: deadline === undefined ? undefined : deadline * 1000
    }
    await nativeRules(resolveBestOf(race).sampling)
    const prompts = await openPrompts(path, flags.format, terminal)
    const engine = await open(flags.model, opening)
    try {
      await rewards.load()
      // Of policies and scorers the race tells the names only.
      const identity = {
        alpha: flags.alpha,
        ...ownSettings({ ...flags, compare: false }),
        scorerSha256: headSha256Of(race.scorer ?? null),
        rewardModel: await rewards.provenance()
      }
      const keep: MapOptions['keep'] = flags.all ? 'all' : 'winner'
      const options = { ...race, n, concurrency, keep, journal: out, identity }
      return await write(terminal, { engine, prompts, options, opening, flags, interruption, invocation })
    } finally {
      await engine.close()
      await rewards.close()
    }
  } finally {
    downloads.end()
    interruption.release()
  }
}

function required(value: string | undefined, flag: string): string {
  if (value !== undefined && value !== '') return value
  throw expected('OPTION_INVALID', 'a path', flag, value)
}
