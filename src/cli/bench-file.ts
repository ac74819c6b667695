import { appendFile, readFile, truncate, writeFile } from 'node:fs/promises'
import { cannotWrite, expected, WinnowError } from '../errors.js'
import type { Row } from '../trial.js'
import type { Identity } from './bench-identity.js'

type Entry = { readonly type: 'failure' } | ({ readonly type: 'row' } & Row)

/**
 * A bench's rows as they come, one JSON object a line after a first line that says under what conditions. What was
 * written before an interruption is taken up; a last line that a crash cut off is dropped.
 */
export class BenchFile {
  readonly path: string
  readonly done: readonly Row[]

  private constructor(path: string, done: readonly Row[]) {
    this.path = path
    this.done = done
  }

  /**
   * Throws RESULTS_MISMATCH when the file is no bench's or was written under other conditions, RESULTS_CORRUPT with
   * the number of a line that cannot be read, WRITE_FAILED.
   */
  static async open(path: string, identity: Identity): Promise<BenchFile> {
    const header = JSON.stringify({ type: 'bench', ...identity })
    const bytes = await readFile(path).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return Buffer.of()
      throw cannotWrite(path, error)
    })
    const whole = bytes.subarray(0, bytes.lastIndexOf('\n') + 1)
    if (whole.length === 0) {
      // A file cut off within its first line is ours only as far as that line goes.
      if (!header.startsWith(bytes.toString())) throw foreign(path)
      await writing(path, writeFile(path, `${header}\n`))
      return new BenchFile(path, [])
    }
    const lines = whole.toString().trimEnd().split('\n')
    if (lines[0] !== header) throw mismatch(path, lines[0] as string, identity)
    const entries = lines.slice(1).map(entryOf)
    // Disks may lose the end of the last line and keep its length.
    const torn = entries.length > 0 && entries.at(-1) === null
    if (torn) entries.pop()
    const corrupt = entries.indexOf(null)
    if (corrupt >= 0) throw unreadable(path, corrupt + 2, lines[corrupt + 1] as string)
    const kept = torn ? Buffer.byteLength(lines.slice(0, -1).join('\n')) + 1 : whole.length
    if (kept < bytes.length) await writing(path, truncate(path, kept))
    return new BenchFile(path, entries.flatMap(rowIn))
  }

  async append(type: 'row' | 'failure', entry: object): Promise<void> {
    await writing(this.path, appendFile(this.path, `${JSON.stringify({ type, ...entry })}\n`))
  }
}

/** Null for a line that `append` did not write, or not to its end. */
function entryOf(line: string): Entry | null {
  let value: (Partial<Row> & { readonly type?: unknown }) | null
  try {
    value = JSON.parse(line)
  } catch {
    return null
  }
  if (value?.type === 'failure') return { type: 'failure' }
  const { prompt, arm, setting, n, generatedTokens, processedTokens, wallSeconds, peakCells, seconds, kills } =
    value ?? {}
  const numbers = [prompt, n, generatedTokens, processedTokens, wallSeconds, peakCells]
  const counted = numbers.every((number) => typeof number === 'number' && number >= 0)
  const named = typeof arm === 'string' && typeof setting === 'string'
  const timed = typeof seconds === 'object' && seconds !== null
  const isRow = value?.type === 'row' && counted && named && timed && areKills(kills)
  return isRow ? (value as Entry) : null
}

/** What another arm is to kill must be numbers that a race can have; rows of earlier versions have none. */
function areKills(kills: unknown): boolean {
  if (kills === undefined) return true
  const isCount = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 1
  return Array.isArray(kills) && kills.every((kill) => isCount(kill?.tokens) && isCount(kill?.killed))
}

function rowIn(entry: Entry | null): Row[] {
  if (entry?.type !== 'row') return []
  const { type: _, ...row } = entry
  return [row]
}

async function writing(path: string, job: Promise<void>): Promise<void> {
  try {
    await job
  } catch (error) {
    throw cannotWrite(path, error)
  }
}

function foreign(path: string): WinnowError {
  return expected('RESULTS_MISMATCH', 'a new file or one written by winnow bench', '--out', path)
}

function unreadable(path: string, line: number, text: string): WinnowError {
  return expected('RESULTS_CORRUPT', 'a row of winnow bench', `line ${line} of ${path}`, text)
}

function mismatch(path: string, header: string, identity: Identity): WinnowError {
  let before: Record<string, unknown> | null
  try {
    before = JSON.parse(header)
  } catch {
    return foreign(path)
  }
  if (before?.type !== 'bench') return foreign(path)
  const keys = new Set([...Object.keys(identity), ...Object.keys(before)])
  keys.delete('type')
  const differs = [...keys].filter((key) => JSON.stringify(before[key]) !== JSON.stringify(identity[key]))
  const how = `${path}, which differs in ${differs.join(', ') || 'the order of its keys'}`
  return new WinnowError(
    'RESULTS_MISMATCH',
    `Expected a new file or one of the same conditions for --out but received ${how}`
  )
}
