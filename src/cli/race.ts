import type { Command } from 'commander'
import { example } from '../embedded.js'
import { policyNames, scorerNamed, scorerNames } from '../names.js'
import { policyFor } from '../policy-file.js'
import { add } from './flag.js'
import type { RewardFlags, RewardModels } from './reward.js'
import { type ModelFlags, type OutputFlags, type RaceFlags, samplingOf } from './settings.js'
import type { Terminal } from './terminal.js'

/** Flags of one race: what `winnow run` takes, and `winnow plan` of the same. */
export interface OneRaceFlags extends ModelFlags, RewardFlags, RaceFlags, OutputFlags {
  readonly policy: string
  readonly scorer?: string
  readonly deadline?: number
  readonly budget?: number
  readonly deterministic: boolean
  readonly compare: boolean
}

/** Whom to kill, and by what. */
export function addPolicyFlags(command: Command): void {
  add(command, '--policy <name>', `whom to kill: ${policyNames.join(', ')}, policy@FILE`, 'spec-reject')
  const scorers = scorerNames.join(', ')
  add(command, '--scorer <name>', `what to rank by: ${scorers} (default: the head, without one mean-logprob)`)
}

export function addDeterministicFlag(command: Command): void {
  add(command, '--deterministic', 'the same tokens for a candidate whoever else is alive', false)
}

export function addPromptArgument(command: Command): void {
  command.argument('[prompt]', 'text, or "-" to read it from standard input (default: an example problem)')
}

export function promptOf(terminal: Terminal, argument: string | undefined): string {
  return argument === '-' ? terminal.readStdin().trim() : (argument ?? example.prompt)
}

/** What both are asked for. Throws OPTION_UNKNOWN, OPTION_INVALID, HEAD_NOT_FOUND. */
export function raceOf(flags: OneRaceFlags, rewards: RewardModels) {
  const { alpha, margin, right, hopeless, checkpoints, policy, scorer, maxTokens, raw, deterministic, compare } = flags
  const { budget } = flags
  return {
    policy: policyFor(policy, { alpha, margin, right, hopeless, checkpoints }),
    scorer: scorer === undefined ? (rewards.default ?? undefined) : scorerNamed(scorer, (name) => rewards.named(name)),
    maxTokens,
    raw,
    budget,
    // Only then are the two sides of a comparison about the same candidates.
    deterministic: deterministic || compare
  }
}

/** What a race is run with. Throws what `raceOf` does. */
export function raceOptionsOf(flags: OneRaceFlags, rewards: RewardModels) {
  const { seed, deadline } = flags
  const deadlineMs = deadline === undefined ? undefined : deadline * 1000
  return { ...raceOf(flags, rewards), sampling: samplingOf(flags), seed, deadlineMs }
}

/** Settings of one policy alone, as they stand in results: null for the others. */
export function ownSettings({ policy, margin, right, hopeless }: OneRaceFlags) {
  const enough = policy === 'keep-enough'
  return {
    margin: policy === 'spec-reject' ? margin : null,
    right: enough ? right : null,
    hopeless: enough ? hopeless : null
  }
}
