import { abortable, onAbort } from '../abort.js'
import { expected, WinnowError } from '../errors.js'
import type { SourceFile } from './source.js'

export interface HubOptions {
  /** Where the hub is. Default https://huggingface.co. */
  readonly hubUrl?: string | undefined
  /** Access token ("hf_..."), for gated and private repositories. Default: none. */
  readonly token?: string | undefined
  /** For proxies and tests. Default: the global one. */
  readonly fetch?: typeof fetch | undefined
  /** Longest silence of the hub before the read counts as failed, milliseconds. Default 60000. */
  readonly stallMs?: number | undefined
  /** Rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined
}

/** Of a file in a repository. */
export interface FileFacts {
  /** Bytes. */
  readonly size: number
  /** Hexadecimal; null for small files, which the hub keeps without one. */
  readonly sha256: string | null
}

export const defaultHub = 'https://huggingface.co'

/** Bytes of an answer that is not a file's content; the answers asked for here have a few hundred. */
const maxAnswer = 1 << 20

/** The client: what is asked of the hub, within the caller's signal and without endless waiting. */
export class Hub {
  bytesRead = 0
  readonly #url: string
  readonly #token: string | undefined
  readonly #fetch: typeof fetch
  readonly #stallMs: number
  readonly #signal: AbortSignal | undefined

  constructor({ hubUrl = defaultHub, token, fetch: fetcher = fetch, stallMs = 60_000, signal }: HubOptions) {
    if (!/^https?:$/.test(URL.canParse(hubUrl) ? new URL(hubUrl).protocol : '')) {
      throw expected('OPTION_INVALID', 'an http or https URL', 'the hub', hubUrl)
    }
    if (token !== undefined && !token.startsWith('hf_')) {
      // The text itself stays out of the message: it may be another service's secret.
      throw new WinnowError('OPTION_INVALID', 'Expected a text that starts with "hf_" for the hub\'s access token')
    }
    this.#url = hubUrl.replace(/\/+$/, '')
    this.#token = token
    this.#fetch = fetcher
    this.#stallMs = stallMs
    this.#signal = signal
  }

  async commitOf(repository: string, revision: string): Promise<string> {
    // Loaded here: nothing else of the package needs it.
    const { modelInfo } = await import('@huggingface/hub')
    const what = `${repository}@${revision}`
    const info = await this.#ask(what, (request) =>
      modelInfo({ ...request, name: repository, revision, additionalFields: ['sha'] })
    )
    if (/^[0-9a-f]{40}$/.test(info.sha)) return info.sha
    throw failed(what, 'an answer without a commit')
  }

