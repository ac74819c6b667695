import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** What a hub can do wrong. */
export interface FakeHubOptions {
  /** Answers every range with the whole file. */
  readonly ignoresRanges?: boolean
  /** Never ends what it sends of a file: the first answer, which asks for one byte, or the later ones. */
  readonly endless?: 'first' | 'later'
  /** Sends the first half of a range as if it were all, or then ends the connection, or leaves it at that. */
  readonly half?: 'as all' | 'ends' | 'waits'
  /** Milliseconds between the quarters of a range. */
  readonly slowMs?: number
  /** Answers everything with status 503. */
  readonly down?: boolean
  /** Sends nothing at all for files. */
  readonly silent?: boolean
  /** Only with this token. */
  readonly token?: string
  /** Says it is a cache in front of the hub, whose addresses the library then uses. */
  readonly isCache?: boolean
  /** Another server to send readers of files to, as the hub does with large ones. */
  readonly elsewhere?: string
}

export interface FakeHub {
  readonly url: string
  readonly commit: string
  /** Connections that are open; each is closed after its answer. */
  readonly connections: () => Promise<number>
  /** Bytes of bodies sent. */
  readonly sent: () => number
  /** Requests, as `path range`. */
  readonly requests: readonly string[]
  /** What requests were authorised with; empty texts for nothing. */
  readonly authorizations: ReadonlySet<string>
  close(): Promise<void>
}

/** The part of huggingface.co that reading a model needs, with one repository: org/judge at one commit. */
export async function fakeHub(
  files: Readonly<Record<string, Uint8Array>>,
  options: FakeHubOptions = {}
): Promise<FakeHub> {
  const commit = '0123456789abcdef0123456789abcdef01234567'
  const requests: string[] = []
  const authorizations = new Set<string>()
  let sent = 0
  const send = (response: ServerResponse, status: number, body: Uint8Array, headers: Record<string, string> = {}) => {
    sent += body.length
    const always = { connection: 'close', ...(options.isCache && { 'x-cache': 'Hit from cloudfront' }) }
    response.writeHead(status, { 'content-length': String(body.length), ...always, ...headers })
    response.end(body)
  }
  const answer = (request: IncomingMessage, response: ServerResponse) => {
    const { pathname } = new URL(request.url ?? '/', 'http://hub')
    requests.push(`${pathname} ${request.headers.range ?? ''}`.trim())
    authorizations.add(request.headers.authorization ?? '')
    if (options.down) return send(response, 503, Buffer.from('Service unavailable'))
    if (options.token !== undefined && request.headers.authorization !== `Bearer ${options.token}`)
      return send(response, 401, Buffer.from('Unauthorized'))
    const revision = /^\/api\/models\/org\/judge\/revision\/(main|v1)$/.exec(pathname)
    if (revision !== null) {
      const facts = JSON.stringify({ _id: '1', id: 'org/judge', sha: commit, private: false, lastModified: 0 })
      return send(response, 200, Buffer.from(facts), { 'content-type': 'application/json' })
    }
    const [, name] = new RegExp(`^/org/judge/resolve/${commit}/(.+)$`).exec(pathname) ?? []
    if (name === undefined) return send(response, 404, Buffer.from('Repository not found'))
    if (options.elsewhere !== undefined)
      return send(response, 302, Buffer.alloc(0), { location: `${options.elsewhere}${pathname}` })
    const content = files[name]
    if (content === undefined)
      return send(response, 404, Buffer.from('Entry not found'), { 'x-error-code': 'EntryNotFound' })
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? []
    const [begin, end] = [Number(from), Math.min(Number(to) + 1, content.length)]
    const facts = { etag: '"1"', 'content-range': `bytes ${begin}-${end - 1}/${content.length}` }
    // The library's first question for a file; later ones ask for its parts.
    const isProbe = begin === 0 && end === 1
    if (options.silent && !isProbe) return
    if (options.ignoresRanges && !isProbe) return send(response, 200, content, { etag: '"1"' })
    const part = content.subarray(begin, end)
    if (options.half === 'as all' && !isProbe) return send(response, 206, part.subarray(0, part.length / 2), facts)
    if (options.half !== undefined && !isProbe) {
      response.writeHead(206, { ...facts, 'content-length': String(part.length) })
      return response.write(part.subarray(0, part.length / 2), () => options.half === 'ends' && response.destroy())
    }
    if (options.endless === (isProbe ? 'first' : 'later')) {
      response.writeHead(206, facts)
      const more = () => {
        for (let next = part; response.write(next); next = Buffer.alloc(65_536)) {}
      }
      response.on('drain', () => response.write(Buffer.alloc(65_536)))
      return more()
    }
    if (options.slowMs === undefined || isProbe) return send(response, 206, part, facts)
    response.writeHead(206, facts)
    const step = Math.ceil(part.length / 4)
    let sentSoFar = 0
    const timer = setInterval(() => {
      response.write(part.subarray(sentSoFar, sentSoFar + step))
      sentSoFar += step
      if (sentSoFar < part.length) return
      clearInterval(timer)
      response.end()
    }, options.slowMs)
  }
  const server = createServer(answer)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    commit,
    connections: () => new Promise((resolve) => server.getConnections((_, connections) => resolve(connections))),
    sent: () => sent,
    requests,
    authorizations,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      })
  }
}
