import { constants } from 'node:fs'
import { access, stat } from 'node:fs/promises'
import { basename, dirname, resolve } from 'node:path'
import { Command } from 'commander'
import { loadBinding } from '../binding.js'
import type { open as openEngine } from '../engine.js'
import { cannotWrite, expected } from '../errors.js'
import { rewarded, taught, verified } from '../heads/labels.js'
import { readTraces, type Trace } from '../heads/traces.js'
import { trainHead } from '../heads/train-head.js'
import { exit, nothingWritten } from './exit.js'
import { add, number } from './flag.js'
import { textOf } from './head-report.js'
import { ProgressLine } from './progress-line.js'
import { provenanceOf } from './provenance.js'
import { addRewardFlags, type RewardFlags } from './reward.js'
import { addGeneratorFlags, type ModelFlags } from './settings.js'
import type { Terminal } from './terminal.js'
import { atWork, type Workplace, withEngine } from './workplace.js'

interface TrainFlags extends Omit<ModelFlags, 'head'>, RewardFlags {
  readonly traces: string
  readonly limit: number
  readonly label: 'verified' | 'reward' | 'teacher'
  readonly out: string
  readonly samples: number
  readonly grid: number
  readonly spread: number
  readonly hidden: number
  readonly epochs: number
  readonly ranking: number
  readonly dropout: number
  readonly decay: number
  readonly temperature: number
  readonly maxTokens: number
  readonly seed: number
  readonly debiasLength: boolean
  /** `--no-calibration` makes it false. */
  readonly calibration: boolean
  readonly json: boolean
  readonly quiet: boolean
}

/**
 * `winnow head train`: a head on the generator's own state, from the generator's own answers. It takes no --head: the
 * head is what it makes.
 */
export function headTrainCommand(terminal: Terminal, open: typeof openEngine, finish: (code: number) => void): Command {
  const command = new Command('train')
  command.description('fit a reward head to what the model itself writes, and measure it on prompts it has not seen')
  command.requiredOption(
    '--traces <file>',
    'JSONL with prompt, answer and samples; without samples the model answers by itself'
  )
  add(command, '--limit <count>', 'lines to take, 0 for all', 0, number)
  add(
    command,
    '--label <kind>',
    'what is learnt: verified (right or wrong), reward (beside each sample) or teacher (--reward-model)',
    'verified'
  )
  command.requiredOption('-o, --out <path>', 'head file to write')
  add(command, '--samples <count>', 'answers a prompt where a trace brings none, 2 to 256', 32, number)
  add(command, '--grid <tokens>', 'tokens from one look to the next', 4, number)
  add(command, '--spread <count>', 'looks inside each quarter of an answer, besides its end', 3, number)
  add(command, '--hidden <units>', 'units of the hidden layer, 0 for a linear head', 128, number)
  add(command, '--epochs <count>', 'most passes over the rows', 50, number)
  add(command, '--ranking <weight>', 'weight of ranking within prompts beside the label itself', 1, number)
  add(command, '--dropout <share>', 'share of state columns left out in a step', 0.3, number)
  add(command, '--decay <rate>', 'weight decay', 0.3, number)
  add(command, '--temperature <value>', 'sampling temperature', 1, number)
  add(command, '--max-tokens <count>', 'tokens an answer may have', 512, number)
  add(command, '--seed <number>', 'seed of answers, division and fit', 0, number)
  add(command, '--debias-length', 'take from the score what the length of an answer alone tells of it', false)
  add(command, '--no-calibration', 'leave the logit of verified answers as the fit gives it')
  addGeneratorFlags(command)
  addRewardFlags(command)
  command.option('--json', 'print the result as JSON (default: text)', false)
  command.option('--quiet', 'no progress on stderr', false)
  command.option('--verbose', 'show stack traces', false)
  command.action(async (flags: TrainFlags) => finish(await train(terminal, open, flags)))
  return command
}

