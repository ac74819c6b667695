/** Where a model is that is no file here: on the hub, or anywhere on the web. What fetches it is download.ts. */
import { createHash } from 'node:crypto'
import { expected, WinnowError } from './errors.js'

export type Address =
  | {
      readonly kind: 'file'
      /** `ORG/REPO`. */
      readonly repository: string
      readonly revision: string
      /** Its path in the repository. */
      readonly file: string
      readonly place: string
    }
  | {
      readonly kind: 'quantisation'
      readonly repository: string
      /** Such as Q4_K_M: the hub knows which file that is. */
      readonly quantisation: string
      readonly place: string
    }
  | {
      readonly kind: 'url'
      readonly url: string
      /** Where it lands, as a path below the folder of the models; of a split model, its first part. */
      readonly place: string
    }

const forms = 'hf:ORG/REPO:FILE.gguf, hf:ORG/REPO@REVISION:FILE.gguf, hf:ORG/REPO:Q4_K_M or https://HOST/FILE.gguf'

/**
 * The address a text is; null for a path. `hf:` and `https:` (`http:` too) make an address; a file of such a name is
 * reached by `./hf:...`. Addresses of files on the hub's own pages are the same as their `hf:` form. Whatever it says,
 * its place stays inside the folder of the models.
 *
 * Throws OPTION_INVALID.
 */
export function addressOf(text: string, hubUrl: string): Address | null {
  if (text.startsWith('hf:')) return onHub(text)
  if (!/^https?:/i.test(text)) return null
  const url = URL.canParse(text) ? new URL(text) : null
  if (url !== null && (url.username !== '' || url.password !== '')) {
    // The text itself stays out of the message.
    throw new WinnowError('OPTION_INVALID', 'Expected no password for the address of a model but received one')
  }
  if (url === null || !/\.gguf$/i.test(url.pathname)) throw invalid(text)
  const page = URL.canParse(hubUrl) && url.origin === new URL(hubUrl).origin ? onPage(url) : null
  return page ?? onWeb(url)
}

/** Whether a text is one, right or wrong, and no path. */
export function isAddress(text: string): boolean {
  return text.startsWith('hf:') || /^https?:/i.test(text)
}

/**
 * An argument of a command line as it may be shown: of an address, with or without its flag, neither user and password nor
 * query and fragment, any of which may be a secret.
 */
export function withoutSecrets(argument: string): string {
  const [, flag = '', address] = /^(-[\w-]*?=?)?(https?:.*)$/is.exec(argument) ?? []
  if (address === undefined) return argument
  const url = URL.canParse(address) ? new URL(address) : null
  // What is no address may have its secret anywhere.
  return `${flag}${url === null ? address.replace(/:.*/s, ':...') : url.origin + url.pathname}`
}

/** The names of all parts where the name is that of one part of a split model (`-00001-of-00003.gguf`), else the name. */
export function partsOf(name: string): string[] {
  const [, stem, , count] = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/.exec(name) ?? []
  const parts = Number(count ?? 0)
  return parts === 0 ? [name] : Array.from({ length: parts }, (_, i) => partName(stem as string, i, parts))
}

/** As llama.cpp wants the `i`th of them to be called, i from 0. */
export function partName(stem: string, i: number, parts: number): string {
  const digits = (value: number) => String(value).padStart(5, '0')
  return parts === 1 ? `${stem}.gguf` : `${stem}-${digits(i + 1)}-of-${digits(parts)}.gguf`
}

function onHub(text: string): Address {
  const [, repository, revision = 'main', what] =
    /^hf:(\w[\w.-]*\/\w[\w.-]*)(?:@(\w[\w./-]*))?:(.+)$/su.exec(text) ?? []
  if (repository === undefined || what === undefined) throw invalid(text)
  if (/\.gguf$/i.test(what)) return fileOnHub(text, repository, revision, what)
  // The hub answers for quantisations of the newest revision alone.
  if (!/^\w+$/.test(what) || text.includes('@')) throw invalid(text)
  const quantisation = what.toUpperCase()
  const stem = (repository.split('/')[1] as string).replace(/[.-]gguf$/i, '')
  const place = placed(text, ['hf', ...repository.split('/'), `${stem}.${quantisation}.gguf`])
  return { kind: 'quantisation', repository, quantisation, place }
}

function fileOnHub(text: string, repository: string, revision: string, file: string): Address {
  const [organisation, name] = repository.split('/') as [string, string]
  const kept = revision === 'main' ? name : `${name}@${encodeURIComponent(revision)}`
  const path = partsOf(file)[0] as string
  const place = placed(text, ['hf', organisation, kept, ...path.split('/')])
  return { kind: 'file', repository, revision, file: path, place }
}

function onPage(url: URL): Address | null {
  const [, repository, revision, file] =
    /^\/(\w[\w.-]*\/\w[\w.-]*)\/(?:resolve|blob)\/([^/]+)\/(.+)$/.exec(url.pathname) ?? []
  if (repository === undefined || revision === undefined || file === undefined) return null
  try {
    return fileOnHub(url.href, repository, decodeURIComponent(revision), decodeURIComponent(file))
  } catch {
    throw invalid(url.href)
  }
}

function onWeb(url: URL): Address {
  const [path = ''] = partsOf(url.pathname)
  // What a query chooses must not be taken for what another chose.
  const query = url.search === '' ? [] : [createHash('sha256').update(url.search).digest('hex').slice(0, 16)]
  const segments = path.slice(1).split('/')
  const place = placed(url.origin + url.pathname, [
    url.protocol.slice(0, -1),
    encodeURIComponent(url.host),
    ...segments.slice(0, -1),
    ...query,
    segments.at(-1) as string
  ])
  url.pathname = path
  url.hash = ''
  return { kind: 'url', url: url.href, place }
}

/** What Windows takes for a device, whatever its ending. */
const device = /^(?:con|prn|aux|nul|(?:com|lpt)[0-9\u00b9\u00b2\u00b3]) *(?:\.|$)/i

/** Names that no file system reads as something else; Windows drops dots and spaces at the end. */
function placed(text: string, segments: readonly string[]): string {
  const isPlain = (name: string) => name !== '' && !/[. ]$|[<>:"|?*\\/]|\p{Cc}/u.test(name) && !device.test(name)
  if (segments.every(isPlain)) return segments.join('/')
  throw invalid(text)
}

function invalid(text: string): WinnowError {
  return expected('OPTION_INVALID', forms, 'the address of a model', withoutSecrets(text).replace(/[?#].*/s, ''))
}
