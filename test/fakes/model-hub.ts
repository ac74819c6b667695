import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** What the server does from now on; all may be changed while it runs. */
export interface ModelHubMood {
  /** Milliseconds between two pieces of 256 KiB. */
  slowMs: number
  /** From this byte of a file on nothing is sent until it is raised: what has arrived by then does not depend on the machine. */
  holdFrom: number
  /** Ranges of a file that are sent until its facts are asked for again; then status 403, as where an address has expired. */
  rangesAVisit: number
  /** Only with this token. */
  token: string | null
  /** Says another checksum than that of the content. */
  lies: boolean
  /** Sends readers of files from the hub to this server, as the hub does. */
  elsewhere: string | null
}

export interface ModelHub {
  readonly url: string
  /** By path, such as `org/model/big.gguf`; may be changed. */
  readonly files: Map<string, Buffer>
  readonly mood: ModelHubMood
  /** Requests as `METHOD path range`; ranges of one byte ask for a file's facts. */
  readonly requests: string[]
  /** What they were authorised with, where they were. */
  readonly authorizations: Set<string>
  /** Bytes of ranges that the requests from this one on have asked for, each counted once however often it was. */
  asked(from: number): number
  close(): Promise<void>
}

const piece = 256 * 1024

/**
 * The part of huggingface.co that downloads need, and a plain file server besides: `/ORG/REPO/resolve/main/FILE` and
 * `/files/ORG/REPO/FILE` are the same content. Everything is of the revision main.
 */
export async function modelHub(): Promise<ModelHub> {
  const files = new Map<string, Buffer>()
  const mood: ModelHubMood = {
    slowMs: 0,
    holdFrom: Number.POSITIVE_INFINITY,
    rangesAVisit: Number.POSITIVE_INFINITY,
    token: null,
    lies: false,
    elsewhere: null
  }
  const requests: string[] = []
  const authorizations = new Set<string>()
  let ranges = 0

  const json = (response: ServerResponse, status: number, value: unknown) => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))
  }
  const oidOf = (content: Buffer) => {
    const oid = createHash('sha256').update(content).digest('hex')
    return mood.lies ? oid.replace(/^./, (digit) => (digit === '0' ? '1' : '0')) : oid
  }
  const infos = async (request: IncomingMessage, response: ServerResponse, repository: string) => {
    const { paths } = JSON.parse(Buffer.concat(await request.toArray()).toString()) as { paths: string[] }
    const found = paths.flatMap((path) => {
      const content = files.get(`${repository}/${path}`)
      if (content === undefined) return []
      const lfs = { oid: oidOf(content), size: content.length, pointerSize: 100 }
      return [{ type: 'file', path, size: content.length, oid: '0'.repeat(40), lfs }]
    })
    json(response, 200, found)
  }
  const send = (request: IncomingMessage, response: ServerResponse, content: Buffer) => {
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? []
    const isRange = from !== undefined
    const [begin, end] = isRange ? [Number(from), Math.min(Number(to) + 1, content.length)] : [0, content.length]
    if (isRange && end - begin > 1) {
      if (++ranges > mood.rangesAVisit) return json(response, 403, { error: 'expired' })
    } else if (isRange) ranges = 0
    response.writeHead(isRange ? 206 : 200, {
      'accept-ranges': 'bytes',
      'content-length': String(end - begin),
      etag: `"${createHash('md5').update(content).digest('hex')}"`,
      // A name to be ignored.
      'content-disposition': 'attachment; filename="../../../evil.gguf"',
      ...(isRange && { 'content-range': `bytes ${begin}-${end - 1}/${content.length}` })
    })
    let at = begin
    const more = () => {
      if (response.destroyed) return
      if (at >= end) return void response.end()
      if (at >= mood.holdFrom) return void setTimeout(more, 5)
      const next = Math.min(end, at + piece, mood.holdFrom)
      const isFlowing = response.write(content.subarray(at, next))
      at = next
      if (!isFlowing) response.once('drain', more)
      else if (mood.slowMs > 0) setTimeout(more, mood.slowMs)
      else setImmediate(more)
    }
    more()
  }
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://hub')
    const path = decodeURIComponent(pathname)
    requests.push(`${request.method} ${pathname} ${request.headers.range ?? ''}`.trim())
    if (request.headers.authorization !== undefined) authorizations.add(request.headers.authorization)
    const [, own] = /^\/files\/(.+)$/.exec(path) ?? []
    if (own === undefined && mood.token !== null && request.headers.authorization !== `Bearer ${mood.token}`)
      return json(response, 401, { error: 'Invalid credentials' })
    const [, listed] = /^\/api\/models\/([^/]+\/[^/]+)\/paths-info\/main$/.exec(path) ?? []
    if (listed !== undefined) return void infos(request, response, listed)
    const [, repository, tag] = /^\/v2\/([^/]+\/[^/]+)\/manifests\/(.+)$/.exec(path) ?? []
    if (repository !== undefined) {
      const isAsked = request.headers['user-agent'] === 'llama-cpp'
      const name = [...files.keys()]
        .sort()
        .find((name) => name.startsWith(`${repository}/`) && name.includes(tag as string))
      const rfilename = name?.slice(repository.length + 1)
      return rfilename === undefined
        ? json(response, 404, {})
        : json(response, 200, isAsked ? { ggufFile: { rfilename } } : {})
    }
    const [, of, name] = /^\/([^/]+\/[^/]+)\/resolve\/main\/(.+)$/.exec(path) ?? []
    if (of !== undefined && mood.elsewhere !== null)
      return void response.writeHead(302, { location: `${mood.elsewhere}/files/${of}/${name}` }).end()
    const content = files.get(own ?? `${of}/${name}`)
    return content === undefined ? json(response, 404, { error: 'Entry not found' }) : send(request, response, content)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    files,
    mood,
    requests,
    authorizations,
    asked: (from) => distinct(requests.slice(from)),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      })
  }
}

function distinct(requests: readonly string[]): number {
  const ranges = requests.flatMap((request) => {
    const [, path = '', begin, last] = / (\S+) bytes=(\d+)-(\d+)$/.exec(request) ?? []
    return last === undefined || begin === last ? [] : [{ path, begin: Number(begin), end: Number(last) + 1 }]
  })
  let bytes = 0
  for (const path of new Set(ranges.map((range) => range.path))) {
    let until = 0
    for (const { begin, end } of ranges.filter((range) => range.path === path).sort((a, b) => a.begin - b.begin)) {
      bytes += Math.max(0, end - Math.max(begin, until))
      until = Math.max(until, end)
    }
  }
  return bytes
}
