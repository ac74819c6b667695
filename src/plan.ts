import { WinnowError } from './errors.js'
import { cautious, type ForecastFacts, type Stretch, tokensOf } from './forecast.js'
import { cellBlock, cellsOf, greatest, ladder, type Rung, toBlock } from './ladder.js'
import { barTo, comparison, type Layout, type LayoutFacts, maxStreams, pays, unifiedRung } from './layout.js'
import { bytesOf, copyBytes, Memory, type MemoryFacts, type Place, type Taken } from './memory.js'
import type { Pace } from './pace.js'

export interface PlanFacts extends ForecastFacts, MemoryFacts {
  /** Survivors move to fewer and longer streams when these are full: for policies with `onFull`. */
  readonly ladder: boolean
  readonly deterministic: boolean
  readonly layout: LayoutFacts
  /** Null where nothing was measured. */
  readonly pace: Pick<Pace, 'prompt' | 'step'> | null
}

export interface PlannedRung extends Rung {
  /** The pool it is written in: its own streams and cells, or more of them where the pool at hand is used or grows. */
  readonly pool: Rung
  /** What it takes at its most, bytes: contexts, and the copies of those that move into it. */
  readonly bytes: number
}

/** What will be run, before it is. */
export interface Plan {
  readonly n: number
  readonly promptTokens: number
  /** Of one candidate; what the model's trained context holds of those asked for. */
  readonly maxTokens: number
  /** Whether it can be run. If not, the rest is about as many candidates as could. */
  readonly admitted: boolean
  readonly why: string
  /** Candidates at once to begin with; 0 when not one fits. */
  readonly width: number
  /**
   * Parts that are written one after another, 1 where all fit at once; 0 when not one candidate fits. Where there are several
   * the pool has one stream more, for the prompt; a unified cache always has.
   */
  readonly waves: number
  /**
   * The most that copies of candidates take that wait for their wave, bytes of the host's memory. Those it has no room for
   * are decoded again.
   */
  readonly parkedBytes: number
  /**
   * Widths fall, cells rise; cells are multiples of 256. One unless the policy decides when the streams are full; none when
   * not one candidate fits.
   */
  readonly rungs: readonly PlannedRung[]
  readonly layout: Layout
  /** With the cells and bytes that each layout takes for all candidates at once. Empty when not one candidate fits. */
  readonly layoutWhy: string
  /** Keys and values of one token of one candidate, a reward model's included, bytes. */
  readonly bytesPerCell: number
  /** Generated tokens if no candidate ends by itself: an upper bound. */
  readonly expectedTokens: number
  /** The most bytes at once beside the weights; never above `budgetBytes`. */
  readonly peakBytes: number
  readonly budgetBytes: number
  /** At the peak, by device. */
  readonly devices: readonly (Taken & { readonly room: number })[]
  /**
   * Of decoding and sampling, as this engine was in races like this one and if no candidate ends by itself; null where
   * there was none. What waves move and decode again is not in it.
   */
  readonly seconds: number | null
}

/** Tokens behind the prompt that a first rung has room for, at least: the reference's number. */
const leastTokens = 8

/**
 * From memory to widths and lengths: as many candidates as fit to their ends, and the others after them; with a ladder,
 * as many as fit to begin with, if rejecting by the policy then makes room for the survivors. What is planned has been
 * sized: it fits.
 */
export async function plan(facts: PlanFacts): Promise<Plan> {
  const memory = new Memory(facts)
  const { asked, gpu } = facts.layout
  const inStreams = async (why: string) => describe(facts, memory, await streamsFor(facts, memory), why)
  const bar = asked === 'streams' ? 'as asked' : barTo(facts)
  if (bar !== null) return inStreams(bar)
  if (asked === 'unified' || pays(facts.layout, facts)) {
    const { rung, why } = await unifiedFor(facts, memory)
    if (rung === null) return inStreams(why)
    return describe(facts, memory, [rung], asked === 'unified' ? 'as asked' : 'fewer cells are read a step')
  }
  const rungs = await streamsFor(facts, memory)
  if (gpu && (rungs[0]?.width ?? 0) < facts.n) {
    const { rung } = await unifiedFor(facts, memory)
    if (rung !== null) return describe(facts, memory, [rung], 'streams do not hold all candidates at once')
  }
  return describe(facts, memory, rungs, streamsWhy(facts))
}

