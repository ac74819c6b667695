import { availableParallelism } from 'node:os'
import type { OpenOptions } from '../options.js'
import type { Terminal } from './terminal.js'

/**
 * With the number of threads that will compute: 0 becomes one a core, and more than that are cut down with a note.
 * llama.cpp's threads wait for each other in a busy loop: beyond the cores they keep the others from computing.
 */
export function withThreads<Options extends OpenOptions>(
  options: Options,
  terminal: Terminal,
  quiet: boolean,
  cores = availableParallelism()
): Options {
  const { threads = 0 } = options
  if (threads > cores && !quiet) {
    terminal.stderr.write(`Using ${cores} of the ${threads} threads asked for: one a core.\n`)
  }
  return { ...options, threads: threads === 0 ? cores : Math.min(threads, cores) }
}
