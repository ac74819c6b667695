import { readFileSync } from 'node:fs'

/** Where text goes: a stream, and whether a person watches it. */
export interface Output {
  write(text: string): void
  readonly isTTY: boolean
  /** Characters a line. */
  readonly columns: number
  /** Lines. */
  readonly rows: number
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

/** Whether a person watches stderr. A build server may offer a terminal and says by `CI` that nobody does. */
export function isWatched({ env, stderr }: Terminal): boolean {
  const { CI = '' } = env
  return stderr.isTTY && (CI === '' || CI === '0' || CI === 'false')
}

/** Whether to colour stderr: `FORCE_COLOR` over `NO_COLOR` over whether a person watches. */
export function wantsColor(terminal: Terminal): boolean {
  const { FORCE_COLOR = '', NO_COLOR = '' } = terminal.env
  if (FORCE_COLOR !== '' && FORCE_COLOR !== '0') return true
  return NO_COLOR === '' && isWatched(terminal)
}

function output(stream: NodeJS.WriteStream): Output {
  return {
    write: (text) => void stream.write(text),
    get isTTY() {
      return stream.isTTY === true
    },
    get columns() {
      return stream.columns ?? 80
    },
    get rows() {
      return stream.rows ?? 24
    }
  }
}
