import { readFileSync } from 'node:fs'

/** Where text goes: a stream, and whether a person watches it. */
export interface Output {
  write(text: string): void
  readonly isTTY: boolean
  /** Characters a line. */
  readonly columns: number
}

/** The process as a command sees it, so that tests can stand in for it. */
export interface Terminal {
  readonly stdout: Output
  readonly stderr: Output
  readonly env: Readonly<Record<string, string | undefined>>
  readonly cwd: string
  /** All of standard input. */
  readStdin(): string
  /** Calls back on SIGINT and SIGTERM; returns how to stop that. */
  onSignal(callback: (signal: 'SIGINT' | 'SIGTERM') => void): () => void
  /** Ends the process at once. */
  exit(code: number): void
}

export function processTerminal(): Terminal {
  return {
    stdout: output(process.stdout),
    stderr: output(process.stderr),
    env: process.env,
    cwd: process.cwd(),
    readStdin: () => readFileSync(0, 'utf8'),
    onSignal(callback) {
      const listener = (signal: NodeJS.Signals) => callback(signal as 'SIGINT' | 'SIGTERM')
      process.on('SIGINT', listener).on('SIGTERM', listener)
      return () => void process.off('SIGINT', listener).off('SIGTERM', listener)
    },
    exit: (code) => process.exit(code)
  }
}

/** Whether to colour: `FORCE_COLOR` over `NO_COLOR` over whether a person watches. */
export function wantsColor(env: Terminal['env'], to: Output): boolean {
  if (env.FORCE_COLOR !== undefined && env.FORCE_COLOR !== '' && env.FORCE_COLOR !== '0') return true
  if (env.NO_COLOR !== undefined && env.NO_COLOR !== '') return false
  return to.isTTY
}

function output(stream: NodeJS.WriteStream): Output {
  return {
    write: (text) => void stream.write(text),
    get isTTY() {
      return stream.isTTY === true
    },
    get columns() {
      return stream.columns ?? 80
    }
  }
}
