/**
 * Results that outlive the process: one JSON object a line, a first line that says what was run, and in each line a
 * checksum over its own bytes and the checksum of the line before, so that a line that was changed, lost or put in is
 * seen. A result is acknowledged once it is on the disk; many that come at a time share one sync. What a crash cuts off in
 * the middle of a line, the last one, is dropped; damage of any other kind is refused.
 */
import { createHash } from 'node:crypto'
import { type FileHandle, open } from 'node:fs/promises'
import { dirname } from 'node:path'
import { Chain } from './chain.js'
import { Claim } from './claim.js'
import { cannotWrite, expected, WinnowError } from './errors.js'
import { chunksOf, type Line, linesOf } from './lines.js'
import { isObject } from './sources/strict-json.js'

/** What was run with: whatever JSON can say. Results that belong together have the same. */
export type Conditions = Readonly<Record<string, unknown>>

/** A result as the journal keeps it; `key` and `crc32` are the journal's own. */
export type Entry = Readonly<Record<string, unknown>> & { readonly key?: never; readonly crc32?: never }

/** Of the file's form. */
const journalVersion = 1
const opening = '{"journal":'

interface Place {
  readonly start: number
  readonly length: number
  /** From 1, the header's. */
  readonly line: number
}

export class Journal {
  readonly path: string
  /** SHA-256 of the conditions, hexadecimal. */
  readonly identity: string
  readonly #file: FileHandle
  readonly #claim: Claim
  /** Where the line of each key lies. The text stays in the file. */
  readonly #places = new Map<string, Place>()
  /** Bytes of the file once everything asked for is written. */
  #end = 0
  readonly #chain = new Chain()
  #waiting: Buffer[] = []
  /** The write that takes what is waiting; null while nothing waits. */
  #next: Promise<void> | null = null
  /** The latest write. Once one has failed every later one fails with the same: what the file then ends with is unknown. */
  #last: Promise<void> = Promise.resolve()
  #closed: Promise<void> | null = null

  private constructor(path: string, identity: string, file: FileHandle, claim: Claim) {
    this.path = path
    this.identity = identity
    this.#file = file
    this.#claim = claim
  }

  /**
   * Opens the journal of these conditions at `path`, or begins one. No other process may have it open.
   *
   * Throws RESULTS_BUSY; RESULTS_MISMATCH where the file is something else, of another version or of other conditions;
   * RESULTS_CORRUPT with the number of the damaged line; WRITE_FAILED. A file that is refused stays as it is.
   */
  static async open(path: string, conditions: Conditions): Promise<Journal> {
    const claim = await Claim.take(path)
    try {
      const file = await open(path, 'a+').catch((error: unknown) => Promise.reject(cannotWrite(path, error)))
      const journal = new Journal(path, contentKey(conditions), file, claim)
      await journal.#load(conditions).catch(async (error: unknown) => {
        await file.close()
        throw error
      })
      return journal
    } catch (error) {
      await claim.release()
      throw error
    }
  }

  /** Results in it. */
  get size(): number {
    return this.#places.size
  }

  has(key: string): boolean {
    return this.#places.has(key)
  }

  /**
   * The result of a key whose `append` has resolved, here or in an earlier process; null without one. Throws
   * RESULTS_CORRUPT.
   */
  async read(key: string): Promise<Entry | null> {
    const place = this.#places.get(key)
    if (place === undefined) return null
    const { buffer } = await this.#file.read({ buffer: Buffer.alloc(place.length), position: place.start })
    const line = parsed(buffer)
    if (line === null) throw corrupt(this.path, place.line, buffer)
    const { key: _, crc32: __, ...entry } = line
    return entry as Entry
  }

  /** To refuse a result of which `received` is wrong although its line is whole. */
  corruption(key: string, received: string): WinnowError {
    const where = `line ${this.#places.get(key)?.line} of ${this.path}`
    return new WinnowError('RESULTS_CORRUPT', `Expected a result for ${where} but received ${received}`)
  }

  /** Resolves once the result is on the disk. Throws OPTION_INVALID for a key that is there, WRITE_FAILED. */
  async append(key: string, entry: Entry): Promise<void> {
    if (this.#places.has(key)) throw expected('OPTION_INVALID', 'a key without a result', this.path, key)
    const line = this.#seal({ key, ...entry })
    this.#places.set(key, { start: this.#end - line.length, length: line.length - 1, line: this.size + 2 })
    return this.#write(line)
  }

  /** Waits for what is being written. Idempotent. */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    // Whoever appended has been told what failed.
    await this.#last.catch(() => {})
    await this.#file.close()
    await this.#claim.release()
  }

  async #load(conditions: Conditions): Promise<void> {
    const lines = linesOf(chunksOf(this.#file))
    const { value: first } = await lines.next()
    if (first?.ended !== true) return this.#begin(conditions, first?.bytes ?? Buffer.of())
    this.#checkHeader(first.bytes, conditions)
    this.#end = first.bytes.length + 1
    await this.#takeUp(lines)
  }

  /** A header that was cut off is ours only as far as it goes. */
  async #begin(conditions: Conditions, torn: Buffer): Promise<void> {
    const line = this.#seal({ journal: journalVersion, identity: this.identity, conditions })
    if (!line.subarray(0, torn.length).equals(torn)) throw foreign(this.path)
    await this.#truncate(0)
    await this.#write(line)
    await syncFolder(this.path)
  }

  #checkHeader(bytes: Buffer, conditions: Conditions): void {
    const header = journalHeader(bytes, this.#chain, this.path)
    if (header.identity !== this.identity) throw mismatch(this.path, header.conditions, conditions)
  }

  async #takeUp(lines: AsyncIterable<Line>): Promise<void> {
    let number = 1
    for await (const line of lines) {
      number++
      // Only the last line has no end, and then nobody was told that it is there.
      if (!line.ended) return this.#truncate(line.start)
      this.#take(line, number)
    }
  }

  /** Notes where a result lies. */
  #take({ bytes, start }: Line, number: number): void {
    const [, key] = /^\{"key":"([0-9a-f]{64})"/.exec(bytes.toString('latin1', 0, 80)) ?? []
    if (key === undefined || !this.#chain.holds(bytes)) throw corrupt(this.path, number, bytes)
    if (this.#places.has(key)) {
      throw expected('RESULTS_CORRUPT', 'a key that no line before has', `line ${number} of ${this.path}`, key)
    }
    this.#places.set(key, { start, length: bytes.length, line: number })
    this.#end = start + bytes.length + 1
  }

  #seal(value: object): Buffer {
    const line = this.#chain.seal(value)
    this.#end += line.length
    return line
  }

  #write(line: Buffer): Promise<void> {
    this.#waiting.push(line)
    if (this.#next === null) {
      this.#next = this.#last.then(() => this.#commit())
      this.#last = this.#next
    }
    return this.#next
  }

  async #commit(): Promise<void> {
    const lines = this.#waiting
    this.#waiting = []
    // Who comes from here on shares the next.
    this.#next = null
    try {
      await this.#file.appendFile(Buffer.concat(lines))
      await this.#file.datasync()
    } catch (error) {
      throw cannotWrite(this.path, error)
    }
  }

  async #truncate(length: number): Promise<void> {
    await this.#file.truncate(length).catch((error: unknown) => Promise.reject(cannotWrite(this.path, error)))
  }
}

