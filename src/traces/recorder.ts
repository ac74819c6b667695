import { expected } from '../errors.js'
import {
  beginScoring,
  type Candidate,
  type RaceFacts,
  type Scorer,
  type Scoring,
  type ScoringSession,
  type SessionScorer,
  scoresOf
} from '../scorer.js'
import { partsWithin } from '../scorers/blend.js'

/** What one scorer said and took. */
interface Said {
  /** By candidate. */
  readonly scores: number[][]
  readonly seconds: number[]
  readonly rewardTokens: number[]
}

/**
 * Several scorers in one race in which nobody is killed: all look at the same candidates, and what each says is kept. Its own
 * score is the first scorer's. For one race.
 */
export class Recorder implements SessionScorer {
  readonly name = 'recorder'
  readonly needs: SessionScorer['needs']
  readonly #scorers: readonly Scorer[]
  readonly #grid: number
  #said: readonly Said[] = []
  /** Of writing before each look. */
  readonly stepSeconds: number[] = []

  /** `grid`: tokens from one look to the next. */
  constructor(scorers: readonly Scorer[], grid: number) {
    this.#scorers = scorers
    this.#grid = grid
    this.needs = [...new Set(scorers.flatMap(({ needs }) => needs))]
  }

  /** By scorer, as a trace has them. */
  get scores(): Float64Array[] {
    return this.#said.map(({ scores }) => Float64Array.from(scores.flat()))
  }

  /** How many looks found each candidate live. */
  get lived(): Int32Array {
    return Int32Array.from(this.#said[0]?.scores ?? [], (scores) => scores.length - 1)
  }

  get scoreSeconds(): number[][] {
    return this.#said.map(({ seconds }) => seconds)
  }

  get rewardTokens(): number[][] {
    return this.#said.map(({ rewardTokens }) => rewardTokens)
  }

  async begin(race: RaceFacts): Promise<ScoringSession> {
    const sessions: ScoringSession[] = []
    const end = async () => {
      for (const session of sessions) await session.end?.()
    }
    try {
      for (const scorer of this.#scorers) sessions.push(await beginScoring(scorer, race))
    } catch (error) {
      await end()
      throw error
    }
    this.#said = sessions.map(() => {
      return { scores: Array.from({ length: race.n }, () => []), seconds: [], rewardTokens: [] }
    })
    let writingSince = performance.now()
    return {
      needs: [...new Set(sessions.flatMap(({ needs }) => needs))],
      score: async (candidates, scoring) => {
        this.stepSeconds.push((performance.now() - writingSince) / 1000)
        for (const candidate of candidates) this.#expectOnGrid(candidate)
        // In turn: two may want the same pool, which has one job in flight; and each is timed.
        for (const [i, session] of sessions.entries()) await this.#ask(i, session, candidates, scoring)
        writingSince = performance.now()
        return candidates.map(({ id }) => this.#said[0]?.scores[id]?.at(-1) as number)
      },
      get processedTokens() {
        return sessions.reduce((sum, { processedTokens = 0 }) => sum + processedTokens, 0)
      },
      end
    }
  }

  async #ask(i: number, session: ScoringSession, candidates: readonly Candidate[], scoring: Scoring): Promise<void> {
    const [{ name }, said] = [this.#scorers[i] as Scorer, this.#said[i] as Said]
    const [startedAt, before] = [performance.now(), session.processedTokens ?? 0]
    const scores = await scoresOf(name, session, candidates, scoring)
    for (const [at, { id }] of candidates.entries()) said.scores[id]?.push(scores[at] as number)
    said.seconds.push((performance.now() - startedAt) / 1000)
    said.rewardTokens.push((session.processedTokens ?? 0) - before)
  }

  /** A place among the scores stands for a number of tokens. */
  #expectOnGrid({ id, state, tokens }: Candidate): void {
    const place = (this.#said[0]?.scores[id]?.length ?? 0) + 1
    if (state !== 'live' || tokens.length === place * this.#grid) return
    throw expected('SCORE_INVALID', `candidate ${id} at ${place * this.#grid} tokens`, 'a recording', tokens.length)
  }
}

/**
 * Throws OPTION_INVALID for two of one name, and for blends: where a score depends on who else is looked at, replay would
 * have to guess. Their parts can be recorded.
 */
export function checkRecordable(scorers: readonly Scorer[]): void {
  if (scorers.length === 0) throw expected('OPTION_INVALID', 'at least one scorer', 'a recording', scorers)
  const names = scorers.map(({ name }) => name)
  const twice = names.find((name, i) => names.indexOf(name) < i)
  if (twice !== undefined) throw expected('OPTION_INVALID', 'each scorer once', 'a recording', twice)
  const blended = scorers.find((scorer) => partsWithin(scorer)[0] !== scorer)
  if (blended !== undefined) throw expected('OPTION_INVALID', 'the parts of a blend', 'a recording', blended.name)
}
