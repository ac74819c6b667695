import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Call } from './call.js'

/** A request of Node's own server. `path` is where it leads, if not to its own URL. */
export function nodeCall(request: IncomingMessage, response: ServerResponse, path?: string): Call {
  const gone = new AbortController()
  response.once('close', () => {
    if (response.writableFinished) return
    gone.abort()
  })
  // Node reads past what is left of a body only where nobody began to read it. Left there, it would hold the connection up
  // until that is taken for idle and broken off.
  response.once('finish', () => request.resume())
  return {
    method: request.method ?? 'GET',
    path: path ?? (request.url ?? '/').replace(/[?#].*$/s, ''),
    header: (name) => {
      const value = request.headers[name]
      return Array.isArray(value) ? value.join(', ') : (value ?? null)
    },
    // To leave the loop must not close the connection.
    chunks: () => request.iterator({ destroyOnReturn: false }),
    signal: gone.signal
  }
}
