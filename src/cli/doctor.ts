import { Command, Option } from 'commander'
import { type Examination, examine } from '../doctor.js'
import type { Gpu } from '../libraries.js'
import { exit } from './exit.js'
import type { Terminal } from './terminal.js'

export function doctorCommand(terminal: Terminal, finish: (code: number) => void): Command {
  return new Command('doctor')
    .description('say what this machine has of what winnow needs, and decode a few tokens to prove it')
    .addOption(
      new Option('--gpu <variant>', 'llama.cpp libraries to load')
        .choices(['auto', 'cuda', 'vulkan', 'metal', 'cpu'])
        .default('auto')
        .env('WINNOW_GPU')
    )
    .option('--json', 'print the result as JSON (default: text)', false)
    .action(async ({ gpu, json }: { gpu: Gpu; json: boolean }) => {
      const examination = await examine(gpu)
      terminal.stdout.write(json ? `${JSON.stringify(examination, null, 2)}\n` : text(examination))
      for (const { problem, remedy } of examination.problems) terminal.stderr.write(`${problem}\n${remedy}\n`)
      if (!examination.ok) finish(exit.environment)
    })
}

function text({ versions, hardware, installed, libraries, devices, smoke, ok }: Examination): string {
  const rows: [string, string][] = [
    ['winnow', versions.winnow],
    ['Node', `${versions.node} (needs ${versions.nodeRequired} or later)`],
    ['Machine', `${hardware.platform}, ${hardware.cpu}, ${hardware.cores} cores, ${memory(hardware)}`],
    [
      'Addon',
      versions.addon === null ? 'not loaded' : `${versions.addon}, compiled for llama.cpp ${versions.llamaCompiled}`
    ],
    ['llama.cpp', libraries === null ? 'not loaded' : `${versions.llamaLoaded}, ${libraries.variant} libraries`],
    ...(libraries?.tried ?? []).map(({ variant, ok: loaded, reason }): [string, string] => [
      `  ${variant}`,
      `${loaded ? 'loaded' : 'not loaded'}${reason === null ? '' : `: ${reason}`}`
    ]),
    ...(libraries === null ? installed.map(({ variant, folder }): [string, string] => [`  ${variant}`, folder]) : []),
    ...devices.map((device): [string, string] => [
      'Device',
      `${device.name}, ${device.description}, ${memory(device)}`
    ]),
    [
      'Decode',
      smoke === null
        ? 'failed'
        : `${smoke.tokens} tokens of ${smoke.branches} branches, ${smoke.tokensPerSecond} a second`
    ]
  ]
  const lines = rows.map(([name, value]) => `${name.padEnd(11)}${value}`)
  return `${[...lines, ok ? 'Everything winnow needs is here.' : 'Something is missing.'].join('\n')}\n`
}

function memory({ memoryTotal, memoryFree }: { memoryTotal: number; memoryFree: number }): string {
  const gigabytes = (bytes: number) => (bytes / 1e9).toFixed(1)
  return `${gigabytes(memoryFree)} of ${gigabytes(memoryTotal)} GB free`
}
