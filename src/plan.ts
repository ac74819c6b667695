import { bytesText } from './bytes.js'
import { type ForecastFacts, type Stretch, stretches } from './forecast.js'
import { cellBlock, greatest, ladder, type Rung, toBlock } from './ladder.js'
import { bytesOf, Memory, type MemoryFacts, type Place, type Taken } from './memory.js'
import type { Pace } from './pace.js'

/** What whoever runs the plan can do. */
export interface Abilities {
  /** Move survivors to fewer and longer streams when these are full: the engine does for policies with `onFull`. */
  readonly ladder: boolean
  /** Write candidates one part after another: the engine cannot. */
  readonly waves: boolean
}

/** llama.cpp's limit of streams in a context. */
export const maxStreams = 256

export interface PlanFacts extends ForecastFacts, MemoryFacts {
  readonly abilities: Abilities
  readonly deterministic: boolean
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
  /** Parts that are written one after another: 1 as the engine is, 0 when not one candidate fits. */
  readonly waves: number
  /**
   * Widths fall, cells rise; cells are multiples of 256. One unless the policy decides when the streams are full; none when
   * not one candidate fits.
   */
  readonly rungs: readonly PlannedRung[]
  readonly layout: 'streams'
  /** Empty when not one candidate fits. */
  readonly layoutWhy: string
  /** Keys and values of one token of one candidate, a reward model's included, bytes. */
  readonly bytesPerCell: number
  /** If no candidate ends by itself: an upper bound. */
  readonly expectedTokens: number
  /** The most bytes at once beside the weights; never above `budgetBytes`. */
  readonly peakBytes: number
  readonly budgetBytes: number
  /** At the peak, by device. */
  readonly devices: readonly (Taken & { readonly room: number })[]
  /**
   * Of decoding and sampling, as this engine was in races like this one and if no candidate ends by itself; null where
   * there was none.
   */
  readonly seconds: number | null
}

/** Tokens behind the prompt that a first rung has room for, at least: the reference's number. */
const leastTokens = 8

/** Below this many candidates it is worth saying what their copies of the prompt take. */
const manyStreams = 32

/**
 * From memory to widths and lengths: as many candidates as fit to their ends; with a ladder, as many as fit to begin
 * with, if rejecting by the policy then makes room for the survivors. What is planned has been sized: it fits.
 */
export async function plan(facts: PlanFacts): Promise<Plan> {
  const memory = new Memory(facts)
  const { n, promptTokens, maxTokens, policy, abilities } = facts
  const whole = toBlock(promptTokens + maxTokens)
  const limit = Math.min(n, maxStreams)
  const atOnce = await greatest(1, limit, (width) => fits(memory, { width, cells: whole }))
  let rungs: readonly Rung[] = []
  if (atOnce !== null) {
    const even = { width: evenly(n, atOnce, abilities), cells: whole }
    rungs = [(await fits(memory, even)) ? even : { width: atOnce, cells: whole }]
  }
  if (abilities.ladder && policy.keeps !== undefined && (atOnce ?? 0) < limit) {
    const least = Math.min(whole, toBlock(promptTokens + leastTokens))
    const first = await greatest(1, limit, (width) =>
      fits(memory, { width, cells: least }, leaving(facts, memory, { width, cells: least }, whole))
    )
    const climbed = first === null ? [] : await climb(facts, memory, evenly(n, first, abilities), whole)
    const [begins, ends] = [climbed[0]?.cells ?? 0, climbed.at(-1)?.cells ?? 0]
    if (begins > promptTokens && ends >= whole) rungs = climbed
  }
  return describe(facts, memory, rungs)
}

