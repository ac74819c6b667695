import { basename } from 'node:path'
import { Command } from 'commander'
import { type Arm, parseArms } from '../arm.js'
import { type Failure, referenceOf, runBench } from '../bench.js'
import { embedded } from '../embedded.js'
import type { Engine, open as openEngine } from '../engine.js'
import { expected, WinnowError } from '../errors.js'
import { sha256 } from '../model.js'
import { resolveBestOf, resolveCandidates, resolveOpen } from '../options.js'
import { type Problem, readProblems } from '../problems.js'
import { summarise } from '../summary.js'
import type { Conditions, Row } from '../trial.js'
import { BenchFile } from './bench-file.js'
import { benchTable } from './bench-report.js'
import { exit, type Interruption, onInterrupt } from './exit.js'
import { ProgressLine } from './progress-line.js'
import { provenanceOf } from './provenance.js'
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
  samplingOf
} from './settings.js'
import type { TableStyle } from './table.js'
import type { Terminal } from './terminal.js'

interface BenchFlags extends ModelFlags, RaceFlags, OutputFlags {
  readonly prompts: string
  readonly limit: number
  readonly policies: string
  readonly deterministic: boolean
  readonly output: string
  readonly out?: string
}

const styles: readonly string[] = ['text', 'md', 'csv', 'jsonl'] satisfies TableStyle[]

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
  const policies = `comma-separated; each of ${policyHelp}, with settings such as spec-reject:alpha=0.7:checkpoints=32+64:scorer=min-logprob, best-of-n:n=1, best-of-n:equal-tokens=spec-reject`
  add(command, '--policies <list>', policies, 'best-of-n,spec-reject')
  add(command, '--no-deterministic', 'let logits differ with who else is alive; the divergence is reported')
  add(command, '--output <style>', 'the table as text, md, csv or jsonl', 'text')
  add(command, '--out <file>', 'append every row as it is known, and go on from what the file has')
  addRaceFlags(command)
  addModelFlags(command)
  addOutputFlags(command)
  command.action(async (flags: BenchFlags) => {
    finish(await bench(terminal, open, flags, `winnow ${argv.join(' ')}`))
  })
  return command
}

async function bench(
  terminal: Terminal,
  open: typeof openEngine,
  flags: BenchFlags,
  invocation: string
): Promise<number> {
  const { alpha, checkpoints } = flags
  const arms = parseArms(splitList(flags.policies), { alpha, checkpoints })
  const conditions = conditionsOf(flags)
  if (!styles.includes(flags.output))
    throw expected('OPTION_INVALID', `one of ${styles.join(', ')}`, '--output', flags.output)
  if (!Number.isSafeInteger(flags.limit) || flags.limit < 0) {
    throw expected('OPTION_INVALID', 'a whole number, 0 or more', '--limit', flags.limit)
  }
  resolveOpen(openOptionsOf(flags))
  const problems = await readProblems(flags.prompts, flags.limit === 0 ? undefined : flags.limit)
  const interruption = onInterrupt(terminal)
  try {
    const engine = await open(flags.model, openOptionsOf(flags))
    try {
      return await measure(terminal, engine, problems, arms, conditions, flags, interruption, invocation)
    } finally {
      await engine.close()
    }
  } finally {
    interruption.release()
  }
}

async function measure(
  terminal: Terminal,
  engine: Engine,
  problems: readonly Problem[],
  arms: readonly Arm[],
  conditions: Conditions,
  flags: BenchFlags,
  interruption: Interruption,
  invocation: string
): Promise<number> {
  const provenance = await provenanceOf(engine)
  const options = optionsOf(flags, conditions)
  const prompts = { file: basename(flags.prompts), sha256: await sha256(flags.prompts) }
  const identity = {
    schemaVersion: provenance.schemaVersion,
    model: provenance.model.sha256,
    head: provenance.head?.sha256 ?? null,
    prompts: prompts.sha256,
    seed: String(conditions.seed),
    options
  }
  const file = flags.out === undefined ? null : await BenchFile.open(flags.out, identity)
  const mine = new Set(arms.map((arm) => arm.name))
  const done = (file?.done ?? []).filter((row) => mine.has(row.arm) && row.prompt < problems.length)
  const rows: Row[] = [...done]
  const failures: Failure[] = []
  const line = flags.quiet ? null : new ProgressLine(terminal.stderr)
  const pace = paceOf(problems.length * arms.length, done.length)
  const interrupted = await runBench({
    engine,
    problems,
    arms,
    conditions,
    done,
    signal: interruption.signal,
    async onRow(row) {
      rows.push(row)
      await file?.append('row', row)
      line?.say(pace(rows.length, `prompt ${row.prompt + 1} of ${problems.length}, ${row.arm}`))
    },
    async onFailure(failure) {
      failures.push(failure)
      await file?.append('failure', failure)
      if (!flags.quiet) terminal.stderr.write(`prompt ${failure.prompt + 1}, ${failure.arm}: ${failure.message}\n`)
    }
  }).then(
    () => false,
    (error: unknown) => {
      if (interruption.signal.aborted && WinnowError.is(error) && error.code === 'INTERRUPTED') return true
      throw error
    }
  )
  line?.end()
  const summaries = summarise(rows, arms, Number(conditions.seed & 0xffffffffn))
  if (flags.json) {
    const reference = referenceOf(arms)?.name ?? null
    const measured = { ...prompts, requested: problems.length, complete: summaries[0]?.prompts ?? 0, failures }
    const seed = String(conditions.seed)
    const command = invocation
    const result = {
      ...provenance,
      command,
      seed,
      options,
      prompts: measured,
      reference,
      interrupted,
      policies: summaries
    }
    terminal.stdout.write(`${JSON.stringify(result)}\n`)
  } else {
    terminal.stdout.write(`${benchTable(summaries, flags.output as TableStyle)}\n`)
  }
  if (interrupted) {
    const how =
      flags.out === undefined
        ? 'With --out FILE a bench can be gone on with.'
        : `Run the same command again to go on from ${flags.out}.`
    terminal.stderr.write(`Interrupted after ${rows.length} rows. ${how}\n`)
    return interruption.code ?? exit.failed
  }
  return failures.length > 0 ? exit.partial : exit.done
}

function conditionsOf(flags: BenchFlags): Conditions {
  const { seed, maxTokens, deterministic, raw } = flags
  const sampling = samplingOf(flags)
  resolveBestOf({ seed, maxTokens, deterministic, raw, sampling })
  return { n: resolveCandidates(flags.candidates), seed, sampling, maxTokens, deterministic, raw }
}

/** The resolved options as they stand in results; what changes any row is here. */
function optionsOf(flags: BenchFlags, { seed: _, ...conditions }: Conditions) {
  const { alpha, checkpoints, gpu, gpuLayers, threads, kvType } = flags
  return { ...conditions, alpha, checkpoints: checkpoints.name, gpu, gpuLayers, threads, kvType }
}

/** Says how far it is and, from the pace since it began, how long it will take. */
function paceOf(total: number, before: number): (rows: number, text: string) => string {
  const startedAt = performance.now()
  return (rows, text) => {
    const each = (performance.now() - startedAt) / 60_000 / Math.max(1, rows - before)
    return `${rows} of ${total} rows, ${text}; about ${Math.ceil((total - rows) * each)} min left`
  }
}

function splitList(text: string): string[] {
  const items = text.split(',').map((item) => item.trim())
  if (items.every((item) => item !== '')) return items
  throw expected('OPTION_INVALID', 'policies separated by commas', '--policies', text)
}
