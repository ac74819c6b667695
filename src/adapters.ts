import { basename } from 'node:path'
import { type AdapterSet, type Lora, type LoraRecord, setOf } from './adapter.js'
import type { NativeAdapter, NativeBinding, NativeModel } from './binding.js'
import { sha256 } from './checksum.js'
import { WinnowError } from './errors.js'
import { openAdapter } from './model.js'
import type { Logger } from './options.js'

interface Opened {
  readonly adapter: NativeAdapter
  readonly sha256: string
}

/** The adapters of one model: each is opened at its first use, shared by all races, and kept until the end. */
export class Adapters {
  readonly #binding: NativeBinding
  readonly #model: NativeModel
  readonly #logger: Logger
  readonly #opened = new Map<string, Promise<Opened>>()
  /** Their paths, once they are open. */
  readonly #present = new Set<string>()
  #closed = false

  constructor(binding: NativeBinding, model: NativeModel, logger: Logger) {
    this.#binding = binding
    this.#model = model
    this.#logger = logger
  }

  /** Whether it is in memory. */
  has(path: string): boolean {
    return this.#present.has(path)
  }

  /** Of local ones. Throws what `openAdapter` does; one that failed is tried again the next time. */
  async open(lora: readonly Lora[]): Promise<{ readonly set: AdapterSet; readonly records: readonly LoraRecord[] }> {
    const opened: Opened[] = []
    for (const { path } of lora) opened.push(await this.#open(path))
    const records = lora.map(({ path, scale }, i) => {
      return { file: basename(path), sha256: (opened[i] as Opened).sha256, scale }
    })
    const natives = opened.map(({ adapter }) => adapter)
    return { set: setOf(lora, natives), records }
  }

  /** Waits for those that are being opened. No pool may have one then. */
  async close(): Promise<void> {
    this.#closed = true
    for (const opened of this.#opened.values()) (await opened.catch(() => null))?.adapter.close()
    this.#opened.clear()
    this.#present.clear()
  }

  async #open(path: string): Promise<Opened> {
    if (this.#closed) throw new WinnowError('ENGINE_CLOSED', 'Expected an open engine but received one that was closed')
    const found = this.#opened.get(path)
    if (found !== undefined) return found
    const opening = this.#load(path)
    this.#opened.set(path, opening)
    opening.then(
      () => this.#present.add(path),
      () => this.#opened.delete(path)
    )
    return opening
  }

  async #load(path: string): Promise<Opened> {
    const adapter = await openAdapter(this.#binding, this.#model, path)
    const { tensors, ignored, name } = adapter.facts
    this.#logger.debug({ path, name, tensors }, 'opened a LoRA adapter')
    if (ignored > 0) this.#logger.warn({ path, ignored }, 'llama.cpp leaves out the norms of a LoRA adapter')
    try {
      return { adapter, sha256: await sha256(path) }
    } catch (error) {
      adapter.close()
      throw error
    }
  }
}
