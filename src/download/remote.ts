import { basename } from 'node:path'
import { type Address, partName, partsOf } from '../address.js'
import { WinnowError } from '../errors.js'
import { defaultHub, Hub } from '../sources/hub.js'
import { type Location, locate } from './location.js'

/** A file of a model where it comes from. */
export interface Remote {
  /** What it is called once it is here. */
  readonly name: string
  /** Bytes. */
  readonly size: number
  /** Hexadecimal; null where nobody gives one. */
  readonly sha256: string | null
  /** Changes with the content where there is no checksum, as far as the server tells. */
  readonly version: string | null
  /** For messages. */
  readonly address: string
  locate(signal: AbortSignal): Promise<Location>
}

export function hubUrl(): string {
  return (process.env.HF_ENDPOINT || defaultHub).replace(/\/+$/, '')
}

/** The files of a model, several where it is split. Throws MODEL_NOT_FOUND, SOURCE_NOT_FOUND, HUB_FAILED, DOWNLOAD_FAILED. */
export function remotesOf(address: Address, signal: AbortSignal): Promise<Remote[]> {
  return address.kind === 'url' ? onWeb(address, signal) : onHub(address, signal)
}

async function onHub(address: Exclude<Address, { kind: 'url' }>, signal: AbortSignal): Promise<Remote[]> {
  const token = process.env.HF_TOKEN || undefined
  const hub = new Hub({ hubUrl: hubUrl(), token, signal })
  const { repository } = address
  const isFile = address.kind === 'file'
  const revision = isFile ? address.revision : 'main'
  const first = isFile ? address.file : await hub.quantised(repository, address.quantisation)
  if (first === null) throw missing(`hf:${repository}:${isFile ? address.file : address.quantisation}`)
  const names = partsOf(first)
  const facts = await hub.facts(repository, revision, names)
  // A quantisation is found again by its address, whatever the hub calls the file.
  const stem = basename(address.place).replace(/(-\d{5}-of-\d{5})?\.gguf$/, '')
  return names.map((file, i) => {
    const known = facts[i] ?? null
    const text = `hf:${repository}${revision === 'main' ? '' : `@${revision}`}:${file}`
    if (known === null) throw missing(text)
    const path = file.split('/').map(encodeURIComponent).join('/')
    const url = `${hubUrl()}/${repository}/resolve/${encodeURIComponent(revision)}/${path}`
    return {
      name: names.length === 1 ? basename(address.place) : partName(stem, i, names.length),
      ...known,
      version: null,
      address: text,
      locate: (signal) => locate(text, url, token === undefined ? null : `Bearer ${token}`, signal)
    }
  })
}

async function onWeb({ url }: Extract<Address, { kind: 'url' }>, signal: AbortSignal): Promise<Remote[]> {
  const files: Remote[] = []
  for (const path of partsOf(new URL(url).pathname)) {
    const at = new URL(url)
    at.pathname = path
    const address = at.origin + path
    const find = (signal: AbortSignal) => locate(address, at.href, null, signal)
    const { size, version } = await find(signal)
    files.push({ name: basename(path), size, version, sha256: null, address, locate: find })
  }
  return files
}

function missing(what: string): WinnowError {
  const message = `Expected a GGUF file for the model but received ${what}, which the hub does not have`
  return new WinnowError('MODEL_NOT_FOUND', message)
}
