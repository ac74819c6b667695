import { readFile } from 'node:fs/promises'
import { describe, expected, WinnowError } from './errors.js'
import type { ChatMessage, PromptInput } from './prompt.js'
import { isObject } from './sources/strict-json.js'

export interface Problem {
  readonly prompt: PromptInput
  /** The right answer, where it is known. */
  readonly answer: string | null
}

/**
 * Reads problems, one JSON object a line: `{"prompt": text or messages, "answer": text or number}`, the answer
 * optional and compared as verifier.ts says; empty lines are skipped. Throws PROBLEMS_NOT_FOUND, or PROBLEMS_INVALID with the number of the line.
 */
export async function readProblems(path: string, limit?: number): Promise<Problem[]> {
  return readLines(path, limit, parseProblem)
}

/** The lines of a JSONL file, each by `parse`; empty ones are skipped. Throws as `readProblems`, and what `parse` does. */
export async function readLines<T>(
  path: string,
  limit: number | undefined,
  parse: (line: string, where: string) => T
): Promise<T[]> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    const received = error.code === 'ENOENT' ? `${path}, which does not exist` : `${path}: ${error.message}`
    throw new WinnowError('PROBLEMS_NOT_FOUND', `Expected a file of problems but received ${received}`, {
      cause: error
    })
  })
  const items: T[] = []
  const lines = text.replace(/^\uFEFF/, '').split(/\r?\n/)
  for (const [index, line] of lines.entries()) {
    if (items.length >= (limit ?? Number.POSITIVE_INFINITY)) break
    if (line.trim() !== '') items.push(parse(line, `line ${index + 1} of ${path}`))
  }
  if (items.length === 0) throw expected('PROBLEMS_INVALID', 'at least one line', path, 'an empty file')
  return items
}

/** One line. `where` names it in errors. */
export function parseProblem(line: string, where: string): Problem {
  return problemOf(parseObject(line, where), where)
}

/** A line whatever its keys. Throws PROBLEMS_INVALID. */
export function parseObject(line: string, where: string): Readonly<Record<string, unknown>> {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch (error) {
    throw new WinnowError('PROBLEMS_INVALID', `Expected a JSON object for ${where} but received ${describe(line)}`, {
      cause: error
    })
  }
  if (!isObject(value)) throw expected('PROBLEMS_INVALID', 'a JSON object', where, value)
  return value
}

/** Throws PROBLEMS_INVALID. */
export function problemOf({ prompt, answer = null }: Readonly<Record<string, unknown>>, where: string): Problem {
  if (!isPrompt(prompt)) throw expected('PROBLEMS_INVALID', 'text or messages as "prompt"', where, prompt)
  if (!isAnswer(answer)) throw expected('PROBLEMS_INVALID', 'text or a number as "answer"', where, answer)
  return { prompt, answer: answer === null ? null : String(answer) }
}

function isAnswer(value: unknown): value is string | number | null {
  return value === null || typeof value === 'number' || (typeof value === 'string' && value.trim() !== '')
}

function isPrompt(value: unknown): value is PromptInput {
  if (typeof value === 'string') return value !== ''
  const isMessage = (item: Partial<ChatMessage> | null) =>
    typeof item?.role === 'string' && typeof item.content === 'string'
  return Array.isArray(value) && value.length > 0 && value.every(isMessage)
}
