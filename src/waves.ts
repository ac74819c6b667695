import type { NativeForkParams, TokenLists } from './binding.js'
import type { Branch, Branches } from './branch.js'
import { WinnowError } from './errors.js'
import type { Lease } from './lease.js'
import { copyBytes } from './memory.js'

/** Streams are filled again when so large a share of them is free: a narrower step costs little less than a whole one. */
const freeShare = 1 / 8

/** What a race's waves are made with. */
export interface WavesSetup {
  readonly lease: Lease
  readonly branches: Branches
  /** Of all candidates; which of them is said at each fork. */
  readonly fork: Omit<NativeForkParams, 'count' | 'firstCandidate'>
  /** Of the prompt and of what a candidate may write, tokens. */
  readonly promptTokens: number
  /** KV bytes of one token, and the most that copies of branches may take in the host's memory. */
  readonly bytesPerCell: number
  readonly parkedBytes: number
}

/**
 * Which of a race's branches are in streams. Where all fit they begin together and stay. Otherwise they are written one
 * part after another, each part to where the race looks next: who is there makes room for others, by a copy in the
 * host's memory or, where that has no room, by nothing but its tokens. The policy sees what it would see had all been
 * there at once.
 */
export class Waves {
  readonly #setup: WavesSetup
  /** Candidates that have been forked: those of the lowest ids. */
  #begun = 0
  /** And whether there is a copy of their cells. */
  readonly #parked = new Map<Branch, boolean>()
  /** How often a branch made room for others. */
  parkings = 0
  /** The most that copies have taken at once, bytes. */
  parkedBytes = 0
  #width: number

  /** `width`: streams for branches. */
  constructor(setup: WavesSetup, width: number) {
    this.#setup = setup
    this.#width = width
  }

  /** Whether somebody waits who has fewer than so many tokens. */
  pending(until: number): boolean {
    return this.#fresh > 0 || this.#waiting(until).length > 0
  }

  /** How many branches must still be written on before it is worth putting others in. */
  least(until: number): number {
    return this.pending(until) ? Math.ceil(this.#width * (1 - freeShare)) : 0
  }

  /**
   * Puts as many of those who have fewer than so many tokens into streams as there is room for, one by one where they are
   * decoded again, until `over`. The tokens that were decoded again.
   */
  async seat(until: number, over: () => boolean): Promise<number> {
    const waiting = this.#waiting(until)
    const wanted = waiting.length + this.#fresh
    if (wanted === 0) return 0
    const seated = this.#seated
    const there = seated.filter(({ length }) => length >= until)
    const leaving = there.slice(0, Math.max(0, wanted - (this.#width - seated.length)))
    await this.#park(leaving)
    const free = this.#width - seated.length + leaving.length
    const arriving = waiting.slice(0, free)
    const replayed = await this.#resume(arriving, over)
    if (!over()) await this.#begin(Math.min(this.#fresh, free - arriving.length))
    return replayed
  }

  /**
   * Takes those who have so many tokens out of their streams, where others have not and could not be written on beside
   * them. False where nobody is left to be written on, or nobody could make room.
   */
  async clear(until: number): Promise<boolean> {
    const seated = this.#seated
    const there = seated.filter(({ length }) => length >= until)
    if (there.length === 0 || (there.length === seated.length && !this.pending(until))) return false
    await this.#park(there)
    return true
  }

  /** From now on at most so many are in streams. All have begun. */
  async narrow(width: number): Promise<void> {
    await this.#park(this.#seated.slice(width))
    this.#width = width
  }

  /** They were killed. */
  forget(ids: readonly number[]): void {
    for (const id of ids) this.#parked.delete(this.#setup.branches.all[id] as Branch)
  }

  get #seated(): Branch[] {
    return this.#setup.branches.live.filter((branch) => branch.begun && !this.#parked.has(branch))
  }

  /** Candidates that have not begun. */
  get #fresh(): number {
    return this.#setup.branches.all.length - this.#begun
  }

  #waiting(until: number): Branch[] {
    return [...this.#parked.keys()].filter((branch) => branch.length < until)
  }

  async #begin(count: number): Promise<void> {
    if (count === 0) return
    const { lease, fork, branches } = this.#setup
    const firstCandidate = this.#begun
    const given = fork.given && part(fork.given, firstCandidate, count)
    const keepPrompt = count < this.#fresh
    await lease.fork({ ...fork, count, firstCandidate, keepPrompt, ...(given && { given }) })
    this.#begun += count
    for (const branch of branches.all.slice(firstCandidate, this.#begun)) branch.begun = true
  }

  async #park(leaving: readonly Branch[]): Promise<void> {
    const { lease, promptTokens, bytesPerCell, parkedBytes } = this.#setup
    let left = parkedBytes - lease.occupancy.parkedBytes
    const small = leaving.filter(({ length }) => {
      left -= copyBytes(promptTokens + length, bytesPerCell)
      return left >= 0
    })
    const copied = (await this.#copied(small)) ? small : []
    const others = leaving.filter((branch) => !copied.includes(branch))
    if (others.length > 0) await lease.park(idsOf(others), false)
    for (const branch of leaving) this.#parked.set(branch, copied.includes(branch))
    this.parkings += leaving.length
    this.parkedBytes = Math.max(this.parkedBytes, lease.occupancy.parkedBytes)
  }

  /** Whether copies of them could be made. */
  async #copied(branches: readonly Branch[]): Promise<boolean> {
    if (branches.length === 0) return false
    const { lease } = this.#setup
    const before = lease.occupancy.parkedBytes
    try {
      await lease.park(idsOf(branches), true)
      return lease.occupancy.parkedBytes > before
    } catch (error) {
      // All or none: they are where they were.
      if (WinnowError.from(error).code !== 'OUT_OF_MEMORY') throw error
      return false
    }
  }

  async #resume(arriving: readonly Branch[], over: () => boolean): Promise<number> {
    const copied = arriving.filter((branch) => this.#parked.get(branch) === true)
    await this.#bringBack(copied)
    let replayed = 0
    for (const branch of arriving) {
      if (copied.includes(branch)) continue
      if (over()) break
      replayed += await this.#bringBack([branch])
    }
    return replayed
  }

  async #bringBack(branches: readonly Branch[]): Promise<number> {
    if (branches.length === 0) return 0
    const replayed = await this.#setup.lease.resume(idsOf(branches))
    for (const branch of branches) this.#parked.delete(branch)
    return replayed
  }
}

function idsOf(branches: readonly Branch[]): Int32Array {
  return Int32Array.from(branches, ({ id }) => id)
}

function part({ tokens, offsets }: TokenLists, from: number, count: number): TokenLists {
  const own = offsets.slice(from, from + count + 1)
  const [start, end] = [own[0] as number, own[count] as number]
  return { tokens: tokens.subarray(start, end), offsets: own.map((offset) => offset - start) }
}
