/** A request as the service reads it, whatever brought it: a web `Request` or a Node one. */
export interface Call {
  readonly method: string
  /** Without a query. */
  readonly path: string
  /** Null where the caller sent none. */
  header(name: string): string | null
  /** The body. Whoever stops reading leaves the rest alone: the connection still has to carry an answer. */
  chunks(): AsyncIterable<Uint8Array>
  /** Aborted when the caller is gone. */
  readonly signal: AbortSignal
}

export function webCall(request: Request): Call {
  return {
    method: request.method,
    path: new URL(request.url).pathname,
    header: (name) => request.headers.get(name),
    chunks: () => chunksOf(request.body),
    signal: request.signal
  }
}

async function* chunksOf(body: Request['body']): AsyncGenerator<Uint8Array> {
  if (body === null) return
  const reader = body.getReader()
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value
  } finally {
    reader.releaseLock()
  }
}
