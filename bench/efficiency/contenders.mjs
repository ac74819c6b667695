// Who takes part, and with what: each in the configuration that does best at this work, in words for the results file.
import { existsSync } from 'node:fs'
import { join, relative } from 'node:path'
import { installedVariants } from '../../dist/libraries.js'
import { llamaRelease } from '../../native/setup/headers.mjs'
import { targetOf } from './cells.mjs'
import { models } from './models.mjs'

const root = new URL('../..', import.meta.url).pathname
const driver = (name) => [process.execPath, join(root, 'bench', 'drivers', `${name}.mjs`)]
const baseline = (name) => join(root, 'build', 'baselines', name)
const server = join(root, 'build', 'llama-server', llamaRelease(), 'build', 'bin', 'llama-server')

/** Rows of a decode call on the CPU for which more bring nothing: llama.cpp's kernels are then bound by arithmetic. */
const wide = 64

/**
 * Where one cache for all is faster on the CPU than a stream each, for Winnow as for the server: the prompt is most of what
 * attention reads, and there are as many rows as llama.cpp's kernel takes at once. With 16 or 256 candidates it is not.
 */
function readsLess({ n, promptTokens }) {
  return n === 64 && promptTokens === 1000
}

/**
 * `streams(cell)`: sequences decoded at once. `command`: program and what comes before the shared arguments; `flags(cell)`:
 * what it is given besides. `needs`: what is built beforehand, and by what command. `only`: in which cells it differs.
 */
export const contenders = {
  winnow: {
    about:
      'engine.bestOf, several prompts by engine.map; bestOfN(), head: null; layout unified for 64 candidates to a prompt of 1000',
    command: driver('winnow'),
    flags: (cell) => [
      ...['--prompt-tokens', `${targetOf(cell)}`, '--length', `${cell.length}`],
      ...(readsLess(cell) ? ['--layout', 'unified'] : [])
    ],
    streams: ({ n }) => n
  },
  'decode-loop': {
    about: 'C++: the prompt decoded once and copied, llama_decode on all streams; no sampling, no text',
    command: [baseline('decode_loop'), '--libs', libraries()],
    // It samples nothing, so it knows no end.
    only: ({ ends }) => !ends,
    needs: [baseline('decode_loop'), 'npm run build:baselines'],
    streams: streamsOf
  },
  'advance-loop': {
    about: "C++: Winnow's pool without the library around it; sampling and states, no text",
    command: [baseline('advance_loop'), '--libs', libraries()],
    only: ({ ends }) => !ends,
    needs: [baseline('advance_loop'), 'npm run build:baselines'],
    streams: streamsOf
  },
  'node-llama-cpp': {
    about:
      'one context, a sequence for each candidate; with several prompts a sequence for each prompt, which writes its candidates one after another',
    command: driver('node-llama-cpp'),
    streams: sequencesOf
  },
  'node-llama-cpp-states': {
    about: 'as node-llama-cpp, the prompt decoded in one sequence and handed to the others as a state file',
    command: [...driver('node-llama-cpp'), '--share', 'states'],
    streams: sequencesOf,
    only: ({ prompts }) => prompts === 1
  },
  'llama-server': {
    about:
      'POST /completion with n, a request a prompt; as many slots as are decoded at once, with a cache stream each, or with --kv-unified where that is faster (64 candidates to a prompt of 1000)',
    command: [...driver('llama-server'), '--server', server],
    flags: (cell) => (readsLess(cell) ? ['--flags=--kv-unified'] : []),
    needs: [server, 'node bench/baselines/server.mjs'],
    streams: streamsOf
  }
}

function libraries() {
  return installedVariants().find(({ variant }) => variant === 'cpu')?.folder ?? ''
}

/** Several prompts are decoded beside each other until a decode call is wide. */
function streamsOf({ n, prompts }) {
  return Math.max(n, Math.min(n * prompts, Math.floor(wide / n) * n))
}

function sequencesOf({ n, prompts }) {
  return prompts === 1 ? n : Math.min(prompts, wide)
}

/** The command line of a contender in a cell, as an array. */
export function commandOf(name, cell) {
  const { command, streams, flags } = contenders[name]
  const numbers = { n: cell.n, prompts: cell.prompts, streams: streams(cell), cells: cell.cells, threads: cell.threads }
  const shared = Object.entries(numbers).flatMap(([key, value]) => [`--${key}`, `${value}`])
  return [...command, ...(flags?.(cell) ?? []), ...endingOf(cell), '--model', cell.path, ...shared]
}

function endingOf({ model, ends }) {
  const { token, bias } = models[model].end
  return ends ? ['--end-token', String(token), '--end-bias', String(bias)] : []
}

/** Throws where one of them is unknown or not built. */
export function checkContenders(names) {
  for (const name of names) {
    const contender = contenders[name]
    if (contender === undefined) {
      throw new Error(`Expected some of ${Object.keys(contenders).join(', ')} for --contenders but received ${name}`)
    }
    const [path, how] = contender.needs ?? []
    if (path !== undefined && !existsSync(path)) {
      throw new Error(`Expected ${relative(root, path)} for ${name} but it is not built: ${how}`)
    }
  }
}
