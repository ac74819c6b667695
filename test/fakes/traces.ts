import { generator } from '../../src/statistics.js'
import { startsOf, type Trace, type TraceHeader } from '../../src/traces/trace.js'

export interface MadeOptions {
  readonly prompts: number
  readonly n: number
  readonly grid: number
  /** Correlation of the score after so many tokens with the final one. */
  readonly rho: (tokens: number) => number
  /** Tokens of every candidate. Default: a few dozen, different for each. */
  readonly length?: number
  /** Seconds of a decode step. */
  readonly step?: (width: number, context: number) => number
  readonly seed?: number
}

/**
 * Traces of normal rewards: a candidate's score at a place is rho(place) x its final one, and noise of its own beside it. The
 * third of highest rewards is right.
 */
export function madeTraces({ prompts, n, grid, rho, length, step, seed = 1 }: MadeOptions) {
  const draw = generator(seed)
  const normal = () => Math.sqrt(-2 * Math.log(1 - draw())) * Math.cos(2 * Math.PI * draw())
  const header: TraceHeader = {
    n,
    grid,
    scorers: [{ name: 'made', sha256: null }],
    maxTokens: 1024,
    deterministic: true,
    conditions: {}
  }
  const traces = Array.from({ length: prompts }, (_, prompt): Trace => {
    const lengths = Int32Array.from({ length: n }, () => length ?? 20 + Math.floor(80 * draw()))
    const lived = lengths.map((tokens) => Math.floor(tokens / grid))
    const starts = startsOf(lived)
    const finals = Array.from({ length: n }, normal)
    const scores = Float64Array.from(
      finals.flatMap((final, id) => [
        ...Array.from({ length: lived[id] as number }, (_, look) => {
          const r = rho((look + 1) * grid)
          return r * final + Math.sqrt(1 - r * r) * normal()
        }),
        final
      ])
    )
    const promptTokens = 20 + Math.floor(40 * draw())
    const looks = Math.max(...lived) + 1
    const secondsOf = (token: number) => {
      const width = lengths.filter((tokens) => tokens >= token).length
      return width === 0 ? 0 : (step?.(width, promptTokens + token) ?? 1e-3 * (1 + width / 8))
    }
    const steps = Array.from({ length: looks }, (_, look) =>
      Array.from({ length: grid }, (_, i) => secondsOf(look * grid + i + 1)).reduce((sum, seconds) => sum + seconds, 0)
    )
    const line = [...finals].sort((one, other) => other - one)[Math.floor(n / 3)] as number
    return {
      prompt,
      id: null,
      input: `prompt ${prompt}`,
      answer: '1',
      promptTokens,
      seed: prompt,
      lengths,
      lived,
      starts,
      reasons: Array.from(lengths, () => 'end' as const),
      undecoded: [],
      same: lengths.map((_, id) => id),
      right: finals.map((final) => final > line),
      timing: {
        prefill: 1e-4 * promptTokens,
        steps,
        scores: [steps.map(() => 1e-4)],
        rewardTokens: [steps.map(() => 0)],
        wall: 1e-4 * promptTokens + steps.reduce((sum, seconds) => sum + seconds + 1e-4, 0) + 0.01
      },
      scores: () => scores,
      written: () => ({ tokens: [], logprobs: [], entropies: [], texts: [] })
    }
  })
  return { header, traces }
}
