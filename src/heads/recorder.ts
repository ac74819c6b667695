import type { Candidate, PlainScorer, Scoring } from '../scorer.js'

/** Confidence features of a branch, as many as the addon's `featureNames`. */
export const featureCount = 9

/** A scorer that scores nothing: it keeps what a head would see of every branch at every checkpoint. */
export class Recorder implements PlainScorer {
  readonly name = 'recorder'
  readonly needs = ['states'] as const
  readonly #rows: { readonly tokens: number; readonly inputs: Float32Array }[][]

  constructor(n: number) {
    this.#rows = Array.from({ length: n }, () => [])
  }

  async score(candidates: readonly Candidate[], { pool }: Scoring): Promise<Float32Array> {
    const ids = Int32Array.from(candidates, ({ id }) => id)
    const states = await pool.states(ids)
    const confidence = await pool.confidence(ids)
    const width = states.length / ids.length
    for (const [i, { id, tokens }] of candidates.entries()) {
      const rows = this.#rows[id]
      if (rows === undefined || tokens.length <= (rows.at(-1)?.tokens ?? 0)) continue
      const inputs = new Float32Array(width + featureCount)
      inputs.set(states.subarray(i * width, (i + 1) * width))
      inputs.set(confidence.subarray(i * featureCount, (i + 1) * featureCount), width)
      rows.push({ tokens: tokens.length, inputs })
    }
    return new Float32Array(ids.length)
  }

  /**
   * Looks at one branch: the first checkpoint at or after the end of each quarter of its answer, and inside each
   * quarter `spread` checkpoints drawn by `random`. Empty for an empty answer.
   */
  looks(
    id: number,
    spread: number,
    random: () => number
  ): { readonly quarter: number; readonly inputs: Float32Array }[] {
    const rows = this.#rows[id] ?? []
    const length = rows.at(-1)?.tokens ?? 0
    if (length === 0) return []
    const reach = (share: number) => rows.findIndex(({ tokens }) => tokens >= share * length)
    const inputs = (index: number) => (rows[index] as { inputs: Float32Array }).inputs
    const ends = [1, 2, 3, 4].map((quarter) => ({ quarter, inputs: inputs(reach(quarter / 4)) }))
    const inside = [1, 2, 3, 4].flatMap((quarter) => {
      const [from, to] = [quarter === 1 ? 0 : reach((quarter - 1) / 4), reach(quarter / 4)]
      return Array.from({ length: spread }, () => {
        const index = from + Math.floor(random() * (to - from + 1))
        return { quarter: 0, inputs: inputs(index) }
      })
    })
    return [...ends, ...inside]
  }
}