  async file(repository: string, commit: string, name: string): Promise<SourceFile | null> {
    const { fileDownloadInfo } = await import('@huggingface/hub')
    const path = `hf:${repository}/${name}`
    const info = await this.#ask(path, (request) =>
      fileDownloadInfo({ ...request, repo: { type: 'model', name: repository }, path: name, revision: commit })
    )
    if (info === null) return null
    if (!Number.isSafeInteger(info.size) || info.size < 0) throw failed(path, `a size of ${info.size}`)
    return {
      path,
      size: info.size,
      read: (begin, end) => this.#read(info.url, path, begin, end)
    }
  }

  /** What the hub knows of files without sending them; null in place of one that is not there. */
  async facts(repository: string, revision: string, names: readonly string[]): Promise<(FileFacts | null)[]> {
    const { pathsInfo } = await import('@huggingface/hub')
    const what = `${repository}@${revision}`
    const infos = await this.#ask(what, (request) =>
      pathsInfo({ ...request, repo: { type: 'model', name: repository }, revision, paths: [...names] })
    )
    return names.map((name) => {
      const info = infos.find(({ path, type }) => path === name && type === 'file')
      if (info === undefined) return null
      if (!Number.isSafeInteger(info.size) || info.size < 1) throw failed(`hf:${repository}/${name}`, 'no size')
      return { size: info.size, sha256: info.lfs?.oid ?? null }
    })
  }

  /** The file the hub has for a quantisation such as Q4_K_M, the first part where it is split; null without any. */
  async quantised(repository: string, quantisation: string): Promise<string | null> {
    const what = `hf:${repository}:${quantisation}`
    // The hub names the file to llama.cpp alone.
    const headers = {
      'user-agent': 'llama-cpp',
      ...(this.#token !== undefined && { authorization: `Bearer ${this.#token}` })
    }
    try {
      const url = `${this.#url}/v2/${repository}/manifests/${quantisation}`
      const { response, bytes } = await this.#arrive(url, { headers }, () => maxAnswer)
      if (response.status === 400 || response.status === 404) return null
      if (!response.ok) throw Object.assign(new Error(), { statusCode: response.status })
      const manifest = JSON.parse(new TextDecoder().decode(bytes))
      const name: unknown = manifest?.ggufFile?.rfilename
      if (typeof name === 'string') return name
      throw failed(what, 'an answer without a file')
    } catch (error) {
      throw this.#explained(what, error)
    }
  }

  /** A call of @huggingface/hub, its errors put into our words. */
  async #ask<T>(
    what: string,
    call: (request: { hubUrl: string; accessToken?: string; fetch: typeof fetch }) => Promise<T>
  ): Promise<T> {
    // The library leaves some bodies unread, and an unread one keeps its connection, and so the process, alive. What
    // it gets is an answer that has arrived. It names no address, so that the library goes on with the hub's own: a
    // redirection is followed anew for every range, and the token is sent to the hub alone.
    const arrived: typeof fetch = async (url, init) => {
      const { response, bytes } = await this.#arrive(String(url), init, () => maxAnswer)
      const { status, headers } = response
      return new Response(bytes.length === 0 ? null : bytes, { status, headers })
    }
    const token = this.#token === undefined ? {} : { accessToken: this.#token }
    try {
      return await call({ hubUrl: this.#url, fetch: arrived, ...token })
    } catch (error) {
      throw this.#explained(what, error)
    }
  }

  async #read(url: string, path: string, begin: number, end: number): Promise<Uint8Array> {
    if (begin === end) return new Uint8Array(0)
    const headers = {
      range: `bytes=${begin}-${end - 1}`,
      // Positions in a compressed answer would mean something else.
      'accept-encoding': 'identity',
      ...(this.#token !== undefined && { authorization: `Bearer ${this.#token}` })
    }
    try {
      const isRange = ({ status, headers: answered }: Response) =>
        status === 206 && answered.get('content-range')?.startsWith(`bytes ${begin}-`) === true
      const { response, bytes } = await this.#arrive(url, { headers }, (response) =>
        isRange(response) ? end - begin : 0
      )
      if (!response.ok) throw failed(path, `status ${response.status}`)
      if (!isRange(response)) throw failed(path, 'something else than the range asked for')
      if (bytes.length !== end - begin) throw failed(path, `${bytes.length} bytes of ${end - begin}`)
      this.bytesRead += bytes.length
      return bytes
    } catch (error) {
      throw this.#explained(path, error)
    }
  }

  /**
   * An answer and at most `most` bytes of its body; the rest is not read. Every wait of it ends with the caller's
   * signal or with the silence of the hub: fetch alone may lose its signal once the answer's head is there.
   */
  async #arrive(
    url: string,
    init: RequestInit | undefined,
    most: (response: Response) => number
  ): Promise<{ response: Response; bytes: Uint8Array<ArrayBuffer> }> {
    const controller = new AbortController()
    const { signal } = controller
    const release = onAbort(this.#signal, () => controller.abort(this.#signal?.reason))
    const silence = new Error(`nothing for ${this.#stallMs / 1000} s`)
    const timer = setTimeout(() => controller.abort(silence), this.#stallMs)
    let reader: ReadableStreamDefaultReader<Uint8Array> | undefined
    try {
      const response = await abortable(this.#fetch(url, { ...init, signal }), signal)
      const bytes = new Uint8Array(most(response))
      reader = response.body?.getReader()
      let length = 0
      while (reader !== undefined && length < bytes.length) {
        timer.refresh()
        const { done, value } = await abortable(reader.read(), signal)
        if (done) break
        const wanted = value.subarray(0, bytes.length - length)
        bytes.set(wanted, length)
        length += wanted.length
      }
      return { response, bytes: bytes.subarray(0, length) }
    } finally {
      clearTimeout(timer)
      release()
      // A connection that broke rejects here too; it has been reported.
      reader?.cancel().catch(() => {})
    }
  }

  /** What to reject with. */
  #explained(what: string, error: unknown): unknown {
    // The caller's reason, as it is.
    if (this.#signal?.aborted) return this.#signal.reason
    if (WinnowError.is(error)) return error
    const status = (error as { statusCode?: unknown } | null)?.statusCode
    if (status === 404) return missing(what, 'nothing of that name')
    if (status === 401 || status === 403) {
      const why = 'no such repository, or one that wants its terms accepted and an access token (HF_TOKEN)'
      return missing(what, `status ${status}: ${why}`)
    }
    return failed(what, typeof status === 'number' ? `status ${status}` : reasonOf(error), error)
  }
}

/** fetch says only "fetch failed"; the reason is below it, and where several addresses were tried one deeper still. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  if (error.cause instanceof Error) return reasonOf(error.cause)
  const [first] = error instanceof AggregateError ? error.errors : []
  return error.message || (first === undefined ? error.name : reasonOf(first))
}

function missing(what: string, received: string): WinnowError {
  return new WinnowError('SOURCE_NOT_FOUND', `Expected ${what} on the hub but received ${received}`)
}

function failed(what: string, received: string, cause?: unknown): WinnowError {
  return new WinnowError('HUB_FAILED', `Expected the hub's answer for ${what} but received ${received}`, { cause })
}
