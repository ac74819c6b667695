import { Command } from 'commander'
import { withoutSecrets } from '../address.js'
import { type Arm, type Defaults, parseArms } from '../arm.js'
import { splitArms } from '../arm-text.js'
import type { open as openEngine } from '../engine.js'
import { expected, WinnowError } from '../errors.js'
import { policyNames } from '../names.js'
import type { Scorer } from '../scorer.js'
import { summarise } from '../summary.js'
import { CostFit } from '../traces/cost.js'
import { type ReplayedRow, type Replaying, replayArms } from '../traces/replayed-row.js'
import type { TraceHeader } from '../traces/trace.js'
import { openTraces, type Traces } from '../traces/trace-file.js'
import { type BenchStyle, benchStyles } from './bench-report.js'
import { exit, type Interruption, onInterrupt } from './exit.js'
import { add, number } from './flag.js'
import { ProgressLine } from './progress-line.js'
import { checkLive, type LiveFlags } from './replay-live.js'
import { Measures } from './replay-measures.js'
import { type Replayed, replayReport } from './replay-report.js'
import { addRerankerFlag, addRewardFlags } from './reward.js'
import { addModelFlags, addOutputFlags, addScheduleFlags, type ScheduleFlags } from './settings.js'
import type { Terminal } from './terminal.js'

export interface ArmFlags extends ScheduleFlags {
  readonly policy: string
}

export interface ReplayFlags extends LiveFlags, ArmFlags {
  readonly candidates?: number
  readonly live: number
  readonly measures: boolean
  readonly output: string
}

/** `winnow replay`: what policies would have done and cost on recorded candidates, without the model. */
export function replayCommand(
  terminal: Terminal,
  open: typeof openEngine,
  finish: (code: number) => void,
  argv: readonly string[]
): Command {
  const command = new Command('replay')
  command.description('say what policies would have kept and cost on recorded candidates, without running the model')
  command.argument('<traces...>', 'what winnow record wrote; several parts of one recording')
  const policies = `comma-separated, as --policies of winnow bench: each of ${policyNames.join(', ')}, policy@FILE, with settings such as spec-reject:alpha=0.7:checkpoints=32+64:scorer=min-logprob`
  add(command, '--policy <list>', policies, 'best-of-n,spec-reject')
  add(command, '-n, --candidates <count>', 'the first so many candidates (default: all recorded)', undefined, number)
  add(command, '--live <count>', 'race this many of the prompts with the model too, and count what differs', 0, number)
  const paper =
    "the paper's measures too: improvement, best-of-N of equal score, win rates, what partial scores are worth"
  add(command, '--measures', paper, false)
  add(command, '--output <style>', 'the table as text, md, csv or jsonl', 'text')
  addScheduleFlags(command)
  add(command, '--seed <number>', 'seed of the intervals, 0 to 2^32-1', 0, number)
  addModelFlags(command)
  addRewardFlags(command)
  addRerankerFlag(command)
  addOutputFlags(command)
  command.action(async (paths: string[], flags: ReplayFlags) => {
    finish(await replayAll(terminal, open, paths, flags, `winnow ${argv.map(withoutSecrets).join(' ')}`))
  })
  return command
}

async function replayAll(
  terminal: Terminal,
  open: typeof openEngine,
  paths: readonly string[],
  flags: ReplayFlags,
  invocation: string
): Promise<number> {
  const { live, seed, output } = flags
  if (!benchStyles.includes(output)) {
    throw expected('OPTION_INVALID', `one of ${benchStyles.join(', ')}`, '--output', output)
  }
  for (const [flag, value] of [
    ['--live', live],
    ['--seed', seed]
  ] as const) {
    if (!Number.isSafeInteger(value) || value < 0 || value >= 2 ** 32) {
      throw expected('OPTION_INVALID', 'a whole number from 0', flag, value)
    }
  }
  const traces = await openTraces(...paths)
  const { header } = traces
  const { candidates: n = header.n } = flags
  if (!Number.isSafeInteger(n) || n < 1 || n > header.n) {
    throw expected('OPTION_INVALID', `a whole number from 1 to ${header.n}, as many as were recorded,`, '-n', n)
  }
  const arms = armsOf(flags, header)
  const interruption = onInterrupt(terminal)
  const line = flags.quiet ? null : new ProgressLine(terminal)
  try {
    const cost = await costOf(traces, interruption, (text) => line?.say(text))
    const replaying: Replaying = { header, arms, n, cost }
    const rows: ReplayedRow[] = []
    const measures = flags.measures ? new Measures(header, arms, cost, n) : null
    for await (const trace of traces.all()) {
      interruption.signal.throwIfAborted()
      const own = replayArms(replaying, trace)
      measures?.add(trace, own)
      rows.push(...own)
      line?.say(`${rows.length / arms.length} prompts replayed`)
    }
    line?.end()
    const divergence =
      live === 0 ? null : await checkLive(terminal, open, { traces, replaying, flags, count: live, interruption })
    const summaries = summarise(rows, arms, seed)
    const measured = measures?.measured(seed) ?? null
    const replayed: Replayed = { header, arms, rows, summaries, divergence, measured, n, seed, invocation }
    terminal.stdout.write(`${replayReport(replayed, flags.json ? 'json' : (output as BenchStyle))}\n`)
    return exit.done
  } finally {
    line?.end()
    interruption.release()
  }
}

/** What a race takes where the traces were recorded. */
export async function costOf({ header, all }: Traces, { signal }: Interruption, say: (text: string) => void) {
  const fit = new CostFit(header)
  let count = 0
  for await (const trace of all()) {
    signal.throwIfAborted()
    fit.add(trace)
    say(`${++count} prompts read`)
  }
  if (count === 0) throw new WinnowError('RESULTS_CORRUPT', 'Expected at least one trace but received a header alone')
  return fit.model()
}

/** Arms whose scorers are those recorded; the model behind a name need not be there. */
export function armsOf(flags: ArmFlags, header: TraceHeader): Arm[] {
  return parseArms(splitArms(flags.policy), defaultsOf(flags, header))
}

/** What such arms have where they set nothing. */
export function defaultsOf(flags: ScheduleFlags, { scorers }: TraceHeader): Defaults {
  const { alpha, margin, right, hopeless, checkpoints } = flags
  const recorded = (name: string): Scorer | null => {
    if (!scorers.some((scorer) => scorer.name === name)) return null
    return {
      name,
      needs: [],
      score: () => Promise.reject(new WinnowError('SCORER_FAILED', `${name} was recorded only`))
    }
  }
  return { alpha, margin, right, hopeless, checkpoints, scorers: recorded }
}
