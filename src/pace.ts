import type { Layout } from './layout.js'
import type { Usage } from './result.js'

/** What a step of a given width also depends on. */
export interface Circumstances {
  readonly deterministic: boolean
  /** Tokens of a branch half way through its race, the prompt included. */
  readonly context: number
  /** Default `streams`. */
  readonly layout?: Layout
}

/** One race's speed. */
interface Lap extends Circumstances {
  /** Rows of a decode step, on average over the race. */
  readonly width: number
  /** Of a step, decoding and sampling. */
  readonly seconds: number
}

/** The most that two lengths may differ by, as a ratio, to be compared: attention's share of a step grows with length. */
const likeness = 4

/**
 * How fast this engine has been so far: seconds of a step by its width, and of a prompt token. Only races like the one
 * that is asked about count; where there was none it says null. Answers that were given are no measure: nothing is sampled.
 */
export class Pace {
  #laps: readonly Lap[] = []
  #prompts: readonly { readonly tokens: number; readonly seconds: number }[] = []

  /** `steps`: tokens of the race's longest branch. */
  record(
    { processedTokens, promptTokens, seconds }: Usage,
    steps: number,
    deterministic: boolean,
    layout: Layout = 'streams'
  ): void {
    if (steps === 0) return
    const width = Math.round((processedTokens - promptTokens) / steps)
    if (width < 1) return
    const lap: Lap = {
      deterministic,
      layout,
      context: promptTokens + steps / 2,
      width,
      seconds: (seconds.decode + seconds.sample) / steps
    }
    // The first race of an engine pages the weights in: of like laps the latest counts.
    const others = this.#laps.filter((other) => other.width !== width || !isLike(other, lap))
    this.#laps = [...others, lap].sort((a, b) => a.width - b.width)
    this.#prompts = [
      ...this.#prompts.filter(({ tokens }) => !isNear(tokens, promptTokens)),
      { tokens: promptTokens, seconds: seconds.prefill / promptTokens }
    ]
  }

  /** Of decoding a prompt; null before one of like length. */
  prompt(tokens: number): number | null {
    const found = this.#prompts.findLast((prompt) => isNear(prompt.tokens, tokens))
    return found === undefined ? null : tokens * found.seconds
  }

  /**
   * Seconds of a step; null before a race like it. Between two widths that were measured, on the line through them;
   * below the least, that one's; beyond the greatest, in proportion. The last two err towards too long: a wider step
   * takes no less time in all, and no more for each row.
   */
  step(width: number, circumstances: Circumstances): number | null {
    const laps = this.#laps.filter((lap) => isLike(lap, circumstances))
    const above = laps.find((lap) => lap.width >= width)
    const below = laps.findLast((lap) => lap.width <= width)
    if (above === undefined) return below === undefined ? null : (below.seconds * width) / below.width
    if (below === undefined || above.width === below.width) return above.seconds
    const share = (width - below.width) / (above.width - below.width)
    return below.seconds + share * (above.seconds - below.seconds)
  }
}

function isLike(a: Circumstances, b: Circumstances): boolean {
  const [here, there] = [a, b].map(({ layout = 'streams' }) => layout)
  return a.deterministic === b.deterministic && here === there && isNear(a.context, b.context)
}

function isNear(a: number, b: number): boolean {
  return Math.max(a, b) <= likeness * Math.min(a, b)
}
