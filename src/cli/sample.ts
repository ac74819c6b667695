import { Command } from 'commander'
import { headSha256Of } from '../arm.js'
import type { open as openEngine } from '../engine.js'
import { expected } from '../errors.js'
import type { MapOptions } from '../map.js'
import { resolveBestOf, resolveCandidates } from '../options.js'
import { nativeRules } from '../sampling-rules.js'
import { add, number, requiredPath, seconds } from './flag.js'
import { readLora } from './lora.js'
import { openPrompts, promptFormats } from './prompts.js'
import { invocationOf } from './provenance.js'
import { addDeterministicFlag, addPolicyFlags, type OneRaceFlags, ownSettings, raceOptionsOf } from './race.js'
import { addRerankerFlag, addRewardFlags } from './reward.js'
import { write } from './sampling.js'
import { addModelFlags, addOutputFlags, addRaceFlags } from './settings.js'
import type { Terminal } from './terminal.js'
import { atWork, withEngine } from './workplace.js'

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
  addPolicyFlags(command)
  const late = 'take the best so far of a prompt this long after its race began (default: none)'
  add(command, '--deadline <seconds>', late, undefined, seconds)
  addDeterministicFlag(command)
  addRaceFlags(command)
  addModelFlags(command)
  addRewardFlags(command)
  addRerankerFlag(command)
  addOutputFlags(command)
  command.action(async (flags: SampleFlags) => {
    finish(await sample(terminal, open, flags, invocationOf(argv)))
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
  const [path, out] = [requiredPath(flags.prompts, '--prompts'), requiredPath(flags.out, '--out')]
  if (!promptFormats.includes(flags.format)) {
    throw expected('OPTION_INVALID', `one of ${promptFormats.join(', ')}`, '--format', flags.format)
  }
  const { concurrency } = flags
  if (concurrency !== undefined && !(Number.isSafeInteger(concurrency) && concurrency >= 1)) {
    throw expected('OPTION_INVALID', 'a whole number, 1 or more', '--concurrency', concurrency)
  }
  return atWork(terminal, flags, async (workplace) => {
    const { interruption, opening, rewards } = workplace
    const { lora, records } = await readLora(flags, opening)
    const race = { ...raceOptionsOf({ ...flags, compare: false }, rewards), lora }
    await nativeRules(resolveBestOf(race).sampling)
    const prompts = await openPrompts(path, flags.format, terminal)
    return withEngine(open, flags.model, workplace, async (engine) => {
      // Of policies and scorers the race tells the names only.
      const identity = {
        alpha: flags.alpha,
        ...ownSettings({ ...flags, compare: false }),
        scorerSha256: headSha256Of(race.scorer ?? null),
        rewardModel: await rewards.provenance()
      }
      const keep: MapOptions['keep'] = flags.all ? 'all' : 'winner'
      const options = { ...race, n, concurrency, keep, journal: out, identity }
      const about = { options, opening, lora: records, flags, invocation }
      return await write(terminal, { engine, prompts, interruption, ...about })
    })
  })
}
