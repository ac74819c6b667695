import { Command } from 'commander'
import { parseBytes } from '../bytes.js'
import { example } from '../embedded.js'
import type { Engine, open as openEngine } from '../engine.js'
import { policyFile } from '../names.js'
import { type BestOfOptions, resolveBestOf, resolveCandidates } from '../options.js'
import { bestOfN } from '../policies/best-of-n.js'
import type { Result } from '../result.js'
import { nativeRules } from '../sampling-rules.js'
import { exit } from './exit.js'
import { add, seconds } from './flag.js'
import { LiveView } from './live-view.js'
import { readLora } from './lora.js'
import {
  addDeterministicFlag,
  addPolicyFlags,
  addPromptArgument,
  type OneRaceFlags,
  ownSettings,
  promptOf,
  raceOptionsOf
} from './race.js'
import { addRerankerFlag, addRewardFlags } from './reward.js'
import { jsonOf, textOf } from './run-report.js'
import { addModelFlags, addOutputFlags, addRaceFlags, computeOf } from './settings.js'
import { isWatched, type Terminal } from './terminal.js'
import { atWork, withEngine } from './workplace.js'

/** `winnow run`: a person watches candidates live and die, then sees the winner and what it cost. */
export function runCommand(terminal: Terminal, open: typeof openEngine, finish: (code: number) => void): Command {
  const command = new Command('run')
  command.description('write many candidates to a prompt, stop the weak ones early, show the winner and the cost')
  addPromptArgument(command)
  addPolicyFlags(command)
  add(command, '--deadline <seconds>', 'take the best so far after this time (default: none)', undefined, seconds)
  const budget = 'memory beside the weights that it may take, such as 8GiB (default: what is free)'
  add(command, '--budget <bytes>', budget, undefined, parseBytes)
  addDeterministicFlag(command)
  add(command, '--compare', 'run best-of-N on the same candidates too and print both costs', false)
  addRaceFlags(command)
  addModelFlags(command)
  addRewardFlags(command)
  addRerankerFlag(command)
  addOutputFlags(command)
  command.action(async (prompt: string | undefined, flags: OneRaceFlags) => {
    finish(await run(terminal, open, prompt, flags))
  })
  return command
}

async function run(
  terminal: Terminal,
  open: typeof openEngine,
  argument: string | undefined,
  flags: OneRaceFlags
): Promise<number> {
  const prompt = promptOf(terminal, argument)
  const answer = argument === undefined && flags.model === undefined ? example.answer : null
  // Refuse what can be refused before a large model is loaded.
  const n = resolveCandidates(flags.candidates)
  return atWork(terminal, flags, async (workplace) => {
    const { interruption, opening, rewards } = workplace
    const { lora } = await readLora(flags, opening)
    const options = { ...raceOptionsOf(flags, rewards), lora }
    await nativeRules(resolveBestOf(options).sampling)
    return withEngine(open, flags.model, workplace, async (engine) => {
      if (!flags.quiet && argument === undefined) terminal.stderr.write(`${prompt}\n\n`)
      // The first race of an engine pages the weights in; a comparison must not charge that to one side.
      if (flags.compare) await engine.bestOf(n, prompt, { ...options, stop: interruption.signal, deadlineMs: 500 })
      const scorer = flags.scorer ?? rewards.default?.name ?? (engine.head === null ? 'mean-logprob' : 'head')
      const race = (policy: string, own: BestOfOptions) => {
        const bestOf = (watching: BestOfOptions) =>
          engine.bestOf(n, prompt, { ...options, ...own, ...watching, stop: interruption.signal })
        return flags.quiet ? bestOf({}) : watched(terminal, engine, titleOf(flags, policy, scorer), bestOf)
      }
      const result = await race(flags.policy, {})
      const compared = flags.compare && !interruption.signal.aborted
      // Best-of-N with everything else alike.
      const full = compared ? await race('best-of-n', { policy: bestOfN(), budget: undefined }) : null
      const outcome = { prompt, answer, result, full }
      const asked = { ...options, ...computeOf(opening), alpha: flags.alpha, ...ownSettings(flags) }
      const text = flags.json
        ? await jsonOf(engine, outcome, asked, await rewards.provenance())
        : textOf(outcome, flags.scorer !== undefined)
      terminal.stdout.write(`${text}\n`)
      if (result.failure !== null) throw result.failure
      return interruption.code ?? exit.done
    })
  })
}

/** What is raced, over the view of it. */
function titleOf(flags: OneRaceFlags, policy: string, scorer: string): string {
  const near = policy === 'spec-reject' && flags.margin !== 0 ? `, margin ${flags.margin}` : ''
  const chances = `right ${flags.right}, hopeless ${flags.hopeless}`
  const how = policy === 'keep-enough' ? chances : `alpha ${flags.alpha}${near}`
  const own = policy === 'best-of-n' || flags.policy.startsWith(policyFile)
  const schedule = own ? '' : ` (${how}, ${flags.checkpoints.name})`
  return `${flags.candidates} candidates, ${policy}${schedule}, ranked by ${scorer}`
}

/** A race with its view on stderr. */
async function watched(
  terminal: Terminal,
  engine: Engine,
  title: string,
  race: (watching: BestOfOptions) => Promise<Result>
): Promise<Result> {
  const view = new LiveView(terminal, title, (tokens) => engine.text(tokens))
  const onCheckpoint: BestOfOptions['onCheckpoint'] = (progress) => view.onCheckpoint(progress)
  const onProgress: BestOfOptions['onProgress'] = (progress) => view.onProgress(progress)
  try {
    return await race(isWatched(terminal) ? { onCheckpoint, onProgress } : { onCheckpoint })
  } finally {
    view.end()
  }
}
