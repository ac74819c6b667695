import { basename } from 'node:path'
import type { Lora, LoraRecord } from '../adapter.js'
import type { Engine } from '../engine.js'
import { WinnowError } from '../errors.js'
import { engineConditions, type MapOptions, map, type Unraced } from '../map.js'
import { exit, type Interruption } from './exit.js'
import { loraIn } from './lora.js'
import { ProgressLine } from './progress-line.js'
import type { Prompts } from './prompts.js'
import { provenanceOf } from './provenance.js'
import type { SampleFlags } from './sample.js'
import { computeOf, type openOptionsOf } from './settings.js'
import { Tally } from './tally.js'
import type { Terminal } from './terminal.js'

/** What a call of `winnow sample` is about, once all of it has been read and checked. */
export interface Sampling {
  readonly engine: Engine
  readonly prompts: Prompts
  /** With n, the journal and its identity. */
  readonly options: MapOptions & { readonly n: number; readonly journal: string }
  readonly opening: ReturnType<typeof openOptionsOf>
  /** The adapters of every race. */
  readonly lora: readonly LoraRecord[]
  readonly flags: SampleFlags
  readonly interruption: Interruption
  /** The command as it was typed, but for secrets. */
  readonly invocation: string
}

/** Races the prompts, counts what comes of them, and prints the sum. Resolves with the exit code. */
export async function write(terminal: Terminal, sampling: Sampling): Promise<number> {
  const { engine, prompts, options, opening, flags, interruption } = sampling
  const { signal } = interruption
  const about = (lora: readonly Lora[]) => engineConditions(engine, opening.kvType, lora)
  const line = flags.quiet ? null : new ProgressLine(terminal)
  const tally = new Tally(prompts.count, options.n)
  const failures: Unraced[] = []
  let interrupted = false
  try {
    line?.say(tally.progress())
    for await (const mapped of map(engine, prompts.all(), { ...options, signal }, about)) {
      tally.add(mapped)
      if (mapped.state === 'failed') {
        failures.push(mapped)
        line?.end()
        if (!flags.quiet) terminal.stderr.write(`prompt ${mapped.index + 1}: ${mapped.error.message}\n`)
      }
      line?.say(tally.progress())
    }
  } catch (error) {
    if (!signal.aborted || !WinnowError.is(error) || error.code !== 'INTERRUPTED') throw error
    interrupted = true
  } finally {
    line?.end()
  }
  const text = flags.json
    ? await jsonOf(sampling, tally, failures, interrupted)
    : textOf(tally, prompts.count, options.journal)
  terminal.stdout.write(`${text}\n`)
  if (!interrupted) return failures.length > 0 ? exit.partial : exit.done
  terminal.stderr.write(`Interrupted. Run the same command again to go on from ${options.journal}.\n`)
  return interruption.code ?? exit.failed
}

/** For people. */
function textOf(tally: Tally, requested: number, out: string): string {
  const { done, resumed, failed, candidates, generatedTokens, seconds } = tally
  const rows = `${count(done + resumed)} of ${count(requested, 'prompt')} are in ${out}, ${count(done)} of them new`
  const again = failed === 0 ? '' : `; ${count(failed)} failed, which the same command tries again`
  const work = `${count(candidates, 'candidate')}, ${count(generatedTokens, 'token')} in ${seconds.toFixed(1)} s`
  return `${rows}${again}\n${work}: ${tally.rates()}`
}

/** For programs: the same, with what it takes to make it again. */
async function jsonOf(
  { engine, prompts, options, opening, lora, flags, invocation }: Sampling,
  { done, resumed, failed, candidates, generatedTokens, seconds }: Tally,
  failures: readonly Unraced[],
  interrupted: boolean
): Promise<string> {
  const { policy, checkpoints, scorer, sampling, maxTokens, raw, deterministic, deadlineMs, concurrency } = options
  return JSON.stringify({
    ...(await provenanceOf(engine)),
    ...loraIn(lora),
    command: invocation,
    seed: String(options.seed),
    options: {
      candidates: options.n,
      concurrency: concurrency ?? null,
      policy: policy?.name,
      checkpoints: (checkpoints ?? policy?.checkpoints)?.name,
      scorer: scorer?.name ?? null,
      sampling,
      maxTokens,
      raw,
      deterministic,
      deadlineMs: deadlineMs ?? null,
      keep: options.keep,
      ...options.identity,
      ...computeOf(opening)
    },
    prompts: { file: basename(flags.prompts ?? ''), requested: prompts.count, done, resumed, failed },
    failures: failures.map(({ index, id, error: { code, message } }) => ({ prompt: index, id, code, message })),
    interrupted,
    candidates,
    generatedTokens,
    seconds
  })
}

function count(value: number, noun = ''): string {
  const text = value.toLocaleString('en')
  return noun === '' ? text : `${text} ${noun}${value === 1 ? '' : 's'}`
}