async function climb(facts: PlanFacts, memory: Memory, width: number, whole: number): Promise<Rung[]> {
  return ladder({
    width,
    keeps: (live) => facts.policy.keeps?.(live) ?? live,
    until: whole,
    cellsAt: async (live, before) => {
      const copies = before === null ? 0 : memory.copies(before, live)
      // The copies are made beside the old cells, and put back beside the new ones.
      if (before !== null && !(await fits(memory, before, copies))) return 0
      const least = before === null ? 1 : before.cells / cellBlock + 1
      const holds = (blocks: number) => {
        const rung = { width: live, cells: blocks * cellBlock }
        return fits(memory, rung, Math.max(copies, leaving(facts, memory, rung, whole)))
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

async function describe(facts: PlanFacts, memory: Memory, rungs: readonly Rung[]): Promise<Plan> {
  const { n, promptTokens, maxTokens, abilities, room } = facts
  const width = rungs[0]?.width ?? 0
  const waves = width === 0 ? 0 : abilities.waves ? Math.ceil(n / width) : 1
  const planned: PlannedRung[] = []
  let highest: (Place & { readonly bytes: number }) | null = null
  for (const [i, rung] of rungs.entries()) {
    const before = rungs[i - 1]
    const after = rungs[i + 1]
    const arriving = before === undefined ? 0 : memory.copies(before, rung.width)
    const copies = Math.max(arriving, after === undefined ? 0 : memory.copies(rung, after.width))
    // What is planned has been tried.
    const place = (await memory.place(rung, copies)) as Place
    const bytes = bytesOf(place.taken) + copies
    planned.push({ ...rung, pool: place.pool, bytes })
    if (highest === null || bytes > highest.bytes) highest = { ...place, bytes }
  }
  const taken = highest?.taken ?? []
  const cells = taken.reduce((sum, each) => sum + each.cells, 0)
  const bytesPerCell = highest === null ? 0 : cells / (highest.pool.width * highest.pool.cells)
  const parts = stretches({ ...facts, n: width }, rungs)
  return {
    n,
    promptTokens,
    maxTokens,
    admitted: width * waves >= n,
    why: why(facts, width, waves, rungs),
    width,
    waves,
    rungs: planned,
    layout: 'streams',
    layoutWhy: layoutWhy(width, promptTokens, facts.ownBytesPerCell),
    bytesPerCell,
    expectedTokens: waves * parts.reduce((sum, { width: live, from, to }) => sum + live * (to - from), 0),
    peakBytes: highest?.bytes ?? 0,
    budgetBytes: memory.budget,
    devices: taken.map((each) => ({
      ...each,
      room: room.find(({ device }) => device === each.device)?.bytes ?? 0
    })),
    seconds: secondsOf(facts, parts, waves)
  }
}

function why(
  { n, promptTokens, maxTokens, abilities }: PlanFacts,
  width: number,
  waves: number,
  rungs: readonly Rung[]
): string {
  if (width === 0) return `not one candidate of ${promptTokens + maxTokens} tokens, prompt included, fits in the budget`
  if (width * waves < n) {
    const races = Math.ceil(n / width)
    const reason = width === maxStreams ? 'a context has no more streams' : 'memory holds no more'
    const many = width === 1 ? 'one candidate' : `${width} candidates`
    return `at most ${many} at once, since ${reason}; ${races} races of them cover ${n}`
  }
  const each = rungs.length > 1 ? `${rungs.length} rungs, rejecting whenever the streams are full` : 'to their ends'
  return waves > 1
    ? `${waves} waves of ${width}, ${each}`
    : `all ${width} at once, ${each}${abilities.ladder ? '' : ', in one pool'}`
}

/** That a shared cache masks but does not skip other candidates' cells is so in llama.cpp's kernels for CUDA, by their source. */
function layoutWhy(width: number, promptTokens: number, ownBytesPerCell: number): string {
  if (width === 0) return ''
  if (width >= manyStreams) {
    return `a stream a candidate attends to its own cells alone; in a shared cache each would go over the cells of all ${width}`
  }
  const spared = bytesText(Math.round((width - 1) * promptTokens * ownBytesPerCell))
  return `the engine has no other layout; at ${width} a shared cache would spare ${spared} of copies of the prompt`
}

function secondsOf(facts: PlanFacts, parts: readonly Stretch[], waves: number): number | null {
  const { pace, promptTokens, maxTokens, deterministic } = facts
  const circumstances = { deterministic, context: promptTokens + maxTokens / 2 }
  let sum = pace?.prompt(promptTokens) ?? null
  for (const { width, from, to } of parts) {
    const step = pace?.step(width, circumstances) ?? null
    sum = sum === null || step === null ? null : sum + (to - from) * step
  }
  return sum === null || parts.length === 0 ? null : waves * sum
}

/** Waves of like width rather than a narrow last one; without waves, the most at once. */
function evenly(n: number, most: number, { waves }: Abilities): number {
  return waves ? Math.ceil(n / Math.ceil(n / most)) : Math.min(n, most)
}

async function fits(memory: Memory, rung: Rung, copies = 0): Promise<boolean> {
  return (await memory.place(rung, copies)) !== null
}
