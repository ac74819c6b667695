import { Command } from 'commander'
import { policyNamed, scorerNamed } from '../arm.js'
import { example } from '../embedded.js'
import type { Engine, open as openEngine } from '../engine.js'
import { type BestOfOptions, resolveBestOf, resolveCandidates, resolveOpen } from '../options.js'
import { bestOfN } from '../policies/best-of-n.js'
import type { Result } from '../result.js'
import { exit, onInterrupt } from './exit.js'
import { LiveView } from './live-view.js'
import { jsonOf, textOf } from './run-report.js'
import {
  add,
  addModelFlags,
  addOutputFlags,
  addRaceFlags,
  type ModelFlags,
  number,
  type OutputFlags,
  openOptionsOf,
  policyHelp,
  type RaceFlags,
  samplingOf,
  scorerHelp
} from './settings.js'
import type { Terminal } from './terminal.js'

interface RunFlags extends ModelFlags, RaceFlags, OutputFlags {
  readonly policy: string
  readonly scorer?: string
  readonly deadline?: number
  readonly deterministic: boolean
  readonly compare: boolean
}

/** `winnow run`: a person watches candidates live and die, then sees the winner and what it cost. */
export function runCommand(terminal: Terminal, open: typeof openEngine, finish: (code: number) => void): Command {
  const command = new Command('run')
  command.description('write many candidates to a prompt, stop the weak ones early, show the winner and the cost')
  command.argument('[prompt]', 'text, or "-" to read it from standard input (default: an example problem)')
  add(command, '--policy <name>', `whom to kill: ${policyHelp}`, 'spec-reject')
  add(command, '--scorer <name>', `what to rank by: ${scorerHelp} (default: the head, without one mean-logprob)`)
  add(command, '--deadline <seconds>', 'take the best so far after this time (default: none)', undefined, number)
  add(command, '--deterministic', 'the same tokens for a candidate whoever else is alive', false)
  add(command, '--compare', 'run best-of-N on the same candidates too and print both costs', false)
  addRaceFlags(command)
  addModelFlags(command)
  addOutputFlags(command)
  command.action(async (prompt: string | undefined, flags: RunFlags) => {
    finish(await run(terminal, open, prompt, flags))
  })
  return command
}

async function run(
  terminal: Terminal,
  open: typeof openEngine,
  argument: string | undefined,
  flags: RunFlags
): Promise<number> {
  const prompt = argument === '-' ? terminal.readStdin().trim() : (argument ?? example.prompt)
  const answer = argument === undefined && flags.model === undefined ? example.answer : null
  const options = bestOfOptions(flags)
  // Refuse what can be refused before a large model is loaded.
  const n = resolveCandidates(flags.candidates)
  resolveBestOf(options)
  resolveOpen(openOptionsOf(flags))
  const interruption = onInterrupt(terminal)
  try {
    const engine = await open(flags.model, openOptionsOf(flags))
    try {
      if (!flags.quiet && argument === undefined) terminal.stderr.write(`${prompt}\n\n`)
      // The first race of an engine pages the weights in; a comparison must not charge that to one side.
      if (flags.compare) await engine.bestOf(n, prompt, { ...options, stop: interruption.signal, deadlineMs: 500 })
      const result = await engine.bestOf(n, prompt, {
        ...options,
        ...watching(terminal, engine, n, flags),
        stop: interruption.signal
      })
      const compared = flags.compare && !interruption.signal.aborted
      const full = compared ? await compare(terminal, engine, n, prompt, options, flags, interruption.signal) : null
      const outcome = { prompt, answer, result, full }
      const text = flags.json
        ? await jsonOf(engine, outcome, options, flags.alpha)
        : textOf(outcome, flags.scorer !== undefined)
      terminal.stdout.write(`${text}\n`)
      if (result.failure !== null) throw result.failure
      return interruption.code ?? exit.done
    } finally {
      await engine.close()
    }
  } finally {
    interruption.release()
  }
}

function bestOfOptions(flags: RunFlags): BestOfOptions {
  const { alpha, checkpoints, maxTokens, seed, raw, deterministic, compare } = flags
  return {
    policy: policyNamed(flags.policy, { alpha, checkpoints }),
    scorer: flags.scorer === undefined ? undefined : scorerNamed(flags.scorer),
    sampling: samplingOf(flags),
    maxTokens,
    seed,
    raw,
    // Only then are the two sides of a comparison about the same candidates.
    deterministic: deterministic || compare,
    deadlineMs: flags.deadline === undefined ? undefined : flags.deadline * 1000
  }
}

function watching(
  terminal: Terminal,
  engine: Engine,
  n: number,
  flags: RunFlags,
  policy = flags.policy
): BestOfOptions {
  if (flags.quiet) return {}
  const scorer = flags.scorer ?? (engine.head === null ? 'mean-logprob' : 'head')
  const schedule = policy === 'best-of-n' ? '' : ` (alpha ${flags.alpha}, ${flags.checkpoints.name})`
  const title = `${n} candidates, ${policy}${schedule}, ranked by ${scorer}`
  const view = new LiveView(terminal, title, (tokens) => engine.text(tokens))
  const onCheckpoint: BestOfOptions['onCheckpoint'] = (progress) => view.onCheckpoint(progress)
  if (!terminal.stderr.isTTY) return { onCheckpoint }
  return { onCheckpoint, onProgress: (progress) => view.onProgress(progress) }
}

/** Best-of-N with everything else alike. */
function compare(
  terminal: Terminal,
  engine: Engine,
  n: number,
  prompt: string,
  options: BestOfOptions,
  flags: RunFlags,
  stop: AbortSignal
): Promise<Result> {
  const watched = watching(terminal, engine, n, flags, 'best-of-n')
  return engine.bestOf(n, prompt, { ...options, ...watched, policy: bestOfN(), stop })
}
