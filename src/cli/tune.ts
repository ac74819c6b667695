import { writeFile } from 'node:fs/promises'
import { Command } from 'commander'
import { expected, WinnowError } from '../errors.js'
import { type PolicyFile, policyText } from '../policy-file.js'
import type { TraceHeader } from '../traces/trace.js'
import { openTraces } from '../traces/trace-file.js'
import type { TunedPoint, TuningGoal } from '../tuning/outcomes.js'
import { type Tuned, tune } from '../tuning/tune.js'
import { version } from '../version.js'
import { exit, onInterrupt } from './exit.js'
import { add, number } from './flag.js'
import { ProgressLine } from './progress-line.js'
import { invocationOf, schemaVersion } from './provenance.js'
import { addOutputFlags, type OutputFlags } from './settings.js'
import { drawTable } from './table.js'
import type { Terminal } from './terminal.js'

interface TuneFlags extends OutputFlags {
  readonly keep?: number
  readonly tokens?: number
  readonly regret?: number
  readonly candidates?: number
  readonly scorer?: string
  readonly folds: number
  readonly seed: number
  readonly out: string
}

/** `winnow tune`: the policy and the schedule that recorded candidates speak for, in a file other commands take. */
export function tuneCommand(terminal: Terminal, finish: (code: number) => void, argv: readonly string[]): Command {
  const command = new Command('tune')
  command.description('choose a policy and a schedule on recorded candidates, and write them for --policy policy@FILE')
  command.argument('<traces...>', 'what winnow record wrote; several parts of one recording')
  const share = (flags: string, help: string) => command.option(flags, help, (text: string) => number(text, flags))
  share('--keep <share>', "the fewest tokens at which this share of the prompts keep best-of-N's answer")
  share('--tokens <share>', "the most such prompts at this share of best-of-N's tokens")
  share('--regret <share>', 'the fewest tokens at this mean regret')
  add(command, '-n, --candidates <count>', 'the first so many candidates (default: all recorded)', undefined, number)
  command.option('--scorer <name>', 'what to rank by, of those recorded (default: the first)')
  command.option('--folds <count>', 'parts of the prompts a choice is tested on', (text) => number(text, '--folds'), 5)
  command.option('--seed <number>', 'of the intervals, 0 to 2^32-1', (text) => number(text, '--seed'), 0)
  // No environment variables: those of the same names are about other things.
  command.option('-o, --out <file>', 'file to write', 'winnow.policy.json')
  addOutputFlags(command)
  command.action(async (paths: string[], flags: TuneFlags) => {
    finish(await tuneAll(terminal, paths, flags, invocationOf(argv)))
  })
  return command
}

async function tuneAll(
  terminal: Terminal,
  paths: readonly string[],
  flags: TuneFlags,
  invocation: string
): Promise<number> {
  const goal = goalOf(flags)
  const { folds, seed, out } = flags
  if (!Number.isSafeInteger(seed) || seed < 0 || seed >= 2 ** 32) {
    throw expected('OPTION_INVALID', 'a whole number from 0 to 2^32-1', '--seed', seed)
  }
  const traces = await openTraces(...paths)
  const { header } = traces
  const { candidates: n = header.n } = flags
  if (!Number.isSafeInteger(n) || n < 1 || n > header.n) {
    throw expected('OPTION_INVALID', `a whole number from 1 to ${header.n}, as many as were recorded,`, '-n', n)
  }
  const scorer = scorerOf(flags, header)
  const interruption = onInterrupt(terminal)
  const line = flags.quiet ? null : new ProgressLine(terminal)
  try {
    const onPrompt = (done: number) => line?.say(`${done} prompts replayed`)
    const tuned = await tune(traces, { goal, n, scorer, folds, seed, signal: interruption.signal, onPrompt })
    line?.end()
    const file = fileOf(tuned, goal, n, header, scorer, invocation)
    await writeFile(out, policyText(file)).catch((error: Error) => {
      throw new WinnowError('WRITE_FAILED', `Expected to write ${out} but received ${error.message}`, { cause: error })
    })
    const result = () => ({ schemaVersion, command: invocation, out, goal, ...file, front: tuned.front })
    terminal.stdout.write(`${flags.json ? JSON.stringify(result()) : textOf(tuned, out)}\n`)
    return exit.done
  } finally {
    line?.end()
    interruption.release()
  }
}

function goalOf({ keep, tokens, regret }: TuneFlags): TuningGoal {
  const given = Object.entries({ keep, tokens, regret }).filter(([, value]) => value !== undefined)
  if (given.length === 1) return Object.fromEntries(given) as unknown as TuningGoal
  throw expected('OPTION_INVALID', 'one of --keep, --tokens and --regret', 'the goal', given.length)
}

function scorerOf({ scorer }: TuneFlags, { scorers }: TraceHeader): number {
  if (scorer === undefined) return 0
  const place = scorers.findIndex(({ name }) => name === scorer)
  if (place >= 0) return place
  const names = scorers.map(({ name }) => name).join(', ')
  throw expected('OPTION_INVALID', `one of ${names}, which were recorded,`, '--scorer', scorer)
}

function fileOf(
  { chosen, safety, prompts, promised, heldOut, agreeing, folds }: Tuned,
  goal: TuningGoal,
  n: number,
  { scorers, conditions }: TraceHeader,
  scorer: number,
  command: string
): PolicyFile {
  const settings = chosen.settings(safety)
  if (settings === null) throw new WinnowError('POLICY_INVALID', 'Expected settings of the choice but received none')
  const { model, head } = conditions
  return {
    settings,
    n,
    scorer: scorers[scorer]?.name ?? '',
    evidence: {
      ...{ command, winnow: version, model, head, prompts, goal },
      ...{ chosen: chosen.name, promised, heldOut, agreeing, folds }
    }
  }
}

/** For people. */
function textOf({ chosen, prompts, promised, heldOut, agreeing, folds, front }: Tuned, out: string): string {
  const columns = ['policy', "keeps best-of-N's answer", 'of its tokens', 'regret', 'right']
  return [
    `Not beaten in both, on ${prompts} prompts:`,
    drawTable(columns, front.map(cellsOf), 'text'),
    '',
    `Chosen: ${chosen.name}`,
    drawTable(columns, [{ ...promised, name: 'promised' }, heldOut].map(cellsOf), 'text'),
    `"held out": chosen again without each of ${folds} parts of the prompts and tried on that part; ${agreeing} of ${folds} made the same choice.`,
    `Written to ${out}: --policy policy@${out}`
  ].join('\n')
}

function cellsOf({ name, survival, tokens, regret, accuracy }: TunedPoint): string[] {
  const shares = [survival, tokens, regret, accuracy].map((interval) => {
    if (interval === null) return '-'
    const [mean, low, high] = [interval.mean, interval.low, interval.high].map((value) => (100 * value).toFixed(1))
    return `${mean}% [${low}, ${high}]`
  })
  return [name, ...shares]
}