async function train(terminal: Terminal, open: typeof openEngine, flags: TrainFlags): Promise<number> {
  if (!['verified', 'reward', 'teacher'].includes(flags.label))
    throw expected('OPTION_INVALID', 'verified, reward or teacher', '--label', flags.label)
  if ((flags.label === 'teacher') !== (flags.rewardModel !== undefined))
    throw expected('OPTION_INVALID', 'teacher with --reward-model, and not without it,', '--label', flags.label)
  // The answers may take hours: what the fit would refuse is refused before them.
  for (const [flag, low, high] of [
    ['limit', 0, Number.MAX_SAFE_INTEGER],
    ['samples', 2, 256],
    ['grid', 1, Number.MAX_SAFE_INTEGER],
    ['spread', 0, 1000],
    ['hidden', 0, 65_536],
    ['epochs', 1, 100_000],
    ['seed', 0, Number.MAX_SAFE_INTEGER]
  ] as const) {
    if (!Number.isSafeInteger(flags[flag]) || flags[flag] < low || flags[flag] > high)
      throw expected('OPTION_INVALID', `a whole number from ${low} to ${high}`, `--${flag}`, flags[flag])
  }
  for (const [flag, high] of [
    ['ranking', 1000],
    ['dropout', 0.99],
    ['decay', 10]
  ] as const) {
    if (!(flags[flag] >= 0 && flags[flag] <= high))
      throw expected('OPTION_INVALID', `a number from 0 to ${high}`, `--${flag}`, flags[flag])
  }
  await checkOut(flags.out)
  const traces = await readTraces(flags.traces, flags.limit === 0 ? undefined : flags.limit)
  checkTraces(traces, flags)
  return atWork(terminal, flags, (workplace) =>
    trainAt(terminal, open, flags, traces, workplace).catch((error: unknown) =>
      nothingWritten(terminal, workplace.interruption, flags.out, error)
    )
  )
}

function trainAt(
  terminal: Terminal,
  open: typeof openEngine,
  flags: TrainFlags,
  traces: readonly Trace[],
  { interruption, opening, rewards }: Workplace
): Promise<number> {
  const { signal } = interruption
  const { teacher } = rewards
  const line = flags.quiet ? null : new ProgressLine(terminal)
  const workplace = { interruption, rewards, opening: { ...opening, head: null } }
  return withEngine(open, flags.model, workplace, async (engine) => {
    const { out, hidden, epochs, ranking, dropout, decay, seed, samples, grid, spread, maxTokens } = flags
    const trained = await trainHead(loadBinding({ gpu: flags.gpu }).binding, engine, traces, {
      out,
      label:
        teacher === null ? (flags.label === 'reward' ? rewarded : verified) : taught(teacher, engine.model, signal),
      binary: flags.label === 'verified',
      trainedOn: `${flags.label} answers to ${basename(flags.traces)}`,
      collect: {
        samples,
        grid,
        spread,
        seed,
        maxTokens,
        sampling: { temperature: flags.temperature },
        onPrompt: (done, tokens) => line?.say(`${done} of ${traces.length} prompts answered, ${tokens} tokens`)
      },
      fit: {
        hidden,
        epochs,
        ranking,
        dropout,
        decay,
        threads: opening.threads,
        seed,
        onEpoch: (part, { index, validationLoss }) =>
          line?.say(`fitting ${part}: epoch ${index} of ${epochs}, validation loss ${validationLoss.toFixed(4)}`)
      },
      calibrate: flags.calibration,
      debiasLength: flags.debiasLength,
      signal
    })
    line?.end()
    const result = { ...(await provenanceOf(engine)), rewardModel: await rewards.provenance(), ...trained }
    terminal.stdout.write(flags.json ? `${JSON.stringify(result)}\n` : textOf(trained))
    return interruption.code ?? exit.done
  })
}

/** Throws WRITE_FAILED where a file cannot be put. */
async function checkOut(out: string): Promise<void> {
  try {
    await access(dirname(resolve(out)), constants.W_OK)
    if ((await stat(out).catch(() => null))?.isDirectory()) throw new Error('it is a folder')
  } catch (error) {
    throw cannotWrite(out, error)
  }
}

/** Throws PROBLEMS_INVALID or OPTION_INVALID where no label could be had, or too few. */
function checkTraces(traces: readonly Trace[], { label, traces: file }: TrainFlags): void {
  if (traces.length < 10) throw expected('OPTION_INVALID', 'at least 10 lines', '--traces', traces.length)
  const lacking = traces.findIndex(({ answer, samples }) => {
    if (label === 'verified') return answer === null && !(samples?.every(({ right }) => right !== null) ?? false)
    return label === 'reward' && !(samples?.every(({ reward }) => reward !== null) ?? false)
  })
  if (lacking < 0) return
  const what = label === 'reward' ? 'samples with rewards' : 'an answer to verify by'
  throw expected('PROBLEMS_INVALID', what, `item ${lacking + 1} of ${file}`, undefined)
}
