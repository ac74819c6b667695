import { Command } from 'commander'
import { headSha256Of } from '../arm.js'
import type { Engine, open as openEngine } from '../engine.js'
import { expected, WinnowError } from '../errors.js'
import { scorerNamed, scorerNames } from '../names.js'
import { maxCandidates, resolveBestOf, resolveCandidates } from '../options.js'
import { defaultScorer } from '../planning.js'
import { nativeRules } from '../sampling-rules.js'
import type { Scorer } from '../scorer.js'
import { type RecordedProblem, record } from '../traces/record.js'
import { checkRecordable } from '../traces/recorder.js'
import { exit, type Interruption } from './exit.js'
import { add, number, requiredPath } from './flag.js'
import { ProgressLine } from './progress-line.js'
import { openProblems, type Part, type Prompts } from './prompts.js'
import { invocationOf, provenanceOf } from './provenance.js'
import { addRerankerFlag, addRewardFlags, type RewardFlags } from './reward.js'
import {
  addModelFlags,
  addOutputFlags,
  addWritingFlags,
  type ModelFlags,
  type OutputFlags,
  samplingOf,
  type WritingFlags
} from './settings.js'
import type { Terminal } from './terminal.js'
import { atWork, withEngine } from './workplace.js'

interface RecordFlags extends ModelFlags, RewardFlags, WritingFlags, OutputFlags {
  readonly prompts?: string
  readonly out?: string
  readonly limit: number
  readonly part: Part
  readonly candidates: number
  readonly grid: number
  readonly scorer?: readonly string[]
  readonly deterministic: boolean
}

/** `winnow record`: every candidate of each problem in full, with what each scorer says of it, for replays. */
export function recordCommand(
  terminal: Terminal,
  open: typeof openEngine,
  finish: (code: number) => void,
  argv: readonly string[]
): Command {
  const command = new Command('record')
  command.description(
    'write every candidate of each problem to its end and keep what scorers say of it on the way; interrupted, the same command goes on'
  )
  add(
    command,
    '--prompts <file>',
    'problems, JSONL with prompt or messages and, if any, answer and id; "-" for standard input'
  )
  add(command, '--out <file>', 'append a trace for each problem, and go on from what the file has')
  add(command, '--limit <count>', 'problems to take, 0 for all', 0, number)
  const part = 'which of several parts of the problems, such as 2/4: each process records one, replay takes all files'
  add(command, '--part <i/n>', part, { part: 1, parts: 1 }, partOf, '1/1')
  add(command, '-n, --candidates <count>', `candidates a problem, 1 to ${maxCandidates}`, 256, number)
  add(command, '--grid <tokens>', 'tokens from one look of the scorers to the next', 16, number)
  const by = `who looks, may be repeated: ${scorerNames.join(', ')} (default: the head, without one mean-logprob)`
  add(command, '--scorer <name>', by, undefined, (text, _, before) => [...((before as string[]) ?? []), text])
  add(command, '--no-deterministic', 'let logits differ with who else is alive; replays are then no longer exact')
  addWritingFlags(command)
  addModelFlags(command)
  addRewardFlags(command)
  addRerankerFlag(command)
  addOutputFlags(command)
  command.action(async (flags: RecordFlags) => {
    finish(await recordAll(terminal, open, flags, invocationOf(argv)))
  })
  return command
}

