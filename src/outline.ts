import { type AdapterSet, type Lora, noAdapters, setOf } from './adapter.js'
import type { AdapterFacts, NativeAdapter, NativeBinding, NativeModel, NativeSizes } from './binding.js'
import { fromAddon } from './errors.js'
import type { Rung } from './ladder.js'
import type { Taken } from './memory.js'
import { openAdapter, openModel } from './model.js'
import type { ResolvedOpenOptions } from './options.js'

/** A model opened without its weights: its vocabulary, and what contexts of it would take. */
export class Outline {
  readonly #binding: NativeBinding
  readonly #options: ResolvedOpenOptions
  readonly #adapters: NativeAdapter[] = []
  #set: AdapterSet = noAdapters
  /** To turn text into tokens with; no pool takes it. */
  readonly model: NativeModel

  private constructor(binding: NativeBinding, options: ResolvedOpenOptions, model: NativeModel) {
    this.#binding = binding
    this.#options = options
    this.model = model
  }

  /** Passes the gates of any model. Throws what `openModel` does. */
  static async open(binding: NativeBinding, path: string, options: ResolvedOpenOptions): Promise<Outline> {
    return new Outline(binding, options, await openModel(binding, path, { ...options, onLoad: undefined }, false))
  }

  /**
   * Pools have these adapters from now on, local ones. llama.cpp cannot lay them out without reading them, so their bytes
   * are taken for as long as the outline is open. Throws what `openAdapter` does.
   */
  async adapt(lora: readonly Lora[]): Promise<{ readonly set: AdapterSet; readonly facts: readonly AdapterFacts[] }> {
    for (const { path } of lora) this.#adapters.push(await openAdapter(this.#binding, this.model, path))
    this.#set = setOf(lora, this.#adapters)
    return { set: this.#set, facts: this.#adapters.map(({ facts }) => facts) }
  }

  /** Throws what a pool of this shape would. */
  async pool(
    rung: Rung,
    { states, deterministic }: { readonly states: boolean; readonly deterministic: boolean }
  ): Promise<NativeSizes> {
    const params = { ...this.#params(rung), drawing: this.#options.drawing, states, deterministic }
    return fromAddon(() => this.#binding.poolSizes(this.model, params, this.#set.members))
  }

  async mirror(rung: Rung): Promise<NativeSizes> {
    return fromAddon(() => this.#binding.mirrorSizes(this.model, this.#params(rung)))
  }

  /** Idempotent. */
  close(): void {
    for (const adapter of this.#adapters) adapter.close()
    this.model.close()
  }

  #params({ width, cells, unifiedCells }: Rung) {
    const { threads, batch, kvType, flashAttention } = this.#options
    const cellsPerStream = Math.min(cells, this.model.facts.contextTrain)
    return { streams: width, cellsPerStream, unifiedCells, threads, batch, kvType, flashAttention }
  }
}

/**
 * What llama.cpp keeps beside each cell, of which it gives no account: position, extent, shift and 256 bits of owners
 * are 52 bytes by its source (llama-kv-cells.h), and two nodes of trees hold a cell that is in use.
 */
const noteBytes = 160

/** Without the weights. */
export function takenOf({ streams, cellsPerStream, devices }: NativeSizes): Taken[] {
  const notes = streams * cellsPerStream * noteBytes
  return devices.map(({ device, cells, compute, outputs }) => {
    // The device with the outputs is the host.
    return { device, cells, compute, outputs: outputs + (outputs > 0 ? notes : 0) }
  })
}
