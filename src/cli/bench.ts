import { Command } from 'commander'
import { parseArms } from '../arm.js'
import { splitArms } from '../arm-text.js'
import { embedded } from '../embedded.js'
import type { open as openEngine } from '../engine.js'
import { expected } from '../errors.js'
import { policyNames } from '../names.js'
import { resolveBestOf, resolveCandidates } from '../options.js'
import { readProblems } from '../problems.js'
import { nativeRules } from '../sampling-rules.js'
import type { Conditions } from '../trial.js'
import { benchStyles } from './bench-report.js'
import { add, number } from './flag.js'
import { readLora } from './lora.js'
import { measure } from './measurement.js'
import { invocationOf } from './provenance.js'
import { addRerankerFlag, addRewardFlags, type RewardFlags } from './reward.js'
import {
  addModelFlags,
  addOutputFlags,
  addRaceFlags,
  computeOf,
  type ModelFlags,
  type OutputFlags,
  type RaceFlags,
  samplingOf
} from './settings.js'
import type { Terminal } from './terminal.js'
import { atWork, withEngine } from './workplace.js'

export interface BenchFlags extends ModelFlags, RewardFlags, RaceFlags, OutputFlags {
  readonly prompts: string
  readonly limit: number
  readonly policies: string
  readonly deterministic: boolean
  readonly output: string
  readonly out?: string
}

/** `winnow bench`: quality against cost, every policy on the same candidates. */
export function benchCommand(
  terminal: Terminal,
  open: typeof openEngine,
  finish: (code: number) => void,
  argv: readonly string[]
): Command {
  const command = new Command('bench')
  command.description('measure what policies keep of best-of-N and what they cost, on the same candidates')
  add(
    command,
    '--prompts <file>',
    'problems, JSONL with prompt and answer (default: the embedded held-out ones)',
    embedded.problems
  )
  add(command, '--limit <count>', 'problems to take, 0 for all', 0, number)
  const policies = `comma-separated; each of ${policyNames.join(', ')}, policy@FILE, with settings such as spec-reject:alpha=0.7:checkpoints=32+64:scorer=min-logprob, best-of-n:n=1, best-of-n:equal-tokens=spec-reject, random-kill:like=spec-reject, spec-reject:scorer=head@FILE:against=NAME; head@"FILE" where that has a colon or a comma`
  add(command, '--policies <list>', policies, 'best-of-n,spec-reject')
  add(command, '--no-deterministic', 'let logits differ with who else is alive; the divergence is reported')
  add(command, '--output <style>', 'the table as text, md, csv or jsonl', 'text')
  add(command, '--out <file>', 'append every row as it is known, and go on from what the file has')
  addRaceFlags(command)
  addModelFlags(command)
  addRewardFlags(command)
  addRerankerFlag(command)
  addOutputFlags(command)
  command.action(async (flags: BenchFlags) => {
    finish(await bench(terminal, open, flags, invocationOf(argv)))
  })
  return command
}

async function bench(
  terminal: Terminal,
  open: typeof openEngine,
  flags: BenchFlags,
  invocation: string
): Promise<number> {
  const { alpha, margin, right, hopeless, checkpoints } = flags
  const common = await conditionsOf(flags)
  if (!benchStyles.includes(flags.output))
    throw expected('OPTION_INVALID', `one of ${benchStyles.join(', ')}`, '--output', flags.output)
  if (!Number.isSafeInteger(flags.limit) || flags.limit < 0) {
    throw expected('OPTION_INVALID', 'a whole number, 0 or more', '--limit', flags.limit)
  }
  return atWork(terminal, flags, async (workplace) => {
    const { interruption, opening, rewards } = workplace
    const scorers = { scorer: rewards.default, scorers: (name: string) => rewards.named(name) }
    const arms = parseArms(splitArms(flags.policies), { alpha, margin, right, hopeless, checkpoints, ...scorers })
    const problems = await readProblems(flags.prompts, flags.limit === 0 ? undefined : flags.limit)
    const { lora, records } = await readLora(flags, opening)
    const conditions = { ...common, lora }
    return withEngine(open, flags.model, workplace, async (engine) => {
      // Deterministic races have streams, whatever was asked.
      const compute = { ...computeOf(opening), ...(flags.deterministic && { layout: 'streams' as const }) }
      const reward = await rewards.provenance()
      const asked = { problems, arms, conditions, compute, reward, lora: records, flags, invocation }
      return await measure(terminal, { engine, interruption, ...asked })
    })
  })
}

async function conditionsOf(flags: BenchFlags): Promise<Conditions> {
  const { seed, maxTokens, deterministic, raw } = flags
  const sampling = samplingOf(flags)
  await nativeRules(resolveBestOf({ seed, maxTokens, deterministic, raw, sampling }).sampling)
  return { n: resolveCandidates(flags.candidates), seed, sampling, maxTokens, deterministic, raw }
}
