import { follow } from '../abort.js'
import { WinnowError } from '../errors.js'

/** Where the bytes of a file are at this moment; such a URL may hold for an hour. */
export interface Location {
  readonly url: string
  /** What to ask with. */
  readonly headers: Readonly<Record<string, string>>
  /** Bytes. */
  readonly size: number
  /** Changes with the content; null where the server does not say. */
  readonly version: string | null
}

const maxRedirections = 10
/** Longest wait for the head of an answer, milliseconds. */
const patience = 60_000

/**
 * Follows redirections to the file without reading it. `authorization` is sent to the origin of `url` alone, as a hub sends
 * readers on to other servers, which are not to learn it. `name` is for messages: a URL may hold a secret.
 *
 * Throws MODEL_NOT_FOUND, DOWNLOAD_FAILED, and the signal's reason.
 */
export async function locate(
  name: string,
  url: string,
  authorization: string | null,
  signal: AbortSignal
): Promise<Location> {
  const { origin } = new URL(url)
  let at = new URL(url)
  for (let hop = 0; hop <= maxRedirections; hop++) {
    // A compressed answer would have other positions.
    const headers = {
      'accept-encoding': 'identity',
      ...(authorization !== null && at.origin === origin && { authorization })
    }
    const answer = await head(name, at, headers, signal)
    const next = answer.status >= 300 && answer.status < 400 ? answer.headers.get('location') : null
    if (next === null) return { url: at.href, headers, ...factsOf(name, answer) }
    const to = URL.canParse(next, at.href) ? new URL(next, at) : null
    const isSafe = to !== null && (to.protocol === 'https:' || to.protocol === at.protocol)
    if (!isSafe) throw failed(name, 'a redirection that leads elsewhere than to https')
    at = to
  }
  throw failed(name, `more than ${maxRedirections} redirections`)
}

async function head(name: string, url: URL, headers: Record<string, string>, signal: AbortSignal): Promise<Response> {
  const silence = AbortSignal.timeout(patience)
  const either = follow([signal, silence])
  try {
    const response = await fetch(url, {
      headers: { ...headers, range: 'bytes=0-0' },
      redirect: 'manual',
      signal: either.signal
    })
    // An unread body would keep its connection.
    response.body?.cancel().catch(() => {})
    return response
  } catch (error) {
    signal.throwIfAborted()
    throw failed(name, silence.aborted ? `nothing for ${patience / 1000} s` : reasonOf(error), error)
  } finally {
    either.release()
  }
}

function factsOf(name: string, { ok, status, headers }: Response): Pick<Location, 'size' | 'version'> {
  if (status === 404 || status === 410) {
    throw new WinnowError('MODEL_NOT_FOUND', `Expected a GGUF file at ${name} but received status ${status}`)
  }
  if (status === 401 || status === 403) {
    throw failed(name, `status ${status}: it may want its terms accepted and an access token (HF_TOKEN)`)
  }
  if (!ok) throw failed(name, `status ${status}`)
  const length = status === 206 ? headers.get('content-range')?.split('/')[1] : headers.get('content-length')
  const size = Number(length ?? Number.NaN)
  if (!Number.isSafeInteger(size) || size < 1) throw failed(name, 'no size')
  return { size, version: headers.get('etag') ?? headers.get('last-modified') }
}

/** fetch says only "fetch failed"; the reason is below it. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.cause instanceof Error ? reasonOf(error.cause) : error.message || error.name
}

function failed(name: string, received: string, cause?: unknown): WinnowError {
  return new WinnowError('DOWNLOAD_FAILED', `Expected the file at ${name} but received ${received}`, { cause })
}
