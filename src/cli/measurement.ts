import { basename } from 'node:path'
import { contentsOf, type LoraRecord } from '../adapter.js'
import type { Arm } from '../arm.js'
import { type Failure, referenceOf, rowsOf, runBench } from '../bench.js'
import type { Engine } from '../engine.js'
import { WinnowError } from '../errors.js'
import { sha256 } from '../model.js'
import type { Problem } from '../problems.js'
import { summarise } from '../summary.js'
import type { Conditions, Row } from '../trial.js'
import type { BenchFlags } from './bench.js'
import { BenchFile } from './bench-file.js'
import { identityOf } from './bench-identity.js'
import { type BenchStyle, benchReport } from './bench-report.js'
import { exit, type Interruption } from './exit.js'
import { loraIn } from './lora.js'
import { ProgressLine } from './progress-line.js'
import { provenanceOf } from './provenance.js'
import type { RewardProvenance } from './reward.js'
import type { computeOf } from './settings.js'
import type { Terminal } from './terminal.js'

/** What a bench is about, once all of it has been read and checked. */
export interface Measurement {
  readonly engine: Engine
  readonly problems: readonly Problem[]
  readonly arms: readonly Arm[]
  readonly conditions: Conditions
  readonly compute: ReturnType<typeof computeOf>
  /** Which reward model scores, where one does. */
  readonly reward: RewardProvenance
  /** The adapters of every arm. */
  readonly lora: readonly LoraRecord[]
  readonly flags: BenchFlags
  readonly interruption: Interruption
  /** The command as it was typed. */
  readonly invocation: string
}

/** Measures, keeps every row as it comes, and prints the summaries. Resolves with the exit code. */
export async function measure(terminal: Terminal, measurement: Measurement): Promise<number> {
  const { engine, problems, arms, conditions, compute, reward, lora, flags, interruption } = measurement
  const provenance = await provenanceOf(engine)
  const prompts = { file: basename(flags.prompts), sha256: await sha256(flags.prompts) }
  const identity = {
    ...identityOf(provenance, prompts.sha256, conditions, compute),
    rewardModel: reward,
    ...loraIn(contentsOf(lora))
  }
  const file = flags.out === undefined ? null : await BenchFile.open(flags.out, identity)
  const done = rowsOf(file?.done ?? [], arms).filter((row) => row.prompt < problems.length)
  const rows: Row[] = [...done]
  const failures: Failure[] = []
  const line = flags.quiet ? null : new ProgressLine(terminal)
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
  const result = () => ({
    ...provenance,
    rewardModel: reward,
    ...loraIn(lora),
    ...settingsOf(measurement),
    prompts: { ...prompts, requested: problems.length, complete: summaries[0]?.prompts ?? 0, failures },
    interrupted,
    policies: summaries
  })
  const text = flags.json ? JSON.stringify(result()) : benchReport(summaries, flags.output as BenchStyle)
  terminal.stdout.write(`${text}\n`)
  if (!interrupted) return failures.length > 0 ? exit.partial : exit.done
  const how =
    flags.out === undefined
      ? 'With --out FILE a bench can be gone on with.'
      : `Run the same command again to go on from ${flags.out}.`
  terminal.stderr.write(`Interrupted after ${rows.length} rows. ${how}\n`)
  return interruption.code ?? exit.failed
}

/** What a result needs beside it to be made again, as far as the bench itself goes. */
function settingsOf({ arms, conditions, compute, flags, invocation }: Measurement) {
  const { seed, lora: _, ...shared } = conditions
  return {
    command: invocation,
    seed: String(seed),
    options: {
      ...shared,
      alpha: flags.alpha,
      margin: flags.margin,
      right: flags.right,
      hopeless: flags.hopeless,
      checkpoints: flags.checkpoints.name,
      ...compute
    },
    // Of head files that arms have named, by arm.
    heads: Object.fromEntries(
      arms.flatMap(({ name, headSha256 }) => (headSha256 === null ? [] : [[name, headSha256]]))
    ),
    reference: referenceOf(arms)?.name ?? null
  }
}

/** Says how far it is and, from the pace since it began, how long it will take. */
function paceOf(total: number, before: number): (rows: number, text: string) => string {
  const startedAt = performance.now()
  return (rows, text) => {
    const each = (performance.now() - startedAt) / 60_000 / Math.max(1, rows - before)
    return `${rows} of ${total} rows, ${text}; about ${Math.ceil((total - rows) * each)} min left`
  }
}
