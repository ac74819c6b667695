import type { Command } from 'commander'
import { type LoraOptions, type LoraRecord, localAdapters, loraRecords } from '../adapter.js'
import type { DownloadOptions } from '../download.js'
import { expected } from '../errors.js'
import { resolveBestOf } from '../options.js'
import { add } from './flag.js'

/** Adapters as they were asked for; undefined without. */
export interface LoraFlags {
  readonly lora?: readonly LoraOptions[]
}

export function addLoraFlag(command: Command): void {
  const help = 'LoRA adapter, GGUF path or address, at a scale (default: 1); may be given again; or a JSON array'
  const all = (text: string, flag: string, before?: unknown) => [
    ...((before as readonly LoraOptions[] | undefined) ?? []),
    ...loraOf(text, flag)
  ]
  add(command, '--lora <file[=scale]>', help, undefined, all)
}

/**
 * The files of the adapters, of an address once it has been fetched, and how they stand in results. Throws OPTION_INVALID,
 * ADAPTER_NOT_FOUND, and what `download` does.
 */
export async function readLora({ lora = [] }: LoraFlags, options: DownloadOptions) {
  const local = await localAdapters(resolveBestOf({ lora }).lora, options)
  return { lora: local, records: await loraRecords(local) }
}

/** As results have them: nothing where there are none, so that results of before there were any stay alike. */
export function loraIn<T extends Partial<LoraRecord>>(records: readonly T[]): { readonly lora?: readonly T[] } {
  return records.length === 0 ? {} : { lora: records }
}

/** One, or a JSON array of texts and of objects with path and scale. */
function loraOf(text: string, flag: string): LoraOptions[] {
  if (!text.startsWith('[')) return [oneOf(text, flag)]
  const wanted = 'FILE, FILE=SCALE or a JSON array of these'
  let list: unknown
  try {
    list = JSON.parse(text)
  } catch {
    throw expected('OPTION_INVALID', wanted, flag, text)
  }
  return (list as unknown[]).map((each) => (typeof each === 'string' ? oneOf(each, flag) : (each as LoraOptions)))
}

/** What stands behind the last `=` is a scale where it is a number, and of the path's otherwise. */
function oneOf(text: string, flag: string): LoraOptions {
  const [, path, scale] = /^(.*)=([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)$/is.exec(text) ?? []
  if ((path ?? text) === '') throw expected('OPTION_INVALID', 'FILE or FILE=SCALE', flag, text)
  return path === undefined ? { path: text, scale: 1 } : { path, scale: Number(scale) }
}
