import { writeFile } from 'node:fs/promises'
import { basename, extname } from 'node:path'
import { Command } from 'commander'
import { withoutSecrets } from '../address.js'
import { cannotWrite, expected } from '../errors.js'
import { policyNames } from '../names.js'
import { isRecording, studyIn } from '../report/file.js'
import { htmlOf } from '../report/html.js'
import { markdownOf } from '../report/markdown.js'
import { chapterOf } from '../report/page.js'
import type { Study } from '../report/study.js'
import { armsFor, TraceStudy } from '../report/trace-study.js'
import { openTraces } from '../traces/trace-file.js'
import { type Interruption, onInterrupt } from './exit.js'
import { add, number } from './flag.js'
import { ProgressLine } from './progress-line.js'
import { schemaVersion } from './provenance.js'
import { type ArmFlags, armsOf, costOf, defaultsOf } from './replay.js'
import { addOutputFlags, addScheduleFlags, type OutputFlags } from './settings.js'
import type { Terminal } from './terminal.js'

interface ReportFlags extends ArmFlags, OutputFlags {
  readonly out?: readonly string[]
  readonly candidates?: number
  readonly seed: number
}

/** `winnow report`: one page that says whether rejection pays, out of results. */
export function reportCommand(terminal: Terminal, argv: readonly string[]): Command {
  const command = new Command('report')
  command.description('say whether rejection pays, as a page with charts or as Markdown, out of results')
  command.argument('<results...>', 'what winnow bench (--out, --json), winnow replay --json or winnow record wrote')
  const out = 'where to write it, FILE.html or FILE.md, may be repeated (default: Markdown on stdout)'
  add(command, '--out <file>', out, undefined, (text, _, before) => [...((before as string[]) ?? []), text])
  const policies = `policies to replay on traces, comma-separated, as --policies of winnow bench: each of ${policyNames.join(', ')}; best-of-N, random kills and fewer candidates at the same cost are added`
  add(command, '--policy <list>', policies, 'spec-reject')
  add(command, '-n, --candidates <count>', 'of traces the first so many candidates (default: all)', undefined, number)
  addScheduleFlags(command)
  add(command, '--seed <number>', 'seed of the intervals of traces, 0 to 2^32-1', 0, number)
  addOutputFlags(command)
  command.action((paths: string[], flags: ReportFlags) => report(terminal, paths, flags, commandOf(argv)))
  return command
}

async function report(
  terminal: Terminal,
  paths: readonly string[],
  flags: ReportFlags,
  invocation: string
): Promise<void> {
  const { out = [], seed } = flags
  const wrong = out.find((path) => !['.html', '.md'].includes(extname(path)))
  if (wrong !== undefined) throw expected('OPTION_INVALID', 'a file that ends in .html or .md', '--out', wrong)
  if (!Number.isSafeInteger(seed) || seed < 0 || seed >= 2 ** 32) {
    throw expected('OPTION_INVALID', 'a whole number from 0', '--seed', seed)
  }
  const studies = await studiesOf(terminal, paths, flags, invocation)
  const chapters = studies.map(chapterOf)
  for (const path of out) {
    const text = extname(path) === '.md' ? markdownOf(chapters) : htmlOf(chapters, { schemaVersion, studies })
    await writeFile(path, text).catch((error: unknown) => Promise.reject(cannotWrite(path, error)))
  }
  const headlines = chapters.map(({ verdicts }) => `${verdicts[0]?.headline}.\n`).join('')
  const verdicts = chapters.map((chapter) => chapter.verdicts)
  const text = out.length === 0 ? markdownOf(chapters) : headlines
  terminal.stdout.write(flags.json ? `${JSON.stringify({ schemaVersion, studies, verdicts })}\n` : text)
}

/** In the order of the files; the parts of a recording are one. */
async function studiesOf(terminal: Terminal, paths: readonly string[], flags: ReportFlags, invocation: string) {
  const recordings = await Promise.all(paths.map(isRecording))
  const parts = paths.filter((_, i) => recordings[i])
  const first = recordings.indexOf(true)
  const interruption = onInterrupt(terminal)
  const line = flags.quiet ? null : new ProgressLine(terminal)
  const studies: Study[] = []
  try {
    for (const [i, path] of paths.entries()) {
      if (!recordings[i]) studies.push(await studyIn(path))
      else if (i === first) {
        studies.push(await replayed(parts, flags, invocation, interruption, (text) => line?.say(text)))
      }
    }
    return studies
  } finally {
    line?.end()
    interruption.release()
  }
}

async function replayed(
  paths: readonly string[],
  flags: ReportFlags,
  invocation: string,
  interruption: Interruption,
  say: (text: string) => void
): Promise<Study> {
  const traces = await openTraces(...paths)
  const { header } = traces
  const { candidates: n = header.n } = flags
  if (!Number.isSafeInteger(n) || n < 1 || n > header.n) {
    throw expected('OPTION_INVALID', `a whole number from 1 to ${header.n}, as many as were recorded,`, '-n', n)
  }
  const arms = armsFor(armsOf(flags, header), defaultsOf(flags, header))
  const study = new TraceStudy({ header, arms, n, cost: await costOf(traces, interruption, say) })
  let count = 0
  for await (const trace of traces.all()) {
    interruption.signal.throwIfAborted()
    study.add(trace)
    say(`${++count} prompts replayed`)
  }
  return study.study(
    paths.map((path) => basename(path)),
    header,
    flags.seed,
    invocation
  )
}

/** As it was typed, but for where it writes: the same report is the same wherever it goes. */
function commandOf(argv: readonly string[]): string {
  const kept = argv.filter((word, i) => !word.startsWith('--out') && argv[i - 1] !== '--out')
  return `winnow ${kept.map(withoutSecrets).join(' ')}`
}
