// The models that are measured on, and how their prompts are made.

import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync } from 'node:fs'
import { dirname, join } from 'node:path'

const root = new URL('../..', import.meta.url).pathname

export const models = {
  embedded: {
    path: join(root, 'models', 'winnow-arith.gguf'),
    about: '3.3 M parameters, vocabulary of 576, F16, trained context 1024',
    context: 1024,
    charactersPerToken: 3.2,
    frame: ['<|problem|>', '<|solution|>'],
    // It ends its answers by itself.
    end: { token: 1, bias: 0 }
  },
  large: {
    path: join(root, 'build', 'efficiency', 'large.gguf'),
    about: '125 M parameters at random, vocabulary of 32000, F16',
    context: 2048,
    charactersPerToken: 1.55,
    frame: ['', ''],
    // Its end token is one of 32000 alike: raised so that about one in 32 tokens ends a candidate.
    end: { token: 2, bias: 8.4 },
    make: [
      ...['--vocab', '32000', '--width', '768', '--layers', '12', '--heads', '12', '--heads-kv', '4', '--ff', '2048'],
      ...['--seed', '1']
    ]
  }
}

/** The file of a model, made where it is one of random weights and not there yet. */
export function pathOf(name) {
  const { path, make } = models[name]
  if (make !== undefined && !existsSync(path)) {
    mkdirSync(dirname(path), { recursive: true })
    const args = [join(root, 'dist', 'cli', 'main.js'), 'random-model', ...make, path]
    execFileSync(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] })
  }
  return path
}
