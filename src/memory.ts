import { WinnowError } from './errors.js'
import { cellsOf, type Rung } from './ladder.js'

/** What contexts take on one device beside the weights, bytes. */
export interface Taken {
  readonly device: string
  readonly cells: number
  readonly compute: number
  /** Logits and states of one decode, and what llama.cpp notes of each cell. */
  readonly outputs: number
}

/** What contexts may take on one device, bytes. */
export interface Room {
  readonly device: string
  readonly bytes: number
  /** The host's own memory, where copies of branches go. */
  readonly host: boolean
}

export interface MemoryFacts {
  readonly room: readonly Room[]
  /** Bytes of all devices together; null for whatever the rooms hold. */
  readonly budget: number | null
  /**
   * Keys and values of one token of one candidate in the cells of the model that writes, bytes: shapes whose cells alone
   * are too many are not asked for.
   */
  readonly ownBytesPerCell: number
  /**
   * What the contexts take where so many candidates are written in such a pool, a reward model's among them. OUT_OF_MEMORY
   * says that they do not fit.
   */
  sizesOf(pool: Rung, width: number): Promise<readonly Taken[]> | readonly Taken[]
  /** The pools that would be tried for a rung, each at least as large, in that order. Default: the rung itself. */
  poolsFor?(rung: Rung): readonly Rung[]
}

/** Where a rung would be written. */
export interface Place {
  readonly pool: Rung
  readonly taken: readonly Taken[]
}

/** What llama.cpp writes into a copy beside keys and values, bytes: for all of it, and for each cell, as measured. */
const [noted, notedPerCell] = [128, 12]

/** Bytes of the host's memory that a copy of a candidate takes, about. */
export function copyBytes(cells: number, bytesPerCell: number): number {
  return Math.ceil(noted + cells * (bytesPerCell + notedPerCell))
}

/** What fits where, each shape asked for once. */
export class Memory {
  readonly #facts: MemoryFacts
  /** Null: llama.cpp has not the memory to lay it out. */
  readonly #known = new Map<string, Promise<readonly Taken[] | null>>()

  constructor(facts: MemoryFacts) {
    this.#facts = facts
  }

  get budget(): number {
    const all = this.#facts.room.reduce((sum, { bytes }) => sum + bytes, 0)
    return Math.min(all, this.#facts.budget ?? all)
  }

  /**
   * The first pool for it that fits; null when none does. `copies`: bytes of branches that wait in the host's memory;
   * `spare`: streams beside those of the candidates; `first`: candidates at once on the first rung, for which a reward model
   * has cells to the end.
   */
  async place(rung: Rung, copies = 0, spare = 0, first = rung.width): Promise<Place | null> {
    const wanted = { ...rung, width: rung.width + spare }
    for (const pool of this.#facts.poolsFor?.(wanted) ?? [wanted]) {
      if (cellsOf(pool) * this.#facts.ownBytesPerCell + copies > this.budget) continue
      const taken = await this.#sized(pool, first)
      if (taken !== null && this.#fits(taken, copies)) return { pool, taken }
    }
    return null
  }

  /** Of `live` branches whose streams are full: their cells in the model that writes; a reward model's stay where they are. */
  copies(rung: Rung, live: number): number {
    return live * copyBytes(rung.cells, this.#facts.ownBytesPerCell)
  }

  /** Bytes for copies in the host's memory beside what is taken already, other copies included. */
  left(taken: readonly Taken[], copies: number): number {
    const host = this.#facts.room.find((room) => room.host)
    if (host === undefined) return 0
    const there = bytesOf(taken.filter(({ device }) => device === host.device))
    return Math.max(0, Math.min(host.bytes - there, this.budget - bytesOf(taken)) - copies)
  }

  #fits(taken: readonly Taken[], copies: number): boolean {
    if (bytesOf(taken) + copies > this.budget) return false
    const rooms = this.#facts.room
    const needs = new Map<string, number>()
    const host = rooms.find((room) => room.host)
    if (copies > 0) {
      if (host === undefined) return false
      needs.set(host.device, copies)
    }
    for (const each of taken) needs.set(each.device, (needs.get(each.device) ?? 0) + bytesOf([each]))
    return [...needs].every(([device, bytes]) => bytes <= (rooms.find((room) => room.device === device)?.bytes ?? 0))
  }

  #sized(pool: Rung, width: number): Promise<readonly Taken[] | null> {
    const key = `${width} in ${pool.width}x${pool.cells} of ${cellsOf(pool)}`
    const found = this.#known.get(key) ?? this.#ask(pool, width)
    this.#known.set(key, found)
    return found
  }

  async #ask(pool: Rung, width: number): Promise<readonly Taken[] | null> {
    try {
      return await this.#facts.sizesOf(pool, width)
    } catch (error) {
      if (WinnowError.is(error) && error.code === 'OUT_OF_MEMORY') return null
      throw error
    }
  }
}

/** Of all parts together. */
export function bytesOf(taken: readonly Taken[]): number {
  return taken.reduce((sum, { cells, compute, outputs }) => sum + cells + compute + outputs, 0)
}

/** Two contexts side by side. */
export function together(a: readonly Taken[], b: readonly Taken[]): Taken[] {
  const all = [...a, ...b]
  return [...new Set(all.map(({ device }) => device))].map((device) => {
    const parts = all.filter((each) => each.device === device)
    const sum = (of: (part: Taken) => number) => parts.reduce((bytes, part) => bytes + of(part), 0)
    return {
      device,
      cells: sum(({ cells }) => cells),
      compute: sum(({ compute }) => compute),
      outputs: sum(({ outputs }) => outputs)
    }
  })
}
