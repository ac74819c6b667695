/** What runs in the thread of a download; thread.ts says why it has one. */
import { type MessagePort, parentPort, workerData } from 'node:worker_threads'
import { createModelDownloader, type ModelDownloader } from 'node-llama-cpp'
import type { Job, Report } from './thread.js'

/** Milliseconds between two reports at least. */
const pause = 100

const port = parentPort as MessagePort
const { url, headers, folder, name } = workerData as Job
const report = (message: Report) => port.postMessage(message)

let downloader: ModelDownloader | null = null
let said = -1

// Closing waits for what is being written; what has not come yet is gone on with later.
port.on('message', async () => {
  await downloader?.cancel({ deleteTempFile: false }).catch(() => {})
  report({ kind: 'cancelled' })
})
// The downloader leaves promises that nobody waits for; an error of the server comes here first.
process.on('unhandledRejection', fail)

try {
  downloader = await createModelDownloader({
    modelUri: alone(url),
    dirPath: folder,
    fileName: name,
    headers: { ...headers },
    // It would send a token to whatever server the hub leads to; where one belongs, it is in the headers.
    tokens: { huggingFace: null as never },
    showCliProgress: false,
    deleteTempFileOnCancel: false
  })
  say()
  // Not as progress comes: the last of it before a stall would not be said.
  setInterval(say, pause).unref()
  await downloader.download()
  report({ kind: 'done' })
} catch (error) {
  fail(error)
}

function say(): void {
  const bytes = downloader?.downloadedSize ?? 0
  if (bytes === said) return
  said = bytes
  report({ kind: 'bytes', bytes })
}

/**
 * Of one part of a split model the downloader would go on to the others, at URLs that it makes up, whatever this one was
 * signed for. To a server %66 is an f.
 */
function alone(url: string): string {
  const one = new URL(url)
  one.pathname = one.pathname.replace(/(-\d{5}-of-\d{5}\.ggu)f$/, '$1%66')
  return one.href
}

function fail(error: unknown): void {
  const { statusCode, code } = (error ?? {}) as { readonly statusCode?: unknown; readonly code?: unknown }
  // Its own sentence has the whole URL, which may hold a secret.
  const reason =
    typeof statusCode === 'number' ? `status ${statusCode}` : error instanceof Error ? error.message : String(error)
  report({ kind: 'failed', reason, code: typeof code === 'string' ? code : null })
}
