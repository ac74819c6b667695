import { stat } from 'node:fs/promises'
import { Command, Option } from 'commander'
import { loadBinding } from '../binding.js'
import { WinnowError } from '../errors.js'
import { sha256 } from '../model.js'
import { randomModelDefaults as defaults, writeRandomModel } from '../random-model.js'
import { machineOf } from './provenance.js'
import type { Terminal } from './terminal.js'

interface Flags {
  arch: string
  weights: 'f32' | 'f16' | 'q8_0' | 'q4_0'
  tokenizer: 'bytes' | 'none'
  vocab: string
  width: string
  layers: string
  heads: string
  headsKv: string
  ff: string
  context: string
  seed: string
  json: boolean
}

export function randomModelCommand(terminal: Terminal): Command {
  return new Command('random-model')
    .description('write a GGUF of random weights, for tests and for throughput at a shape of choice')
    .argument('<out>', 'path of the file to write')
    .addOption(
      new Option('--arch <name>', 'architecture')
        .choices(['llama', 'qwen2', 'qwen3', 'mamba'])
        .default(defaults.architecture)
    )
    .addOption(
      new Option('--weights <type>', 'type of the weights')
        .choices(['f32', 'f16', 'q8_0', 'q4_0'])
        .default(defaults.weights)
    )
    .addOption(new Option('--tokenizer <kind>', 'tokenizer').choices(['bytes', 'none']).default(defaults.tokenizer))
    .option('--vocab <tokens>', 'size of the vocabulary, tokens', String(defaults.vocabulary))
    .option('--width <n>', 'width of the hidden state', String(defaults.width))
    .option('--layers <n>', 'number of layers', String(defaults.layers))
    .option('--heads <n>', 'attention heads', String(defaults.heads))
    .option('--heads-kv <n>', 'attention heads that keys and values have', String(defaults.headsKv))
    .option('--ff <n>', 'width of the feed-forward layer', String(defaults.feedForward))
    .option('--context <tokens>', 'trained context, tokens', String(defaults.context))
    .option('--seed <n>', 'same seed, same file', String(defaults.seed))
    .option('--json', 'print the result as JSON (default: text)', false)
    .action(async (out: string, flags: Flags) => {
      const options = {
        architecture: flags.arch,
        weights: flags.weights,
        tokenizer: flags.tokenizer,
        vocabulary: count('--vocab', flags.vocab),
        width: count('--width', flags.width),
        layers: count('--layers', flags.layers),
        heads: count('--heads', flags.heads),
        headsKv: count('--heads-kv', flags.headsKv),
        feedForward: count('--ff', flags.ff),
        context: count('--context', flags.context),
        seed: BigInt(count('--seed', flags.seed, 0))
      }
      await writeRandomModel(out, options)
      const { size } = await stat(out)
      const facts = { path: out, bytes: size, sha256: await sha256(out), ...options, seed: Number(options.seed) }
      terminal.stdout.write(flags.json ? `${JSON.stringify({ ...machine(), ...facts }, null, 2)}\n` : text(facts))
    })
}

/** What wrote it. */
function machine() {
  const { binding } = loadBinding()
  return machineOf({ addon: binding.addonVersion, llama: binding.llamaVersion(), devices: binding.devices() })
}

function count(flag: string, text: string, low = 1): number {
  const number = Number(text)
  if (Number.isSafeInteger(number) && number >= low && number < 2 ** 31) return number
  throw new WinnowError('OPTION_INVALID', `Expected an integer of at least ${low} for ${flag} but received "${text}"`)
}

function text(facts: Record<string, string | number>): string {
  return Object.entries(facts)
    .map(([name, value]) => `${name.padEnd(14)}${value}\n`)
    .join('')
}