/** The first line of a journal. Throws RESULTS_MISMATCH, RESULTS_CORRUPT. */
export function journalHeader(
  bytes: Buffer,
  chain: Chain,
  path: string
): { readonly identity: unknown; readonly conditions: unknown } {
  if (bytes.toString('latin1', 0, opening.length) !== opening) throw foreign(path)
  const header = parsed(bytes)
  if (header === null) throw corrupt(path, 1, bytes)
  const { journal, identity, conditions } = header
  if (journal !== journalVersion) {
    throw expected('RESULTS_MISMATCH', `a journal of version ${journalVersion}`, path, journal)
  }
  if (!chain.holds(bytes)) throw corrupt(path, 1, bytes)
  return { identity, conditions }
}

/** A result as its line has it, with `key` and `crc32`. Throws RESULTS_CORRUPT. */
export function journalEntry(
  bytes: Buffer,
  chain: Chain,
  line: number,
  path: string
): Readonly<Record<string, unknown>> {
  const entry = chain.holds(bytes) ? parsed(bytes) : null
  if (typeof entry?.key !== 'string') throw corrupt(path, line, bytes)
  return entry
}

/** SHA-256, hexadecimal, of a value as canonical JSON: alike values have it alike, whatever the order of their keys. */
export function contentKey(value: unknown): string {
  return createHash('sha256').update(canonical(value)).digest('hex')
}

function canonical(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) =>
    isObject(inner) ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1))) : inner
  )
}

function parsed(bytes: Buffer): Readonly<Record<string, unknown>> | null {
  try {
    return JSON.parse(bytes.toString())
  } catch {
    return null
  }
}

/** A new file is there after a power cut only once its folder is on the disk too. Windows opens no folders and needs none of it. */
async function syncFolder(path: string): Promise<void> {
  if (process.platform === 'win32') return
  const folder = await open(dirname(path))
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

function foreign(path: string): WinnowError {
  return expected('RESULTS_MISMATCH', 'a new file or a journal', 'the results', path)
}

function corrupt(path: string, line: number, bytes: Buffer): WinnowError {
  const text = bytes.toString('utf8', 0, 80)
  return expected('RESULTS_CORRUPT', 'a line as it was written', `line ${line} of ${path}`, text)
}

function mismatch(path: string, before: unknown, now: Conditions): WinnowError {
  const how = `${path}, which differs in ${differing(isObject(before) ? before : {}, now).join(', ')}`
  return new WinnowError(
    'RESULTS_MISMATCH',
    `Expected a new file or a journal of the same conditions for the results but received ${how}`
  )
}

/** The names of what differs, `outer.inner` where both sides have objects. */
function differing(before: Conditions, now: Conditions): string[] {
  return [...new Set([...Object.keys(before), ...Object.keys(now)])].flatMap((name) => {
    const [one, other] = [before[name], now[name]]
    if (canonical(one) === canonical(other)) return []
    return isObject(one) && isObject(other) ? differing(one, other).map((inner) => `${name}.${inner}`) : [name]
  })
}
