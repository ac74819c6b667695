import { type FileHandle, open, stat } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import { describe, expected, WinnowError } from '../errors.js'
import type { HubOptions } from './hub.js'
import { openHub } from './hub-source.js'
import { isObject, parseStrictJson } from './strict-json.js'

/** A file of a model, read in pieces. */
export interface SourceFile {
  /** As it appears in messages. */
  readonly path: string
  /** Bytes. */
  readonly size: number
  /** Exactly the bytes from `begin` to before `end`. */
  read(begin: number, end: number): Promise<Uint8Array>
}

/** A Hugging Face model: a folder, or a repository on the hub. */
export interface HeadSource {
  /** For people and for the head file: the folder's own name, or `hf:ORG/REPO@COMMIT`. */
  readonly name: string
  /** Bytes of files read so far. */
  readonly bytesRead: number
  /** Null when the model has no such file. */
  file(name: string): Promise<SourceFile | null>
  /** Idempotent. */
  close(): Promise<void>
}

/**
 * Opens `hf:ORG/REPO`, `hf:ORG/REPO@REVISION`, or a folder.
 *
 * Throws SOURCE_NOT_FOUND, OPTION_INVALID, HUB_FAILED, and the signal's reason.
 */
export function openSource(source: string, options: HubOptions = {}): Promise<HeadSource> {
  return source.startsWith('hf:') ? openHub(source, options) : openFolder(source, options.signal)
}

/** Bytes; the index of the largest models has a few million. */
const maxJson = 100_000_000
const maxJsonDepth = 64

/** A JSON object of a model; null when it has no such file. Throws SOURCE_INVALID. */
export async function readObject(source: HeadSource, name: string): Promise<Readonly<Record<string, unknown>> | null> {
  const file = await source.file(name)
  if (file === null) return null
  if (file.size > maxJson) throw invalid(file.path, `${file.size} bytes, more than ${maxJson}`)
  const bytes = await file.read(0, file.size)
  let value: unknown
  try {
    value = parseStrictJson(new TextDecoder('utf-8', { fatal: true }).decode(bytes), maxJsonDepth)
  } catch (error) {
    throw invalid(file.path, error instanceof SyntaxError ? error.message : 'text that is not UTF-8', error)
  }
  if (isObject(value)) return value
  throw invalid(file.path, describe(value))
}

function invalid(path: string, received: string, cause?: unknown): WinnowError {
  return new WinnowError('SOURCE_INVALID', `Expected a JSON object in ${path} but received ${received}`, { cause })
}

async function openFolder(folder: string, signal: AbortSignal | undefined): Promise<HeadSource> {
  const found = await stat(folder).catch(() => null)
  if (found === null || !found.isDirectory()) {
    throw expected('SOURCE_NOT_FOUND', 'a folder or hf:ORG/REPO', 'the reward model', folder)
  }
  const opened: FileHandle[] = []
  let bytesRead = 0
  return {
    name: basename(resolve(folder)),
    get bytesRead() {
      return bytesRead
    },
    async file(name) {
      signal?.throwIfAborted()
      const path = join(folder, name)
      const facts = await stat(path).catch(() => null)
      if (facts === null) return null
      // Opening a pipe would wait for whoever writes into it.
      if (!facts.isFile()) throw unreadable(path, 'which is not a file')
      const handle = await open(path).catch((error: Error) => Promise.reject(unreadable(path, error.message)))
      opened.push(handle)
      const { size } = facts
      return {
        path,
        size,
        async read(begin, end) {
          signal?.throwIfAborted()
          const bytes = Buffer.alloc(end - begin)
          const read = await handle.read(bytes, 0, bytes.length, begin).catch((error: Error) => {
            throw unreadable(path, error.message)
          })
          if (read.bytesRead !== bytes.length) throw unreadable(path, `${read.bytesRead} bytes of ${bytes.length}`)
          bytesRead += read.bytesRead
          return bytes
        }
      }
    },
    async close() {
      await Promise.all(opened.splice(0).map((handle) => handle.close()))
    }
  }
}

function unreadable(path: string, received: string): WinnowError {
  return new WinnowError('SOURCE_NOT_FOUND', `Expected to read ${path} but received ${received}`)
}
