import type { Checkpoints } from '../checkpoint.js'
import { expected } from '../errors.js'
import { expectedMaximum, normalCdf, normalQuantile } from '../measures/normal.js'

/** What recorded races say of one place. */
export interface SafetyPlace {
  readonly tokens: number
  /** Mean number of candidates that are live there while nobody is killed. */
  readonly live: number
  /** Mean correlation of their scores there with their final ones, within prompts. */
  readonly correlation: number
  /**
   * By prompt: the largest share of the race's candidates that might have been killed there, lowest scores first, and
   * best-of-N's pick still be in the race. 1 where it had finished.
   */
  readonly depths: readonly number[]
}

/** What `learnSafety` found; plain data. */
export interface Safety {
  /** Candidates of the recorded races: what holds for so many need not hold for others. */
  readonly n: number
  readonly scorer: string
  readonly prompts: number
  readonly places: readonly SafetyPlace[]
}

/** From `tokens` on so large a share of the race's candidates may have been killed. */
export interface SafeShare {
  readonly tokens: number
  readonly share: number
}

/** How a share is derived from what was recorded. */
export type SafetyRule = 'normal' | 'ranks'

/**
 * The shares that may be cut at the places where `checkpoints` look, so that best-of-N's pick is lost with a chance of
 * `delta` at most.
 *
 * `normal` takes scores for normal: with correlation rho of partial and final score, m the expected maximum of the live
 * candidates and delta split evenly over the K looks (a union bound), the share is
 * Phi(rho m - z(1 - delta / K) sqrt(1 - rho^2)): the chance that the winner lies below the quantile of that share, solved for
 * the share. What was killed earlier counts as cut at every later look, so that the bound holds over all of them.
 *
 * `ranks` takes nothing for granted but that the prompts to come are like those recorded. One half of them gives for each look
 * the distribution of the depth that would have been safe; the other half says how far one may go into the lower tails of all
 * of them at once: as far as (lost + 1) / (prompts + 1) <= delta (conformal risk control, arXiv 2208.02814, theorem 1). With
 * fewer than 2 / delta prompts it cuts nothing.
 *
 * Throws OPTION_INVALID where `checkpoints` look where nothing was recorded.
 */
export function safeShares(safety: Safety, delta: number, checkpoints: Checkpoints, rule: SafetyRule): SafeShare[] {
  const places = placesOf(safety, checkpoints)
  if (rule === 'ranks') return byRanks(places, delta)
  return places.map(({ tokens, live, correlation }) => {
    const rho = Math.max(0, Math.min(1, correlation))
    const z = normalQuantile(1 - delta / places.length)
    const share = normalCdf(rho * expectedMaximum(Math.max(1, live)) - z * Math.sqrt(1 - rho * rho))
    return { tokens, share: (share * live) / safety.n }
  })
}

/** In the order of their tokens. Behind the last one nobody lived, or too few to say. */
function placesOf({ places }: Safety, checkpoints: Checkpoints): SafetyPlace[] {
  const found: SafetyPlace[] = []
  const last = places.at(-1)?.tokens ?? 0
  for (let at = checkpoints.next(0); at !== null && at <= last; at = checkpoints.next(at)) {
    const place = places.find(({ tokens }) => tokens === at)
    if (place === undefined) {
      const known = `${places[0]?.tokens}, ${places[1]?.tokens ?? '...'}, ... ${last} tokens`
      throw expected('OPTION_INVALID', `looks at places that were recorded (${known})`, checkpoints.name, at)
    }
    found.push(place)
  }
  return found
}

function byRanks(places: readonly SafetyPlace[], delta: number): SafeShare[] {
  const half = (depths: readonly number[], which: 0 | 1) => depths.filter((_, prompt) => prompt % 2 === which)
  const shapes = places.map(({ depths }) => half(depths, 0).sort((a, b) => a - b))
  const judges = places.map(({ depths }) => half(depths, 1))
  const judging = judges[0]?.length ?? 0
  let best: readonly number[] = places.map(() => 0)
  for (const shares of tails(shapes)) {
    if ((lostBy(shares, judges) + 1) / (judging + 1) > delta) break
    best = shares
  }
  return places.map(({ tokens }, i) => ({ tokens, share: best[i] as number }))
}

/** Into what is below the least depth seen, such parts of it. */
const parts = Array.from({ length: 20 }, (_, i) => (i + 1) / 20)

/** Shares for each look, from none to all: into the lower tails of all looks equally far. */
function* tails(shapes: readonly (readonly number[])[]): Generator<readonly number[], void, undefined> {
  for (const part of parts) yield shapes.map((sorted) => part * (sorted[0] as number))
  for (let level = 1; level < (shapes[0]?.length ?? 0); level++) yield shapes.map((sorted) => sorted[level] as number)
}

/** Prompts whose pick is cut. Where no more may be cut than before, nobody is. */
function lostBy(shares: readonly number[], depths: readonly (readonly number[])[]): number {
  let most = 0
  const cutting = shares.flatMap((share, i) => {
    if (share <= most) return []
    most = share
    return [{ share, depths: depths[i] as readonly number[] }]
  })
  const prompts = depths[0]?.length ?? 0
  let lost = 0
  for (let p = 0; p < prompts; p++) if (cutting.some((look) => (look.depths[p] as number) < look.share)) lost++
  return lost
}
