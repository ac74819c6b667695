import { describe, expected, WinnowError } from '../errors.js'
import { maxCandidates } from '../options.js'
import { type Problem, parseObject, problemOf, readLines } from '../problems.js'

/** An answer that somebody has already: from this model, or from any other. */
export interface Sample {
  /** Text, or tokens of the model the head is for. */
  readonly answer: string | Int32Array
  /** What it was worth, on any scale; null where nobody has said. */
  readonly reward: number | null
  /** Whether it is right; null leaves that to the verifier. */
  readonly right: boolean | null
}

export interface Trace extends Problem {
  /** Null: the model answers by itself. */
  readonly samples: readonly Sample[] | null
}

/**
 * Reads traces, one JSON object a line: `{"prompt", "answer", "samples": [...]}`, where a sample is a text or
 * `{"text" or "tokens", "reward", "right"}`. Without `samples` a line is a problem, as problems.ts reads them.
 *
 * Throws PROBLEMS_NOT_FOUND, or PROBLEMS_INVALID with the number of the line.
 */
export async function readTraces(path: string, limit?: number): Promise<Trace[]> {
  return readLines(path, limit, parseTrace)
}

/** One line. `where` names it in errors. */
export function parseTrace(line: string, where: string): Trace {
  const value = parseObject(line, where)
  const problem = problemOf(value, where)
  const { samples } = value
  if (samples === undefined || samples === null) return { ...problem, samples: null }
  if (!Array.isArray(samples) || samples.length === 0 || samples.length > maxCandidates)
    throw expected('PROBLEMS_INVALID', `1 to ${maxCandidates} samples`, where, samples)
  return { ...problem, samples: samples.map((sample, i) => parseSample(sample, `sample ${i} on ${where}`)) }
}

function parseSample(value: unknown, where: string): Sample {
  if (typeof value === 'string') return { answer: value, reward: null, right: null }
  if (typeof value !== 'object' || value === null) throw expected('PROBLEMS_INVALID', 'text or an object', where, value)
  const { text, tokens, reward = null, right = null } = value as Record<string, unknown>
  if (reward !== null && !(typeof reward === 'number' && Number.isFinite(reward)))
    throw expected('PROBLEMS_INVALID', 'a finite number as "reward"', where, reward)
  if (right !== null && typeof right !== 'boolean')
    throw expected('PROBLEMS_INVALID', 'true or false as "right"', where, right)
  return { answer: answerOf(text, tokens, where), reward, right }
}

function answerOf(text: unknown, tokens: unknown, where: string): string | Int32Array {
  if (typeof text === 'string' && tokens === undefined) return text
  const isToken = (item: unknown) => Number.isSafeInteger(item) && (item as number) >= 0 && (item as number) < 2 ** 31
  if (text === undefined && Array.isArray(tokens) && tokens.every(isToken)) return Int32Array.from(tokens as number[])
  const received = text === undefined ? describe(tokens) : tokens === undefined ? describe(text) : 'both'
  throw new WinnowError('PROBLEMS_INVALID', `Expected "text" or "tokens" for ${where} but received ${received}`)
}