/** Why streams, where nothing but speed decides. */
function streamsWhy({ layout, promptTokens, maxTokens }: PlanFacts): string {
  if (!layout.gpu) return 'on the CPU a unified cache of this shape was not measured to be faster'
  if (layout.shared) return 'other races share the pool'
  if (promptTokens < maxTokens) return 'the prompt is shorter than the answers'
  return 'in a unified cache each candidate would go over the cells of all'
}

/** A unified cache that has been sized and fits; or why there is none. */
async function unifiedFor(facts: PlanFacts, memory: Memory): Promise<{ rung: Rung | null; why: string }> {
  const rung = unifiedRung(facts)
  try {
    const there = await fits(memory, rung, 0, spareFor(facts.n, rung))
    return { rung: there ? rung : null, why: 'not all candidates fit in one cache at once' }
  } catch (error) {
    if (!WinnowError.is(error) || error.code !== 'MODEL_UNSUPPORTED') throw error
    return { rung: null, why: 'the cells of this model cannot be shared' }
  }
}

async function streamsFor(facts: PlanFacts, memory: Memory): Promise<readonly Rung[]> {
  const { n, promptTokens, maxTokens, policy } = facts
  const whole = toBlock(promptTokens + maxTokens)
  const limit = n > maxStreams ? maxStreams - 1 : n
  const begins = (rung: Rung, copies = 0) => fits(memory, rung, copies, spareFor(n, rung))
  const atOnce = await greatest(1, limit, (width) => begins({ width, cells: whole }))
  let rungs: readonly Rung[] = []
  if (atOnce !== null) {
    const even = { width: evenly(n, atOnce), cells: whole }
    rungs = [(await begins(even)) ? even : { width: atOnce, cells: whole }]
  }
  if (facts.ladder && policy.keeps !== undefined && (atOnce ?? 0) < limit) {
    const least = Math.min(whole, toBlock(promptTokens + leastTokens))
    const first = await greatest(1, limit, (width) =>
      begins({ width, cells: least }, leaving(facts, memory, { width, cells: least }, whole))
    )
    const climbed = first === null ? [] : await climb(facts, memory, evenly(n, first), whole)
    const [begun, ended] = [climbed[0]?.cells ?? 0, climbed.at(-1)?.cells ?? 0]
    if (begun > promptTokens && ended >= whole) rungs = climbed
  }
  return rungs
}

/** Streams of a first rung beside those of its candidates: the prompt's, while there are candidates to come or all share it. */
function spareFor(n: number, { width, unifiedCells }: Rung): number {
  return n > width || unifiedCells !== undefined ? 1 : 0
}

async function climb(facts: PlanFacts, memory: Memory, width: number, whole: number): Promise<Rung[]> {
  // By the next rung all have begun.
  const spareOf = (rung: Rung) => (rung.width === width ? spareFor(facts.n, rung) : 0)
  return ladder({
    width,
    keeps: (live) => facts.policy.keeps?.(live) ?? live,
    until: whole,
    cellsAt: async (live, before) => {
      const copies = before === null ? 0 : memory.copies(before, live)
      // The copies are made beside the old cells, and put back beside the new ones.
      if (before !== null && !(await fits(memory, before, copies, spareOf(before), width))) return 0
      const least = before === null ? 1 : before.cells / cellBlock + 1
      const holds = (blocks: number) => {
        const rung = { width: live, cells: blocks * cellBlock }
        return fits(memory, rung, Math.max(copies, leaving(facts, memory, rung, whole)), spareOf(rung), width)
      }
      return ((await greatest(least, whole / cellBlock, holds)) ?? 0) * cellBlock
    }
  })
}

/** Copies of those who may go on from a rung, about: as many as are kept, and not more than longer streams would hold. */
function leaving({ policy }: PlanFacts, memory: Memory, rung: Rung, whole: number): number {
  const { width, cells } = rung
  if (cells >= whole) return 0
  return memory.copies(rung, Math.min(policy.keeps?.(width) ?? width, Math.ceil((width * cells) / (cells + cellBlock))))
}

