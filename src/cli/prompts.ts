import { open, readFile, stat } from 'node:fs/promises'
import { expected, WinnowError } from '../errors.js'
import { chunksOf, linesOf } from '../lines.js'
import type { MapPrompt } from '../map.js'
import { parseObject, problemOf } from '../problems.js'
import type { RecordedProblem } from '../traces/record.js'
import type { Terminal } from './terminal.js'

export const promptFormats: readonly string[] = ['jsonl', 'lines']

/** The prompts of a file, read as they are asked for. */
export interface Prompts<T = MapPrompt> {
  readonly count: number
  all(): AsyncGenerator<T, void, undefined>
}

/**
 * The prompts in a file, or in standard input for "-". `jsonl`: one object a line with "prompt" (text or messages) or
 * "messages", and "id" where there is one; other keys are nobody's business. `lines`: each line is a prompt. Empty lines are
 * skipped. A file is read twice, first to refuse what is wrong in it; only what can be read but once is held in memory.
 *
 * Throws PROBLEMS_NOT_FOUND, and PROBLEMS_INVALID with the number of the line.
 */
export async function openPrompts(path: string, format: string, terminal: Terminal): Promise<Prompts> {
  return openLines(path, terminal, format === 'lines' ? (line: string) => line : promptOf)
}

/** Every so many problems one, from one of the first on: 1 of 1 is all. */
export interface Part {
  readonly part: number
  readonly parts: number
}

/** The same with the right answers where they are known, and their places; a part of the first `limit`, 0 for all. */
export async function openProblems(
  path: string,
  limit: number,
  { part, parts }: Part,
  terminal: Terminal
): Promise<Prompts<RecordedProblem>> {
  const { count, all } = await openLines(path, terminal, recordedOf)
  const most = limit === 0 ? count : Math.min(limit, count)
  return {
    count: Math.max(0, Math.ceil((most - part + 1) / parts)),
    async *all() {
      let place = 0
      for await (const problem of all()) {
        if (place === most) return
        if (place % parts === part - 1) yield { ...problem, place }
        place++
      }
    }
  }
}

async function openLines<T>(
  path: string,
  terminal: Terminal,
  parse: (line: string, where: string) => T
): Promise<Prompts<T>> {
  const name = path === '-' ? 'standard input' : path
  const chunks = await chunksIn(path, terminal)
  const all = () => promptsIn(chunks(), name, parse)
  let count = 0
  for await (const _ of all()) count++
  if (count === 0) throw expected('PROBLEMS_INVALID', 'at least one prompt', name, 'none')
  return { count, all }
}

async function* promptsIn<T>(
  chunks: Iterable<Buffer> | AsyncIterable<Buffer>,
  name: string,
  parse: (line: string, where: string) => T
): AsyncGenerator<T, void, undefined> {
  let number = 0
  for await (const { bytes } of linesOf(chunks)) {
    number++
    const text = bytes.toString().replace(/\r$/, '')
    const line = number === 1 ? text.replace(/^\uFEFF/, '') : text
    if (line.trim() !== '') yield parse(line, `line ${number} of ${name}`)
  }
}

function promptOf(line: string, where: string): MapPrompt {
  const { answer: _, ...prompt } = recordedOf(line, where, false)
  return prompt
}

/** With the answer where it is somebody's business. */
function recordedOf(line: string, where: string, answered = true): RecordedProblem {
  const { id, prompt: text, messages, answer: right } = parseObject(line, where)
  const { prompt, answer } = problemOf({ prompt: text ?? messages, ...(answered && { answer: right }) }, where)
  if (id === undefined || id === null) return { prompt, answer }
  if (typeof id === 'string' || typeof id === 'number') return { id: String(id), prompt, answer }
  throw expected('PROBLEMS_INVALID', 'text or a number as "id"', where, id)
}

/** What can be read but once, such as a pipe, is read now. */
async function chunksIn(path: string, terminal: Terminal): Promise<() => Iterable<Buffer> | AsyncIterable<Buffer>> {
  if (path === '-') {
    const bytes = Buffer.from(terminal.readStdin())
    return () => [bytes]
  }
  try {
    if ((await stat(path)).isFile()) return () => chunksAt(path)
    const bytes = await readFile(path)
    return () => [bytes]
  } catch (error) {
    throw unreadable(path, error)
  }
}

async function* chunksAt(path: string): AsyncGenerator<Buffer, void, undefined> {
  const file = await open(path).catch((error: unknown) => Promise.reject(unreadable(path, error)))
  try {
    yield* chunksOf(file)
  } finally {
    await file.close()
  }
}

function unreadable(path: string, error: unknown): WinnowError {
  const { code, message } = error as NodeJS.ErrnoException
  const received = code === 'ENOENT' ? `${path}, which does not exist` : `${path}: ${message}`
  return new WinnowError('PROBLEMS_NOT_FOUND', `Expected a file of prompts but received ${received}`, { cause: error })
}
