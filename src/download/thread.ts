/**
 * node-llama-cpp's downloader, in a thread of its own. Loading that package listens to SIGINT and SIGTERM, which a
 * library must not; its downloader cannot be stopped while it tries again for minutes, and leaves rejections that nobody
 * handles, which end a process. All of that ends with the thread.
 */
import { Worker } from 'node:worker_threads'
import { onAbort } from '../abort.js'
import { WinnowError } from '../errors.js'

/** One file to fetch. */
export interface Job {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly folder: string
  /** File in the folder; while it is not whole, `.ipull` stands behind it. */
  readonly name: string
}

export type Report =
  | { readonly kind: 'bytes'; readonly bytes: number }
  | { readonly kind: 'done' | 'cancelled' }
  | { readonly kind: 'failed'; readonly reason: string; readonly code: string | null }

/** What an orderly stop may take, milliseconds. */
const grace = 2000

/** Error codes of a file system that does not take what is written. */
const unwritable = /^(ENOSPC|EDQUOT|EACCES|EPERM|EROFS|EIO|EFBIG|ENOTDIR|ENAMETOOLONG)$/

/**
 * Fetches, from where an earlier job with the same folder and name ended. `onBytes` is told how many are there, at
 * once and then ten times a second at most; what it throws ends the job.
 *
 * Throws DOWNLOAD_FAILED, WRITE_FAILED, and the signal's reason once all is on disk that is to stay there.
 */
export async function runDownload(
  address: string,
  job: Job,
  onBytes: (bytes: number) => void,
  signal: AbortSignal
): Promise<void> {
  signal.throwIfAborted()
  const worker = new Worker(new URL('./worker.js', import.meta.url), {
    workerData: job,
    // Flags of the process may be for its own script alone.
    execArgv: [],
    // What it prints stays unread.
    stdout: true,
    stderr: true
  })
  let timer: NodeJS.Timeout | undefined
  let release = () => {}
  try {
    await new Promise<void>((resolve, reject) => {
      worker.on('message', (report: Report) => {
        try {
          if (report.kind === 'cancelled') reject(signal.reason)
          // Whatever else it ends with then, its files may still be open.
          else if (signal.aborted) return
          else if (report.kind === 'bytes') onBytes(report.bytes)
          else if (report.kind === 'failed') reject(failed(address, report.reason, report.code))
          else resolve()
        } catch (error) {
          reject(error)
        }
      })
      worker.on('error', (error: Error) => reject(failed(address, error.message, null)))
      worker.on('exit', () => reject(failed(address, 'the end of its thread', null)))
      release = onAbort(signal, () => {
        worker.postMessage(null)
        timer = setTimeout(() => reject(signal.reason), grace)
      })
    })
  } finally {
    release()
    clearTimeout(timer)
    await worker.terminate()
  }
}

function failed(address: string, reason: string, code: string | null): WinnowError {
  if (code !== null && unwritable.test(code)) {
    return new WinnowError('WRITE_FAILED', `Expected to write what comes from ${address} but received ${reason}`)
  }
  return new WinnowError('DOWNLOAD_FAILED', `Expected the file at ${address} but received ${reason}`)
}
