/** A LoRA adapter as it is asked for, and as an address becomes a file of this machine. What opens it is adapters.ts. */
import { realpath } from 'node:fs/promises'
import { basename } from 'node:path'
import type { NativeAdapter } from './binding.js'
import { sha256 } from './checksum.js'
import { type DownloadOptions, localModel } from './download.js'
import { WinnowError } from './errors.js'

export interface LoraOptions {
  /** GGUF adapter: path or address, as models are given. */
  readonly path: string
  /** What its product counts, beside its own alpha over rank; negative takes it away, 0 leaves it out. Default 1. */
  readonly scale?: number | undefined
}

/** One at its scale. */
export interface Lora {
  readonly path: string
  readonly scale: number
}

/** One as it stands in results. */
export interface LoraRecord {
  /** Its file's name, without folders. */
  readonly file: string
  readonly sha256: string
  readonly scale: number
}

/** Opened ones that count together: a pool computes with one such set at a time. */
export interface AdapterSet {
  /** Alike for sets that compute the same; empty for none. */
  readonly key: string
  readonly members: readonly { readonly adapter: NativeAdapter; readonly scale: number }[]
}

export const noAdapters: AdapterSet = { key: '', members: [] }

/**
 * The files themselves, in an order that is alike for alike sets: an address is fetched, a link followed.
 * Throws ADAPTER_NOT_FOUND, OPTION_INVALID where two are the same file, and what `download` does.
 */
export async function localAdapters(asked: readonly Lora[], options: DownloadOptions): Promise<readonly Lora[]> {
  const found: Lora[] = []
  for (const { path, scale } of asked) {
    const local = await localModel(path, options)
    const file = await realpath(local).catch((cause: unknown) => {
      const message = `Expected a GGUF file for the LoRA adapter but received ${local}, which does not exist`
      throw new WinnowError('ADAPTER_NOT_FOUND', message, { cause })
    })
    if (found.some((other) => other.path === file)) {
      throw new WinnowError('OPTION_INVALID', `Expected each adapter once for lora but received ${file} twice`)
    }
    found.push({ path: file, scale })
  }
  return found.sort((a, b) => (a.path < b.path ? -1 : 1))
}

/** Of local ones; what counts nothing is left out, and scales are told apart as llama.cpp has them, in 32 bits. */
export function keyOf(lora: readonly Lora[]): string {
  const counting = lora.map(({ path, scale }) => [path, Math.fround(scale)]).filter(([, scale]) => scale !== 0)
  return counting.length === 0 ? '' : JSON.stringify(counting)
}

/** Of local ones and what they were opened as, one for one. */
export function setOf(lora: readonly Lora[], opened: readonly NativeAdapter[]): AdapterSet {
  const members = lora.map(({ scale }, i) => ({ adapter: opened[i] as NativeAdapter, scale: Math.fround(scale) }))
  return { key: keyOf(lora), members: members.filter(({ scale }) => scale !== 0) }
}

/** What a result depends on: where the files lie and how they are named does not matter. */
export function contentsOf(records: readonly LoraRecord[]): readonly Omit<LoraRecord, 'file'>[] {
  const all = records.map(({ sha256, scale }) => ({ sha256, scale }))
  return all.sort((a, b) => (a.sha256 < b.sha256 ? -1 : 1))
}

/** Of local ones, by reading them. */
export function loraRecords(lora: readonly Lora[]): Promise<readonly LoraRecord[]> {
  return Promise.all(lora.map(async ({ path, scale }) => ({ file: basename(path), sha256: await sha256(path), scale })))
}
