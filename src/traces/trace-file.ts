import { type FileHandle, open } from 'node:fs/promises'
import { z } from 'zod'
import { Chain } from '../chain.js'
import { expected, WinnowError } from '../errors.js'
import { type Conditions, contentKey, journalEntry, journalHeader } from '../journal.js'
import { chunksOf, linesOf } from '../lines.js'
import { type Trace, type TraceHeader, traceVersion } from './trace.js'
import { traceOf } from './trace-line.js'

/** Traces that were recorded under one set of conditions, in one file or in several parts. */
export interface Traces {
  readonly header: TraceHeader
  /**
   * From the beginning at each call, in the order of the files; no more than one lies in memory. Throws RESULTS_CORRUPT with
   * the number of a line that is damaged, cut off or no trace of the header's, or that another line is about too.
   */
  all(): AsyncGenerator<Trace, void, undefined>
}

/** The conditions of a recording, as its journal has them. */
export function conditionsOf({ conditions, ...header }: TraceHeader): Conditions {
  return { ...conditions, traces: traceVersion, ...header }
}

const headerSchema = z.looseObject({
  n: z.int().min(1),
  grid: z.int().min(1),
  scorers: z.array(z.looseObject({ name: z.string(), sha256: z.string().nullable() })).min(1),
  maxTokens: z.int().min(1),
  deterministic: z.boolean()
})

/**
 * Opens what `record` wrote. Throws TRACES_NOT_FOUND; RESULTS_MISMATCH for a file that is something else or of another
 * version, and for parts of different conditions; RESULTS_CORRUPT.
 */
export async function openTraces(...paths: readonly string[]): Promise<Traces> {
  const [first, ...others] = paths
  if (first === undefined) throw expected('OPTION_INVALID', 'at least one file', 'the traces', paths)
  const header = await headerOf(first)
  const own = contentKey(header.conditions)
  for (const path of others) {
    if (contentKey((await headerOf(path)).conditions) === own) continue
    throw expected('RESULTS_MISMATCH', `traces of the same conditions as ${first}`, 'the file', path)
  }
  return { header, all: () => tracesIn(paths, header) }
}

async function headerOf(path: string): Promise<TraceHeader> {
  for await (const { bytes, ended } of linesIn(path)) {
    if (ended && bytes.toString('latin1', 0, 11) === '{"journal":') return headerIn(bytes, path)
    throw foreign(path, bytes.toString('utf8', 0, 60))
  }
  throw foreign(path, 'an empty file')
}

function headerIn(bytes: Buffer, path: string): TraceHeader {
  const { identity, conditions } = journalHeader(bytes, new Chain(), path)
  const { traces, ...rest } = (conditions ?? {}) as Conditions
  if (traces === undefined) throw foreign(path, 'other results')
  if (traces !== traceVersion) {
    throw expected('RESULTS_MISMATCH', `traces of version ${traceVersion}`, `line 1 of ${path}`, traces)
  }
  const parsed = headerSchema.safeParse(rest)
  if (!parsed.success || contentKey(conditions) !== identity) {
    const where = parsed.error?.issues[0]?.path.join('.') ?? 'identity'
    throw new WinnowError('RESULTS_CORRUPT', `Expected a header for line 1 of ${path} but received a wrong ${where}`)
  }
  const { n, grid, scorers, maxTokens, deterministic } = parsed.data
  return { n, grid, scorers, maxTokens, deterministic, conditions: rest }
}

function foreign(path: string, received: string): WinnowError {
  return expected('RESULTS_MISMATCH', 'a file of traces', `line 1 of ${path}`, received)
}

async function* tracesIn(paths: readonly string[], header: TraceHeader): AsyncGenerator<Trace, void, undefined> {
  const seen = new Set<number>()
  for (const path of paths) {
    const chain = new Chain()
    let number = 0
    for await (const { bytes, ended } of linesIn(path)) {
      number++
      const line = number
      const refuse = (what: string) =>
        new WinnowError('RESULTS_CORRUPT', `Expected a trace for line ${line} of ${path} but received ${what}`)
      if (!ended) throw refuse('one that is cut off (the command that wrote it goes on where it ended)')
      if (line === 1) {
        journalHeader(bytes, chain, path)
        continue
      }
      const trace = traceOf(journalEntry(bytes, chain, line, path), header, refuse)
      if (seen.has(trace.prompt)) throw refuse(`prompt ${trace.prompt + 1} a second time`)
      seen.add(trace.prompt)
      yield trace
    }
  }
}

async function* linesIn(path: string) {
  const file = await opened(path)
  try {
    yield* linesOf(chunksOf(file))
  } finally {
    await file.close()
  }
}

async function opened(path: string): Promise<FileHandle> {
  return open(path).catch((error: NodeJS.ErrnoException) => {
    const received = error.code === 'ENOENT' ? `${path}, which does not exist` : `${path}: ${error.message}`
    throw new WinnowError('TRACES_NOT_FOUND', `Expected a file of traces but received ${received}`, { cause: error })
  })
}
