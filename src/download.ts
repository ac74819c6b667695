/** Models given by address: fetched once into a folder, whole and checked, and found there from then on. */
import { createHash } from 'node:crypto'
import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { abortable, follow } from './abort.js'
import { type Address, addressOf, partName, partsOf } from './address.js'
import { sha256 } from './checksum.js'
import { PartialDownload } from './download/partial.js'
import { hubUrl, type Remote, remotesOf } from './download/remote.js'
import { runDownload } from './download/thread.js'
import { expected, WinnowError } from './errors.js'

export interface DownloadOptions {
  /**
   * Folder of models given by address. Default: WINNOW_MODELS, else `winnow/models` in XDG_CACHE_HOME or `~/.cache`. What
   * is in it may be deleted at any time.
   */
  readonly models?: string | undefined
  /** Ends the download, whose next call goes on where it ended, and rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined
  /**
   * Bytes that are there and bytes in all, ten times a second at most, with the last when they are equal. Not called for
   * a model that is there already. What it throws the call rejects with; the download ends unless others wait for it.
   */
  readonly onDownload?: ((bytes: number, total: number) => void) | undefined
}

/**
 * The path of the file at an address: `hf:ORG/REPO:FILE.gguf`, `hf:ORG/REPO@REVISION:FILE.gguf`, `hf:ORG/REPO:Q4_K_M` or
 * `https://HOST/FILE.gguf`. It is fetched where it is not here yet, all parts of a split model together; size and, from
 * the hub, SHA-256 are checked before it gets its name. HF_TOKEN is sent to the hub, which HF_ENDPOINT may replace. Calls
 * for the same file share one download. Nothing native is loaded.
 *
 * Throws OPTION_INVALID, MODEL_NOT_FOUND, SOURCE_NOT_FOUND (no such repository, or not without a token), HUB_FAILED,
 * DOWNLOAD_FAILED, DOWNLOAD_CORRUPT, WRITE_FAILED, and the signal's reason.
 */
export async function download(address: string, options: DownloadOptions = {}): Promise<string> {
  const parsed = addressOf(address, hubUrl())
  if (parsed === null) throw expected('OPTION_INVALID', 'hf:... or https://...', 'the address of a model', address)
  return fetched(parsed, options)
}

/** The same for a text that may be a path; a path comes back as it is, whether a file is there or not. */
export async function localModel(pathOrAddress: string, options: DownloadOptions): Promise<string> {
  const address = addressOf(pathOrAddress, hubUrl())
  return address === null ? pathOrAddress : fetched(address, options)
}

/**
 * The same with what is there already, asking nobody: null for an address whose file is not. Throws OPTION_INVALID for what
 * is no address.
 */
export async function modelHere(
  pathOrAddress: string,
  { models }: Pick<DownloadOptions, 'models'>
): Promise<string | null> {
  const address = addressOf(pathOrAddress, hubUrl())
  return address === null ? pathOrAddress : present(address, folderOf(models))
}

/** A download and who waits for it. It ends when nobody does. */
interface Running {
  readonly result: Promise<string>
  readonly controller: AbortController
  readonly watchers: Set<(bytes: number, total: number) => void>
  waiting: number
}

const running = new Map<string, Running>()

async function fetched(address: Address, { models, signal, onDownload }: DownloadOptions): Promise<string> {
  const folder = folderOf(models)
  const key = join(folder, address.place)
  // One that is being ended lets go of its files first.
  for (let ending = running.get(key); ending?.controller.signal.aborted; ending = running.get(key)) {
    await ending.result.catch(() => {})
  }
  signal?.throwIfAborted()
  const run = running.get(key) ?? start(key, address, folder)
  const broken = new AbortController()
  const leaving = follow([signal, broken.signal])
  // A function of its own for each who waits: two may have given the same one. What it throws is the caller's alone.
  const watcher = (bytes: number, total: number) => {
    try {
      onDownload?.(bytes, total)
    } catch (error) {
      broken.abort(error)
    }
  }
  run.watchers.add(watcher)
  run.waiting++
  try {
    return await abortable(run.result, leaving.signal)
  } finally {
    leaving.release()
    run.watchers.delete(watcher)
    run.waiting--
    if (run.waiting === 0) {
      run.controller.abort(leaving.signal.reason)
      await run.result.catch(() => {})
    }
  }
}

function start(key: string, address: Address, folder: string): Running {
  const controller = new AbortController()
  const watchers: Running['watchers'] = new Set()
  const report = (bytes: number, total: number) => {
    for (const watcher of watchers) watcher(bytes, total)
  }
  const result = fetchModel(address, folder, report, controller.signal)
    .catch((error: unknown) => {
      controller.signal.throwIfAborted()
      throw explained(folder, error)
    })
    .finally(() => running.delete(key))
  const run = { result, controller, watchers, waiting: 0 }
  running.set(key, run)
  return run
}

