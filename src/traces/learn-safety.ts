import { pearson } from '../measures/correlation.js'
import type { Safety } from '../policies/safety.js'
import { mean } from '../statistics.js'
import { bestOf } from './replay.js'
import { finalScore, type Trace, type TraceHeader } from './trace.js'

interface Place {
  readonly live: number[]
  readonly correlations: number[]
  readonly depths: number[]
}

/** What traces say about cutting at each place of their grid, gathered trace by trace. */
export class SafetyLearner {
  readonly #header: TraceHeader
  readonly #n: number
  readonly #scorer: number
  readonly #places: Place[] = []
  #prompts = 0

  /** `n`: the first so many candidates. `scorer`: its place in the header. */
  constructor(header: TraceHeader, n = header.n, scorer = 0) {
    this.#header = header
    this.#n = n
    this.#scorer = scorer
  }

  add(trace: Trace): void {
    const scores = trace.scores(this.#scorer)
    const best = bestOf(trace, scores, this.#n)
    const ids = Array.from({ length: this.#n }, (_, id) => id)
    const looks = Math.max(...ids.map((id) => trace.lived[id] as number))
    for (let look = 1; look <= Math.max(looks, this.#places.length); look++) {
      const live = ids.filter((id) => (trace.lived[id] as number) >= look)
      const place = this.#placeAt(look)
      const partial = live.map((id) => scores[(trace.starts[id] as number) + look - 1] as number)
      const r = pearson(
        partial,
        live.map((id) => finalScore(trace, scores, id))
      )
      if (r !== null) place.correlations.push(r)
      place.live.push(live.length)
      place.depths.push(live.includes(best) ? below(live, partial, best) / this.#n : 1)
    }
    this.#prompts++
  }

  /** Places where half of the prompts or more have a correlation. */
  safety(): Safety {
    const grid = this.#header.grid
    const enough = this.#places.findIndex(({ correlations }) => 2 * correlations.length < this.#prompts)
    const places = enough < 0 ? this.#places : this.#places.slice(0, enough)
    return {
      n: this.#n,
      scorer: this.#header.scorers[this.#scorer]?.name ?? '',
      prompts: this.#prompts,
      places: places.map(({ live, correlations, depths }, i) => {
        return { tokens: (i + 1) * grid, live: mean(live), correlation: mean(correlations), depths }
      })
    }
  }

  /** Of prompts before that had nobody there the pick had finished. */
  #placeAt(look: number): Place {
    const known = this.#places[look - 1]
    if (known !== undefined) return known
    const place = { live: Array(this.#prompts).fill(0), correlations: [], depths: Array(this.#prompts).fill(1) }
    this.#places.push(place)
    return place
  }
}

/** How many of the live candidates go before this one does. */
function below(live: readonly number[], scores: readonly number[], id: number): number {
  const own = scores[live.indexOf(id)] as number
  return live.filter((other, i) => (scores[i] as number) < own || ((scores[i] as number) === own && other > id)).length
}

/** `SafetyLearner` over traces at hand, or a file's. */
export async function learnSafety(
  header: TraceHeader,
  traces: Iterable<Trace> | AsyncIterable<Trace>,
  options: { readonly n?: number | undefined; readonly scorer?: number | undefined } = {}
): Promise<Safety> {
  const learner = new SafetyLearner(header, options.n, options.scorer)
  for await (const trace of traces) learner.add(trace)
  return learner.safety()
}
