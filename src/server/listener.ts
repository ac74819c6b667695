import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { nodeCall } from './node-call.js'
import type { Service } from './service.js'

/** How long a reader may take nothing of what is there for it. Milliseconds. */
const stall = 30_000

/** For `http.createServer`, or any framework that has Node's requests and responses. */
export function listener(service: Service): (request: IncomingMessage, response: ServerResponse) => void {
  return (request, response) => {
    service
      .answer(nodeCall(request, response))
      .then((answer) => write(answer, response))
      // The connection broke while the answer was on its way.
      .catch(() => response.destroy())
  }
}

/**
 * A server with a service's timeouts: nobody holds a connection by sending slowly. `requestTimeout` is above the service's
 * own limit for bodies, which answers. To listen and to close is the caller's.
 */
export function serverOf(service: Service): Server {
  const options = {
    headersTimeout: 10_000,
    requestTimeout: 60_000,
    keepAliveTimeout: 5_000,
    connectionsCheckingInterval: 1000
  }
  return createServer(options, listener(service))
}

async function write(answer: Response, response: ServerResponse): Promise<void> {
  const reader = answer.body?.getReader()
  if (response.destroyed) {
    await reader?.cancel()
    return
  }
  response.writeHead(answer.status, Object.fromEntries(answer.headers))
  if (reader === undefined) {
    response.end()
    return
  }
  const stop = () => void reader.cancel().catch(() => {})
  response.once('close', stop)
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      if (!response.write(next.value)) await drained(response)
    }
    response.end()
  } finally {
    response.off('close', stop)
  }
}

async function drained(response: ServerResponse): Promise<void> {
  const timer = setTimeout(() => response.destroy(), stall)
  const waiting = new AbortController()
  try {
    await Promise.race([once(response, 'drain', waiting), once(response, 'close', waiting)])
  } finally {
    clearTimeout(timer)
    waiting.abort()
  }
}
