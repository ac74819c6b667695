import type { Terminal } from '../../src/cli/terminal.js'

/** A terminal that remembers what was written to it and sends signals when told. */
export interface FakeTerminal extends Terminal {
  readonly out: () => string
  readonly err: () => string
  readonly exits: number[]
  send(signal: 'SIGINT' | 'SIGTERM'): void
}

export function fakeTerminal(
  options: {
    tty?: boolean
    columns?: number
    rows?: number
    env?: Record<string, string>
    cwd?: string
    stdin?: string
  } = {}
): FakeTerminal {
  const [out, err]: [string[], string[]] = [[], []]
  const listeners = new Set<(signal: 'SIGINT' | 'SIGTERM') => void>()
  const exits: number[] = []
  const output = (to: string[]) => ({
    write: (text: string) => void to.push(text),
    isTTY: options.tty ?? false,
    columns: options.columns ?? 80,
    rows: options.rows ?? 24
  })
  return {
    stdout: output(out),
    stderr: output(err),
    env: options.env ?? {},
    cwd: options.cwd ?? '/nowhere',
    readStdin: () => options.stdin ?? '',
    onSignal(callback) {
      listeners.add(callback)
      return () => listeners.delete(callback)
    },
    exit: (code) => void exits.push(code),
    out: () => out.join(''),
    err: () => err.join(''),
    exits,
    send(signal) {
      for (const listener of listeners) listener(signal)
    }
  }
}