async function describe(facts: PlanFacts, memory: Memory, rungs: readonly Rung[], layoutWhy: string): Promise<Plan> {
  const { n, promptTokens, maxTokens, room } = facts
  const width = rungs[0]?.width ?? 0
  const waves = width === 0 ? 0 : Math.ceil(n / width)
  const planned: PlannedRung[] = []
  let highest: (Place & { readonly bytes: number }) | null = null
  let left = Number.POSITIVE_INFINITY
  for (const [i, rung] of rungs.entries()) {
    const before = rungs[i - 1]
    const after = rungs[i + 1]
    const arriving = before === undefined ? 0 : memory.copies(before, rung.width)
    const copies = Math.max(arriving, after === undefined ? 0 : memory.copies(rung, after.width))
    // What is planned has been tried.
    const place = (await memory.place(rung, copies, i === 0 ? spareFor(n, rung) : 0, width)) as Place
    const bytes = bytesOf(place.taken) + copies
    left = Math.min(left, memory.left(place.taken, copies))
    planned.push({ ...rung, pool: place.pool, bytes })
    if (highest === null || bytes > highest.bytes) highest = { ...place, bytes }
  }
  const taken = highest?.taken ?? []
  const cells = taken.reduce((sum, each) => sum + each.cells, 0)
  const bytesPerCell = highest === null ? 0 : cells / cellsOf(highest.pool)
  const parts = rungs.length === 0 ? [] : cautious(facts, rungs, waves)
  const parked = rungs.length === 0 ? 0 : parkedBytes(facts, rungs, waves)
  const layout = rungs[0]?.unifiedCells === undefined ? 'streams' : 'unified'
  const copied = Math.min(parked, left)
  return {
    n,
    promptTokens,
    maxTokens,
    admitted: width > 0,
    why: why(facts, width, waves, rungs, parked, copied),
    width,
    waves,
    parkedBytes: copied,
    rungs: planned,
    layout,
    layoutWhy: width === 0 ? '' : `${layoutWhy}: ${comparison(facts, facts.ownBytesPerCell)}`,
    bytesPerCell,
    expectedTokens: tokensOf(parts),
    peakBytes: (highest?.bytes ?? 0) + copied,
    budgetBytes: memory.budget,
    devices: taken.map((each) => ({
      ...each,
      room: room.find(({ device }) => device === each.device)?.bytes ?? 0
    })),
    seconds: secondsOf(facts, parts, layout)
  }
}

/**
 * The most that copies of all who wait for their wave would take, wherever all have been written as far. A policy that
 * cannot say how many it keeps may look all the same.
 */
function parkedBytes(facts: PlanFacts, rungs: readonly Rung[], waves: number): number {
  const { promptTokens, maxTokens, ownBytesPerCell, policy } = facts
  const looking = { keeps: (live: number) => policy.keeps?.(live) ?? live }
  const waiting = cautious({ ...facts, policy: looking }, rungs, waves).filter(({ to }) => to < maxTokens)
  return waiting.reduce((most, { live, atOnce, to }) => {
    return Math.max(most, (live - atOnce) * copyBytes(promptTokens + to, ownBytesPerCell))
  }, 0)
}

function why(
  { promptTokens, maxTokens }: PlanFacts,
  width: number,
  waves: number,
  rungs: readonly Rung[],
  parked: number,
  copied: number
): string {
  if (width === 0) return `not one candidate of ${promptTokens + maxTokens} tokens, prompt included, fits in the budget`
  const each = rungs.length > 1 ? `${rungs.length} rungs, rejecting whenever the streams are full` : 'to their ends'
  if (waves === 1) return `all ${width} at once, ${each}`
  const back = copied < parked ? 'decoded again where there is no room for copies' : 'copied out and back'
  return `${waves} waves of ${width}, ${each}${parked === 0 ? '' : `; who waits is ${back}`}`
}

function secondsOf(facts: PlanFacts, parts: readonly Stretch[], layout: Layout): number | null {
  const { pace, promptTokens, maxTokens, deterministic } = facts
  const circumstances = { deterministic, layout, context: promptTokens + maxTokens / 2 }
  let sum = pace?.prompt(promptTokens) ?? null
  for (const { live, atOnce, from, to } of parts) {
    const step = pace?.step(atOnce, circumstances) ?? null
    sum = sum === null || step === null ? null : sum + (to - from) * Math.ceil(live / atOnce) * step
  }
  return parts.length === 0 ? null : sum
}

/** Waves of like width rather than a narrow last one. */
function evenly(n: number, most: number): number {
  return Math.ceil(n / Math.ceil(n / most))
}

async function fits(memory: Memory, rung: Rung, copies: number, spare = 0, first = rung.width): Promise<boolean> {
  return (await memory.place(rung, copies, spare, first)) !== null
}
