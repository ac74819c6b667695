import { basename } from 'node:path'
import { Command } from 'commander'
import { withoutSecrets } from '../address.js'
import { loadBinding } from '../binding.js'
import { bytesText, parseBytes } from '../bytes.js'
import { localModel } from '../download.js'
import { embedded } from '../embedded.js'
import { WinnowError } from '../errors.js'
import { sha256 } from '../model.js'
import { resolveBestOf, resolveOpen } from '../options.js'
import type { Plan } from '../plan.js'
import { planRace, type Site } from '../planning.js'
import { nativeRules } from '../sampling-rules.js'
import { exit } from './exit.js'
import { add, seconds } from './flag.js'
import { loraIn, readLora } from './lora.js'
import { machineOf } from './provenance.js'
import {
  addDeterministicFlag,
  addPolicyFlags,
  addPromptArgument,
  type OneRaceFlags,
  ownSettings,
  promptOf,
  raceOf
} from './race.js'
import { addRerankerFlag, addRewardFlags, type RewardModels } from './reward.js'
import { addModelFlags, addOutputFlags, addRaceFlags, computeOf, samplingOf } from './settings.js'
import { drawTable } from './table.js'
import type { Terminal } from './terminal.js'
import { atWork } from './workplace.js'

interface PlanFlags extends OneRaceFlags {
  readonly budget?: number
}

/** `winnow plan`: what `winnow run` with the same flags would take, and whether it can be run at all. */
export function planCommand(terminal: Terminal, finish: (code: number) => void): Command {
  const command = new Command('plan')
  command.description(
    'say what winnow run with the same flags would take: candidates at once, cells, bytes, tokens; loads no weights (exit code 4: cannot be run)'
  )
  addPromptArgument(command)
  addPolicyFlags(command)
  add(command, '--deadline <seconds>', 'as of winnow run; a plan is about the whole race', undefined, seconds)
  addDeterministicFlag(command)
  add(command, '--compare', 'as of winnow run, which is deterministic then; the two races take the same memory', false)
  const budget = 'memory beside the weights, such as 8GiB, 500MB or bytes (default: what is free)'
  add(command, '--budget <bytes>', budget, undefined, parseBytes)
  addRaceFlags(command)
  addModelFlags(command)
  addRewardFlags(command)
  addRerankerFlag(command)
  addOutputFlags(command)
  command.action(async (prompt: string | undefined, flags: PlanFlags) => {
    finish(await showPlan(terminal, prompt, flags))
  })
  return command
}

async function showPlan(terminal: Terminal, argument: string | undefined, flags: PlanFlags): Promise<number> {
  const prompt = promptOf(terminal, argument)
  if (flags.reranker !== undefined) {
    const message = `Expected no reranker for a plan, which cannot size one, but received ${withoutSecrets(flags.reranker)} for --reranker`
    throw new WinnowError('OPTION_INVALID', message)
  }
  await nativeRules(resolveBestOf({ sampling: samplingOf(flags) }).sampling)
  return atWork(terminal, flags, async ({ interruption, opening, rewards }) => {
    try {
      const { head } = opening
      const { lora, records } = await readLora(flags, opening)
      const options = { ...raceOf(flags, rewards), lora, reward: rewards.options ?? undefined }
      const { binding } = loadBinding({ gpu: opening.gpu })
      const site: Site = {
        binding,
        path: flags.model === undefined ? embedded.model : await localModel(flags.model, opening),
        options: resolveOpen(opening),
        loaded: false,
        head: head === undefined ? flags.model === undefined : head !== null,
        held: null,
        pace: null,
        shared: false
      }
      const plan = await planRace(site, flags.candidates, prompt, options, interruption.signal)
      const about = { ...computeOf(opening), ...loraIn(records) }
      const text = flags.json ? await jsonOf(plan, site, flags, rewards, about, prompt) : textOf(plan)
      terminal.stdout.write(`${text}\n`)
      return plan.admitted ? exit.done : exit.environment
    } catch (error) {
      if (interruption.code !== null) return interruption.code
      throw error
    }
  })
}

/** For people. */
function textOf(plan: Plan): string {
  const { n, promptTokens, maxTokens, admitted, rungs, devices, seconds } = plan
  const size = `${count(n)} candidates, ${count(promptTokens)} tokens of prompt, up to ${count(maxTokens)} each`
  const parts = [`${size}: ${admitted ? 'planned' : 'cannot be run'}`, `${plan.why}.`]
  if (rungs.length === 0) return `${parts.join('\n')}\nBudget ${bytesText(plan.budgetBytes)} beside the weights.`
  const rows = rungs.map(({ width, cells, bytes }, i) => [`${i + 1}`, count(width), count(cells), bytesText(bytes)])
  const places = devices.map(({ device, cells, compute, outputs, room }) => [
    device,
    ...[cells, compute, outputs, room].map(bytesText)
  ])
  return [
    ...parts,
    '',
    drawTable(['rung', 'width', 'cells', 'memory'], rows, 'text'),
    '',
    drawTable(['device', 'cells', 'compute', 'outputs', 'room'], places, 'text'),
    '',
    `layout    ${plan.layout}: ${plan.layoutWhy}`,
    `waves     ${plan.waves}`,
    `tokens    ${count(plan.expectedTokens)} if no candidate ends by itself`,
    `peak      ${bytesText(plan.peakBytes)} of ${bytesText(plan.budgetBytes)} beside the weights; ${bytesText(plan.bytesPerCell)} a cell`,
    `seconds   ${seconds === null ? 'unknown: an engine knows them after its first race' : seconds.toFixed(1)}`
  ].join('\n')
}

/** For programs: the same, with what it takes to make it again. */
async function jsonOf(
  plan: Plan,
  { binding, path }: Site,
  flags: PlanFlags,
  rewards: RewardModels,
  about: ReturnType<typeof computeOf> & ReturnType<typeof loraIn>,
  prompt: string
): Promise<string> {
  const runtime = { addon: binding.addonVersion, llama: binding.llamaVersion(), devices: binding.devices() }
  const { lora, ...compute } = about
  const { policy, scorer, alpha, checkpoints, raw, deterministic, compare, budget } = flags
  const options = {
    policy,
    scorer: scorer ?? rewards.default?.name ?? null,
    alpha,
    ...ownSettings(flags),
    checkpoints: checkpoints.name,
    raw,
    deterministic: deterministic || compare,
    budget: budget ?? null,
    ...compute
  }
  return JSON.stringify({
    ...machineOf(runtime),
    model: { file: basename(path), sha256: await sha256(path) },
    rewardModel: await rewards.provenance(),
    ...(lora !== undefined && { lora }),
    options,
    prompt,
    plan
  })
}

function count(value: number): string {
  return value.toLocaleString('en')
}
