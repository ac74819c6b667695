import { appendFile, readFile, truncate, writeFile } from 'node:fs/promises'
import { expected, WinnowError } from '../errors.js'
import type { Row } from '../trial.js'

/** Everything that must be the same for rows to belong together. */
export type Identity = Readonly<Record<string, unknown>>

/**
 * A bench's rows as they come, one JSON object a line after a first line that says under what conditions. What was
 * written before an interruption is taken up; half a line at the end, cut off by a crash, is dropped.
 */
export class BenchFile {
  readonly path: string
  readonly done: readonly Row[]

  private constructor(path: string, done: readonly Row[]) {
    this.path = path
    this.done = done
  }

  /** Throws RESULTS_MISMATCH when the file was written under other conditions. */
  static async open(path: string, identity: Identity): Promise<BenchFile> {
    const header = JSON.stringify({ type: 'bench', ...identity })
    const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return ''
      throw cannotWrite(path, error)
    })
    const whole = text.slice(0, text.lastIndexOf('\n') + 1)
    if (whole === '') {
      // A file cut off within its first line is ours only as far as that line goes.
      if (!header.startsWith(text)) throw expected('RESULTS_MISMATCH', 'a file written by winnow bench', '--out', path)
      await writeFile(path, `${header}\n`).catch((error: unknown) => Promise.reject(cannotWrite(path, error)))
      return new BenchFile(path, [])
    }
    const [first, ...lines] = whole.trimEnd().split('\n')
    if (first !== header) throw mismatch(path, first as string, identity)
    if (whole.length < text.length) await truncate(path, Buffer.byteLength(whole))
    const entries = lines.map((line) => JSON.parse(line) as Row & { type: string })
    return new BenchFile(
      path,
      entries.filter(({ type }) => type === 'row').map(({ type: _, ...row }) => row)
    )
  }

  async append(type: 'row' | 'failure', entry: object): Promise<void> {
    try {
      await appendFile(this.path, `${JSON.stringify({ type, ...entry })}\n`)
    } catch (error) {
      throw cannotWrite(this.path, error)
    }
  }
}

function cannotWrite(path: string, error: unknown): WinnowError {
  const message = error instanceof Error ? error.message : String(error)
  return new WinnowError('WRITE_FAILED', `Expected to write ${path} but received ${message}`, { cause: error })
}

function mismatch(path: string, header: string, identity: Identity): WinnowError {
  let before: Record<string, unknown>
  try {
    before = JSON.parse(header) as Record<string, unknown>
  } catch {
    return expected('RESULTS_MISMATCH', 'a file written by winnow bench', '--out', path)
  }
  const differs = Object.keys(identity).filter((key) => JSON.stringify(before[key]) !== JSON.stringify(identity[key]))
  const how = `${path}, written under another ${differs.join(', ') || 'version'}`
  return new WinnowError(
    'RESULTS_MISMATCH',
    `Expected a new file or one of the same conditions for --out but received ${how}`
  )
}
