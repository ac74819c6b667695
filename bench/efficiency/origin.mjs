// Where a results file comes from: the versions and the command.
import { readFileSync } from 'node:fs'
import { isAbsolute, join, relative } from 'node:path'
import { llamaRelease } from '../../native/setup/headers.mjs'

const root = new URL('../..', import.meta.url).pathname

export function versions() {
  const versionOf = (path) => JSON.parse(readFileSync(path, 'utf8')).version
  return {
    winnow: versionOf(join(root, 'package.json')),
    node: process.version,
    nodeLlamaCpp: versionOf(new URL('../package.json', import.meta.resolve('node-llama-cpp'))),
    llama: llamaRelease()
  }
}

/** What was typed to run `script`, without this machine's folders. */
export function typed(script) {
  const plain = process.argv.slice(2).map((word) => (isAbsolute(word) ? relative(root, word) : word))
  return [`node ${script}`, ...plain].join(' ')
}
