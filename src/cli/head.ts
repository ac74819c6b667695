import { Command } from 'commander'
import type { open as openEngine } from '../engine.js'
import { type ExtractedHead, type ExtractOptions, extractHead } from '../heads/extract.js'
import { version } from '../version.js'
import { exit, nothingWritten, onInterrupt } from './exit.js'
import { add } from './flag.js'
import { headTrainCommand } from './head-train.js'
import { schemaVersion } from './provenance.js'
import type { Terminal } from './terminal.js'

interface ExtractFlags {
  readonly out: string
  readonly label?: string
  readonly minus?: string
  readonly activation?: NonNullable<ExtractOptions['activation']>
  readonly tensor?: string
  readonly hubUrl?: string
  readonly json: boolean
}

/** `winnow head`: where reward heads come from. */
export function headCommand(terminal: Terminal, open: typeof openEngine, finish: (code: number) => void): Command {
  return new Command('head')
    .description('make reward heads, the small files that score candidates')
    .addCommand(extractCommand(terminal, finish))
    .addCommand(headTrainCommand(terminal, open, finish))
}

function extractCommand(terminal: Terminal, finish: (code: number) => void): Command {
  const command = new Command('extract')
  command.description('take the head out of a Hugging Face reward model; reads headers and the head, not the model')
  command.argument('<model>', 'folder, hf:ORG/REPO or hf:ORG/REPO@REVISION (HF_TOKEN is sent where it is set)')
  command.requiredOption('-o, --out <path>', 'head file to write')
  command.option('--label <label>', 'which output is the reward, number or name (needed where there are several)')
  command.option(
    '--minus <label>',
    'output to subtract: with two labels, their difference is the logit (default: none)'
  )
  command.option('--activation <name>', 'between the two layers of a head that has two: relu or silu (default: known)')
  command.option('--tensor <name>', 'name of the head, such as score for score.weight (default: found)')
  add(command, '--hub-url <url>', 'where the hub is (default: HF_ENDPOINT, else https://huggingface.co)')
  command.option('--json', 'print the result as JSON (default: text)', false)
  command.option('--verbose', 'show stack traces', false)
  command.action(async (model: string, flags: ExtractFlags) => {
    finish(await extract(terminal, model, flags))
  })
  return command
}

async function extract(terminal: Terminal, model: string, flags: ExtractFlags): Promise<number> {
  const { out, label, minus, activation, tensor } = flags
  const hubUrl = flags.hubUrl ?? (terminal.env.HF_ENDPOINT || undefined)
  const token = terminal.env.HF_TOKEN || undefined
  const interruption = onInterrupt(terminal)
  try {
    const { signal } = interruption
    const head = await extractHead(model, out, { label, minus, activation, tensor, hubUrl, token, signal })
    const result = { schemaVersion, versions: { winnow: version }, ...head }
    terminal.stdout.write(flags.json ? `${JSON.stringify(result, null, 2)}\n` : textOf(head))
    return interruption.code ?? exit.done
  } catch (error) {
    return nothingWritten(terminal, interruption, out, error)
  } finally {
    interruption.release()
  }
}

function textOf(head: ExtractedHead): string {
  const { path, source, architecture, tensor, kind, width, hidden, activation, labels, label, minus, bytesRead } = head
  const rows: [string, string][] = [
    ['head', path],
    ['from', `${source}${architecture === null ? '' : `, ${architecture}`}`],
    ['made of', kind === 'linear' ? `${tensor}, linear` : `${tensor}, ${hidden} units, ${activation}`],
    ['reads', `states of width ${width}`],
    [
      'gives',
      labels === 1 ? 'one reward' : `label ${label} of ${labels}${minus === null ? '' : ` minus label ${minus}`}`
    ],
    ['read', `${bytesRead} bytes of the model`]
  ]
  return rows.map(([name, value]) => `${name.padEnd(9)}${value}\n`).join('')
}
