import { open, readFile } from 'node:fs/promises'
import { basename } from 'node:path'
import { expected, WinnowError } from '../errors.js'
import { isObject } from '../sources/strict-json.js'
import { rowsStudy } from './rows-study.js'
import type { Study } from './study.js'
import { summaryStudy } from './summary-study.js'

const kinds = 'results of winnow bench (--out or --json), winnow replay --json or winnow record'

const journal = '{"journal":'

/** Whether a file is a recording, which is read line by line. Throws RESULTS_NOT_FOUND. */
export async function isRecording(path: string): Promise<boolean> {
  const file = await reading(path, open(path))
  try {
    const { buffer, bytesRead } = await reading(path, file.read({ buffer: Buffer.alloc(journal.length) }))
    return buffer.toString('latin1', 0, bytesRead) === journal
  } finally {
    await file.close()
  }
}

/** Results that lie in one file. Throws RESULTS_NOT_FOUND; RESULTS_MISMATCH and RESULTS_CORRUPT with what is wrong. */
export async function studyIn(path: string): Promise<Study> {
  const text = await reading(path, readFile(path, 'utf8'))
  const file = basename(path)
  const end = text.indexOf('\n')
  const first = end < 0 ? null : objectIn(text.slice(0, end))
  if (first?.type === 'bench') {
    // A last line without an end was cut off: its row is not there yet.
    return rowsStudy(
      path,
      file,
      first,
      text
        .slice(end + 1)
        .split('\n')
        .slice(0, -1)
    )
  }
  const whole = objectIn(text)
  if (whole === null) throw expected('RESULTS_MISMATCH', kinds, path, text.slice(0, 60))
  if (whole.policies === undefined) {
    const keys = Object.keys(whole).slice(0, 6).join(', ')
    throw new WinnowError(
      'RESULTS_MISMATCH',
      `Expected ${kinds} for ${path} but received an object of ${keys || 'nothing'}`
    )
  }
  if (whole.schemaVersion !== 1) {
    throw expected('RESULTS_MISMATCH', 'results of schema version 1', path, whole.schemaVersion)
  }
  return summaryStudy(path, file, whole)
}

/** Null for what is no object in JSON. */
function objectIn(text: string): Readonly<Record<string, unknown>> | null {
  try {
    const value: unknown = JSON.parse(text)
    return isObject(value) ? value : null
  } catch {
    return null
  }
}

async function reading<T>(path: string, job: Promise<T>): Promise<T> {
  return job.catch((error: NodeJS.ErrnoException) => {
    const received = error.code === 'ENOENT' ? `${path}, which does not exist` : `${path}: ${error.message}`
    throw new WinnowError('RESULTS_NOT_FOUND', `Expected a file of results but received ${received}`, { cause: error })
  })
}
