// Several scorers in one race: all of them look at the same candidates at every checkpoint.
import { beginScoring, scoresOf } from '../../dist/scorer.js'

/** A scorer for a race without kills. Its own score is the first scorer's; what each of them said is in `record`. */
export class Panel {
  name = 'panel'
  needs
  #scorers
  #grid
  #said = new Map()

  /** `scorers`: [{ name, scorer }]; `grid`: tokens from one checkpoint to the next. */
  constructor(scorers, grid) {
    this.#scorers = scorers
    this.#grid = grid
    this.needs = [...new Set(scorers.flatMap(({ scorer }) => scorer.needs))]
  }

  async begin(race) {
    const sessions = []
    const end = async () => {
      for (const { session } of sessions) await session.end?.()
    }
    try {
      for (const { name, scorer } of this.#scorers) sessions.push({ name, session: await beginScoring(scorer, race) })
    } catch (error) {
      await end()
      throw error
    }
    for (const { name } of sessions) {
      this.#said.set(
        name,
        Array.from({ length: race.n }, () => [])
      )
    }
    return {
      needs: [...new Set(sessions.flatMap(({ session }) => session.needs))],
      score: async (candidates, scoring) => {
        for (const candidate of candidates) this.#expectOnGrid(candidate)
        const all = []
        for (const { name, session } of sessions) {
          const scores = Array.from(await scoresOf(name, session, candidates, scoring))
          for (const [i, { id }] of candidates.entries()) this.#said.get(name)[id].push(written(scores[i]))
          all.push(scores)
        }
        return all[0]
      },
      end
    }
  }

  /** A place in the record stands for a number of tokens. */
  #expectOnGrid({ id, state, tokens }) {
    const place = this.#said.values().next().value[id].length + 1
    if (state !== 'live' || tokens.length === place * this.#grid) return
    throw new Error(`Expected candidate ${id} at ${place * this.#grid} tokens but received it at ${tokens.length}`)
  }

  /** By scorer, for each candidate: its score at every checkpoint it was live at, then the one of its end. */
  get record() {
    return Object.fromEntries(this.#said)
  }
}

/** Nine digits hold a single-precision number exactly. Null is minus infinity, which JSON has not. */
function written(score) {
  return Number.isFinite(score) ? Number(score.toPrecision(9)) : null
}
