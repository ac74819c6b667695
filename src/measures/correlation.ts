import { mean, quantile } from '../statistics.js'
import { finalScore, type Trace, type TraceHeader } from '../traces/trace.js'

/** Pearson's correlation of pairs; null for fewer than two, and where one side does not vary. */
export function pearson(x: readonly number[], y: readonly number[]): number | null {
  // Rounding gives the mean of equal numbers a last bit of its own.
  const varies = (values: readonly number[]) => values.some((value) => value !== values[0])
  if (!varies(x) || !varies(y)) return null
  const [mx, my] = [mean(x), mean(y)]
  let [sxy, sxx, syy] = [0, 0, 0]
  for (const [i, value] of x.entries()) {
    const [dx, dy] = [value - mx, (y[i] as number) - my]
    sxy += dx * dy
    sxx += dx * dx
    syy += dy * dy
  }
  const r = sxy / Math.sqrt(sxx * syy)
  return Number.isFinite(r) ? Math.max(-1, Math.min(1, r)) : null
}

/**
 * Kendall's tau-b, which allows for ties: (concordant - discordant) / sqrt((pairs - ties in x)(pairs - ties in y)). Null where
 * one side does not vary. Every pair is looked at: n^2 / 2 steps.
 */
export function kendall(x: readonly number[], y: readonly number[]): number | null {
  let [agreement, variedX, variedY] = [0, 0, 0]
  for (let i = 1; i < x.length; i++) {
    for (let j = 0; j < i; j++) {
      const a = order(x[i] as number, x[j] as number)
      const b = order(y[i] as number, y[j] as number)
      agreement += a * b
      variedX += a * a
      variedY += b * b
    }
  }
  return variedX === 0 || variedY === 0 ? null : agreement / Math.sqrt(variedX * variedY)
}

/** -1, 0 or 1; infinities are equal to themselves. */
function order(a: number, b: number): number {
  return a === b ? 0 : a > b ? 1 : -1
}

/** How well scores at one place say what the final ones will be. */
export interface PlaceCorrelation {
  readonly tokens: number
  /** Prompts with a correlation there. */
  readonly prompts: number
  /** Mean over prompts, and their quartiles. */
  readonly pearson: Spread
  readonly kendall: Spread
}

export interface Spread {
  readonly mean: number
  readonly low: number
  readonly median: number
  readonly high: number
}

/**
 * Correlations of partial and final score within each prompt, by position: of the candidates that are live there, for a
 * finished one's score is final. The paper's violins (its appendix) are over prompts too.
 */
export class PlaceCorrelations {
  readonly #grid: number
  readonly #scorer: number
  readonly #places: { readonly pearson: number[]; readonly kendall: number[] }[] = []

  /** `scorer`: its place in the header. */
  constructor({ grid }: TraceHeader, scorer: number) {
    this.#grid = grid
    this.#scorer = scorer
  }

  add(trace: Trace): void {
    const scores = trace.scores(this.#scorer)
    const looks = Math.max(...trace.lived)
    for (let look = 1; look <= looks; look++) {
      const [partial, final]: [number[], number[]] = [[], []]
      for (const [id, lived] of trace.lived.entries()) {
        if (lived < look) continue
        const [score, last] = [scores[(trace.starts[id] as number) + look - 1] as number, finalScore(trace, scores, id)]
        if (!Number.isFinite(score) || !Number.isFinite(last)) continue
        partial.push(score)
        final.push(last)
      }
      const place = this.#places[look - 1] ?? { pearson: [], kendall: [] }
      this.#places[look - 1] = place
      const [r, tau] = [pearson(partial, final), kendall(partial, final)]
      if (r === null || tau === null) continue
      place.pearson.push(r)
      place.kendall.push(tau)
    }
  }

  all(): PlaceCorrelation[] {
    return this.#places.flatMap((place, i) => {
      const prompts = place.pearson.length
      if (prompts === 0) return []
      const tokens = (i + 1) * this.#grid
      return [{ tokens, prompts, pearson: spread(place.pearson), kendall: spread(place.kendall) }]
    })
  }
}

function spread(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b)
  return {
    mean: mean(values),
    low: quantile(sorted, 0.25),
    median: quantile(sorted, 0.5),
    high: quantile(sorted, 0.75)
  }
}
