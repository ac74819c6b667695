import { availableParallelism } from 'node:os'
import type { ModelFacts, NativeDevice } from './binding.js'
import { bytesText } from './bytes.js'
import { type Rung, toBlock } from './ladder.js'
import type { ResolvedOpenOptions } from './options.js'

/** A stream of cells for each candidate, or one cache of cells that all share, in which the prompt is held once. */
export type Layout = 'streams' | 'unified'

/** llama.cpp's limit of streams in a context; in a unified cache of sequences, and the prompt is one. */
export const maxStreams = 256

/** What decides between layouts, beside memory. */
export interface LayoutFacts {
  readonly asked: 'auto' | Layout
  readonly gpu: boolean
  /**
   * Whether llama.cpp's attention on the CPU may take rows in tiles to advantage: it takes them where cells are no blocks of
   * integers, and with two threads a unified cache was measured to be half as fast as streams all the same (bench/results).
   */
  readonly tiles: boolean
  /** Heads of queries for each of keys and values: 4 in Llama 3. */
  readonly headsPerKv: number
  /** Whether other races are in the engine's pool or wait for it: a unified cache is for one race alone. */
  readonly shared: boolean
}

type LayoutOptions = Pick<ResolvedOpenOptions, 'layout' | 'gpuLayers' | 'kvType' | 'flashAttention' | 'threads'>

interface Race {
  readonly n: number
  readonly promptTokens: number
  readonly maxTokens: number
  readonly deterministic: boolean
}

/** Rows of queries that llama.cpp's kernels hold against a cell that they read once, for CUDA and in tiles on the CPU. */
const tileRows = 64

/** Cells in all for each that a candidate reads, below which tiles are faster on the CPU: at 5.3 they were, at 8 they were not. */
const tiledCells = 6

/** Why a race cannot be written in a unified cache, whatever its memory; null where it can. */
export function barTo({ n, deterministic }: Race): string | null {
  if (deterministic) return 'a unified cache is never deterministic: its sums depend on where the cells of others lie'
  if (n >= maxStreams) return `a unified cache has at most ${maxStreams - 1} candidates`
  return null
}

/**
 * Whether a unified cache is likely to be faster, where nobody says which. On a GPU: where fewer bytes of keys and values
 * are read a step. Streams are read once each, S (P + t) cells for S candidates of t tokens behind a prompt of P. Of a
 * unified cache every row is held against every cell, T = 64 / (heads per KV head) candidates at a time, so S / T (P + S t)
 * cells are read. The second is less where P > t (S - T) / (T - 1). That is by llama.cpp's source (fattn-common.cuh, v0.5.0: a
 * decode is not cut at cells that no row reads) and not measured. Copies of a prompt that is shorter than the answers are
 * not worth a pool of one's own.
 *
 * On the CPU: for as many candidates as a tile has rows, where little of the cache is of single ones, as measured
 * (bench/results).
 */
export function pays({ gpu, tiles, headsPerKv, shared }: LayoutFacts, { n, promptTokens, maxTokens }: Race): boolean {
  if (shared || n < 2 || promptTokens < maxTokens) return false
  if (!gpu) return tiles && n >= tileRows && promptTokens + n * maxTokens < tiledCells * (promptTokens + maxTokens)
  const tile = tileRows / headsPerKv
  return n <= tile || (tile > 1 && promptTokens > (maxTokens * (n - tile)) / (tile - 1))
}

/** A unified cache for all candidates at once, each to its end. */
export function unifiedRung({ n, promptTokens, maxTokens }: Race): Rung {
  return {
    width: n,
    cells: toBlock(promptTokens + maxTokens),
    unifiedCells: toBlock(promptTokens + n * maxTokens)
  }
}

/** What each layout takes of the cells of the model that writes, all candidates at once: the end of a sentence. */
export function comparison(race: Race, bytesPerCell: number): string {
  const { width, cells, unifiedCells = 0 } = unifiedRung(race)
  const text = (count: number) => `${count} cells (${bytesText(Math.round(count * bytesPerCell))})`
  return `${width} streams are ${text(width * cells)}, a unified cache is ${text(unifiedCells)}`
}

/** Of a model on these devices. */
export function layoutFacts(
  { layout: asked, gpuLayers, kvType, flashAttention, threads }: LayoutOptions,
  { heads, headsKv }: Pick<ModelFacts, 'heads' | 'headsKv'>,
  devices: readonly NativeDevice[],
  shared: boolean
): LayoutFacts {
  const gpu = gpuLayers !== 0 && devices.some(({ type }) => type === 'gpu')
  const alone = (threads === 0 ? availableParallelism() : threads) === 1
  const tiles = alone && flashAttention !== 'off' && (kvType === 'f16' || kvType === 'f32')
  return { asked, gpu, tiles, headsPerKv: Math.max(1, heads / Math.max(1, headsKv)), shared }
}