async function fetchModel(
  address: Address,
  folder: string,
  report: (bytes: number, total: number) => void,
  signal: AbortSignal
): Promise<string> {
  const here = await present(address, folder)
  if (here !== null) return here
  const files = await remotesOf(address, signal)
  const total = files.reduce((sum, { size }) => sum + size, 0)
  const facts = files.map(({ size, sha256, version }) => [size, sha256, version])
  const key = createHash('sha256')
    .update(JSON.stringify([address.place, facts]))
    .digest('hex')
    .slice(0, 32)
  const partial = await PartialDownload.claim(join(folder, '.partial'), key)
  const parts = files.map((_, i) => join(partial.folder, partName('part', i, files.length)))
  let arrived = 0
  try {
    for (const [i, file] of files.entries()) {
      await complete(file, parts[i] as string, (bytes) => report(arrived + bytes, total), signal)
      arrived += file.size
    }
    await check(files, parts, signal)
    const place = join(folder, dirname(address.place))
    await mkdir(place, { recursive: true })
    // The first part last: where it is, the others are.
    for (const [i, file] of [...files.entries()].reverse()) await rename(parts[i] as string, join(place, file.name))
    await partial.remove()
    return join(place, files[0]?.name as string)
  } catch (error) {
    await partial.release()
    throw error
  }
}

/** Brings a file to its full size. */
async function complete(
  file: Remote,
  path: string,
  onBytes: (bytes: number) => void,
  signal: AbortSignal
): Promise<void> {
  let before = -1
  while ((await sizeOf(path)) !== file.size) {
    const { url, headers } = await file.locate(signal)
    let began = -1
    try {
      const job = { url, headers, folder: dirname(path), name: basename(path) }
      const watch = (bytes: number) => {
        if (began < 0) began = bytes
        // All of it is said once, below.
        if (bytes < file.size) onBytes(bytes)
      }
      await runDownload(file.address, job, watch, signal)
      break
    } catch (error) {
      // The place of a large file may hold for less time than the file takes: as long as there is progress, go on.
      const isBroken = WinnowError.is(error) && error.code === 'DOWNLOAD_FAILED'
      if (!isBroken || began <= before) throw error
      before = began
    }
  }
  onBytes(file.size)
}

/** Deletes what is not what it should be. Throws DOWNLOAD_CORRUPT. */
async function check(files: readonly Remote[], parts: readonly string[], signal: AbortSignal): Promise<void> {
  for (const [i, file] of files.entries()) {
    const path = parts[i] as string
    const size = await sizeOf(path)
    if (size !== file.size) throw await corrupt(file, path, `${file.size} bytes`, `${size ?? 'none'}`)
    if (file.sha256 === null) continue
    const actual = await sha256(path, signal)
    if (actual !== file.sha256)
      throw await corrupt(file, path, `a file with SHA-256 ${file.sha256}`, `one with ${actual}`)
  }
}

async function corrupt(file: Remote, path: string, wanted: string, received: string): Promise<WinnowError> {
  await rm(path, { force: true })
  const message = `Expected ${wanted} for ${file.address} but received ${received}; it was deleted`
  return new WinnowError('DOWNLOAD_CORRUPT', message)
}

/** The file where it is here already; for a quantisation, whatever number of parts it has. */
async function present(address: Address, folder: string): Promise<string | null> {
  const path = join(folder, address.place)
  if ((await sizeOf(path)) !== null) return path
  if (address.kind !== 'quantisation') return null
  const stem = basename(path, '.gguf')
  const names = await readdir(dirname(path)).catch(() => [])
  const first = names.find((name) => name.startsWith(`${stem}-00001-of-`) && partsOf(name)[0] === name)
  return first === undefined ? null : join(dirname(path), first)
}

function explained(folder: string, error: unknown): unknown {
  const { code, message } = error as NodeJS.ErrnoException
  if (WinnowError.is(error) || code === undefined) return error
  return new WinnowError('WRITE_FAILED', `Expected to write into ${folder} but received ${message}`, { cause: error })
}

async function sizeOf(path: string): Promise<number | null> {
  const found = await stat(path).catch(() => null)
  return found?.isFile() ? found.size : null
}

function folderOf(models: string | undefined): string {
  const { WINNOW_MODELS, XDG_CACHE_HOME } = process.env
  const own = WINNOW_MODELS || join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'winnow', 'models')
  return resolve(models ?? own)
}