async function recordAll(
  terminal: Terminal,
  open: typeof openEngine,
  flags: RecordFlags,
  invocation: string
): Promise<number> {
  // Refuse what can be refused before a large model is loaded.
  const n = resolveCandidates(flags.candidates)
  const [path, out] = [requiredPath(flags.prompts, '--prompts'), requiredPath(flags.out, '--out')]
  const { seed, maxTokens, raw, deterministic, grid, limit } = flags
  if (!Number.isSafeInteger(grid) || grid < 1) {
    throw expected('OPTION_INVALID', 'a whole number of tokens, at least 1,', '--grid', grid)
  }
  if (!Number.isSafeInteger(limit) || limit < 0) {
    throw expected('OPTION_INVALID', 'a whole number, 0 or more', '--limit', limit)
  }
  const writing = { seed, maxTokens, raw, deterministic, sampling: samplingOf(flags) }
  await nativeRules(resolveBestOf(writing).sampling)
  return atWork(terminal, flags, async (workplace) => {
    const { interruption, rewards } = workplace
    const named = flags.scorer?.map((name) => scorerNamed(name, (other) => rewards.named(other)))
    if (named !== undefined) checkRecordable(named)
    const problems = await openProblems(path, limit, flags.part, terminal)
    return withEngine(open, flags.model, workplace, async (engine) => {
      const scorers = named ?? [rewards.default ?? defaultScorer(engine.head !== null)]
      const { hardware } = await provenanceOf(engine)
      // Memory may be counted otherwise after a restart.
      const machine = {
        ...hardware,
        memoryBytes: null,
        devices: hardware.devices.map(({ description }) => description)
      }
      const identity = { machine, layout: flags.layout, rewardModel: await rewards.provenance() }
      const options = { ...writing, out, n, grid, scorers, identity }
      return await write(terminal, { engine, problems, options, flags, interruption, invocation })
    })
  })
}

interface Recording {
  readonly engine: Engine
  readonly problems: Prompts<RecordedProblem>
  readonly options: Parameters<typeof record>[2] & { readonly scorers: readonly Scorer[] }
  readonly flags: RecordFlags
  readonly interruption: Interruption
  readonly invocation: string
}

async function write(terminal: Terminal, recording: Recording): Promise<number> {
  const { engine, problems, options, flags, interruption, invocation } = recording
  const { signal } = interruption
  const startedAt = performance.now()
  const seconds = () => (performance.now() - startedAt) / 1000
  const line = flags.quiet ? null : new ProgressLine(terminal)
  const failures: { readonly prompt: number; readonly code: string; readonly message: string }[] = []
  let [done, resumed, generatedTokens] = [0, 0, 0]
  const interrupted = await record(engine, problems.all(), {
    ...options,
    signal,
    onPrompt(told) {
      generatedTokens += told.generatedTokens
      if (told.resumed) resumed++
      else if (told.failure === null) done++
      else {
        const { code, message } = told.failure
        failures.push({ prompt: told.prompt, code, message })
        line?.end()
        if (!flags.quiet) terminal.stderr.write(`prompt ${told.prompt + 1}: ${message}\n`)
      }
      const over = done + resumed + failures.length
      const left = ((problems.count - over) * seconds()) / Math.max(1, done) / 60
      line?.say(`${over} of ${problems.count} problems; about ${Math.ceil(left)} min left`)
    }
  }).then(
    () => false,
    (error: unknown) => {
      if (signal.aborted && WinnowError.is(error) && error.code === 'INTERRUPTED') return true
      throw error
    }
  )
  line?.end()
  const scorers = options.scorers.map((scorer) => ({ name: scorer.name, sha256: headSha256Of(scorer) }))
  const result = async () => ({
    ...(await provenanceOf(engine)),
    command: invocation,
    out: options.out,
    scorers,
    problems: { requested: problems.count, done, resumed, failed: failures.length },
    failures,
    interrupted,
    generatedTokens,
    seconds: seconds()
  })
  const many = `${done + resumed} of ${problems.count} problems are in ${options.out}, ${done} of them new`
  const by = scorers.map(({ name }) => name).join(', ')
  const text = `${many}; ${options.n} candidates each, every ${options.grid} tokens by ${by}`
  terminal.stdout.write(`${flags.json ? JSON.stringify(await result()) : text}\n`)
  if (!interrupted) return failures.length > 0 ? exit.partial : exit.done
  terminal.stderr.write(`Interrupted. Run the same command again to go on from ${options.out}.\n`)
  return interruption.code ?? exit.failed
}

function partOf(text: string, flag: string): Part {
  const [, part, parts] = (/^(\d{1,6})\/(\d{1,6})$/.exec(text) ?? []).map(Number)
  if (part !== undefined && parts !== undefined && part >= 1 && part <= parts) return { part, parts }
  throw expected('OPTION_INVALID', 'a part such as 2/4', flag, text)
}
