import { WinnowError } from '../errors.js'
import type { Terminal } from './terminal.js'

/** Exit codes of the command line. */
export const exit = {
  done: 0,
  /** Failed at run time: a missing or corrupt model, head or prompts file among them. */
  failed: 1,
  /** Wrong usage or configuration. */
  usage: 2,
  /** Finished, but some items failed. */
  partial: 3,
  /** The environment is unusable: no addon, no memory. */
  environment: 4,
  SIGINT: 130,
  SIGTERM: 143
} as const

const usage: ReadonlySet<string> = new Set([
  'OPTION_INVALID',
  'OPTION_UNKNOWN',
  'CONFIG_INVALID',
  'PROMPT_EMPTY',
  'PROMPT_INVALID',
  'GRAMMAR_INVALID',
  'TOKEN_INVALID',
  'DEVICE_UNKNOWN',
  'HEAD_MISSING',
  'RESULTS_MISMATCH'
])

const environment: ReadonlySet<string> = new Set([
  'ADDON_MISSING',
  'ADDON_MISMATCH',
  'VERSION_MISMATCH',
  'VARIANT_UNAVAILABLE',
  'BACKEND_LOAD',
  'OUT_OF_MEMORY'
])

export function exitCodeOf(error: unknown): number {
  if (!WinnowError.is(error)) return exit.failed
  if (error.code === 'INTERRUPTED') return error.cause === 'SIGTERM' ? exit.SIGTERM : exit.SIGINT
  if (usage.has(error.code)) return exit.usage
  return environment.has(error.code) ? exit.environment : exit.failed
}

/** A person's wish to stop. */
export interface Interruption {
  /** Aborted by the first signal. */
  readonly signal: AbortSignal
  /** The exit code of the signal that came, or null. */
  readonly code: number | null
  /** Stop listening. */
  release(): void
}

/** The exit code of a command that was interrupted before it had written `out`. Throws what is no interruption. */
export function nothingWritten(terminal: Terminal, { code }: Interruption, out: string, error: unknown): number {
  if (code === null) throw error
  terminal.stderr.write(`Nothing was written to ${out}.\n`)
  return code
}

/** What an orderly end may take before the process is ended anyway. */
const graceMs = 4500

/**
 * The first SIGINT or SIGTERM asks for an orderly end, which is given less than five seconds; a second one ends the
 * process at once.
 */
export function onInterrupt(terminal: Terminal): Interruption {
  const controller = new AbortController()
  let code: number | null = null
  let timer: NodeJS.Timeout | undefined
  const stop = terminal.onSignal((signal) => {
    if (code !== null) return terminal.exit(exit[signal])
    const own = exit[signal]
    code = own
    terminal.stderr.write('\nStopping after this step; interrupt again to stop at once.\n')
    timer = setTimeout(() => terminal.exit(own), graceMs)
    timer.unref()
    controller.abort(new WinnowError('INTERRUPTED', `Interrupted by ${signal}`, { cause: signal }))
  })
  return {
    signal: controller.signal,
    get code() {
      return code
    },
    release() {
      stop()
      clearTimeout(timer)
    }
  }
}
