import { type Arm, parseArm } from '../arm.js'
import { referenceOf } from '../bench.js'
import { summarise } from '../summary.js'
import type { Replay } from '../traces/replay.js'
import { placeOf, type ReplayedRow, type Replaying, replayArm, replayArms } from '../traces/replayed-row.js'
import { roundSurvival } from '../traces/round-survival.js'
import { finalScore, type Trace, type TraceHeader } from '../traces/trace.js'

import { type Calibration, calibrationOf } from './calibration.js'
import { inOrder, pointOf, powersBelow } from './curve.js'
import { factsOf, recordingFacts } from './facts.js'
import { FlowSum } from './flow.js'
import { isPlain, kindOf, type Study } from './study.js'
import { type Trajectories, trajectoriesOf } from './trajectories.js'

/** Scores at some time and whether their candidates are right. */
interface Seen {
  readonly when: string
  readonly scores: number[]
  readonly right: boolean[]
}

/**
 * What to replay for a report on these policies: best-of-N on all candidates first, as the reference; then they; for each
 * that rejects random kills as many and as late as its own, and best-of-N with as many candidates as its tokens pay for.
 */
export function armsFor(asked: readonly Arm[], defaults: Parameters<typeof parseArm>[1]): Arm[] {
  const reference = referenceOf(asked) ?? parseArm('best-of-n', defaults)
  const judged = asked.filter(({ definition }) => kindOf(definition) === 'rejecting')
  const controls = judged.flatMap(({ name, scorer, usual, headSha256 }) => {
    const same = { scorer, usual, headSha256 }
    const random = { ...parseArm('random-kill', defaults), ...same, name: `random-kill:like=${name}`, like: name }
    const fewer = {
      ...parseArm('best-of-n', defaults),
      ...same,
      name: `best-of-n:equal-tokens=${name}`,
      equalTokens: name
    }
    return [random, fewer].map((arm) => ({ ...arm, definition: arm.name }))
  })
  const all = [reference, ...asked.filter((arm) => arm !== reference), ...controls]
  return all.filter(({ name }, i) => all.findIndex((other) => other.name === name) === i)
}

/** Adds up a report's figures, trace by trace. */
export class TraceStudy {
  readonly #replaying: Replaying
  /** Best-of-N at 1, 2, 4, ... */
  readonly #curve: readonly Arm[]
  readonly #reference: Arm | null
  readonly #judged: readonly Arm[]
  readonly #rows: ReplayedRow[] = []
  readonly #flows: readonly FlowSum[]
  readonly #final: Seen = { when: 'at the end', scores: [], right: [] }
  readonly #early: Seen = { when: 'when rejection begins', scores: [], right: [] }
  #trajectories: Trajectories | null = null

  constructor(replaying: Replaying) {
    const { arms, n } = replaying
    const reference = referenceOf(arms)
    this.#curve =
      reference === null
        ? []
        : powersBelow(n).map((few) => ({
            ...reference,
            name: `best-of-n:n=${few}`,
            definition: `best-of-n:n=${few}`,
            n: few
          }))
    const extra = this.#curve.filter(({ name }) => !arms.some((arm) => arm.name === name))
    this.#replaying = { ...replaying, arms: [...arms, ...extra] }
    this.#reference = reference
    this.#judged = arms.filter(({ definition }) => kindOf(definition) === 'rejecting')
    this.#flows = [...(reference === null ? [] : [reference]), ...this.#judged].map(({ name }) => new FlowSum(name))
  }

  add(trace: Trace): void {
    this.#rows.push(...replayArms(this.#replaying, trace).map(({ candidates: _, kills: __, ...row }) => row))
    for (const flow of this.#flows) {
      const arm = this.#replaying.arms.find(({ name }) => name === flow.arm) as Arm
      const race = replayArm(this.#replaying, trace, arm, null)
      flow.add(race, trace.promptTokens)
      if (arm === this.#judged[0]) this.#look(arm, race, trace)
    }
  }

  /** At the first arm that rejects. */
  #look(arm: Arm, race: Replay, trace: Trace): void {
    const { header } = this.#replaying
    const scorer = placeOf(header, arm)
    this.#trajectories ??= trajectoriesOf(arm.name, header, trace, scorer, race)
    const scores = trace.scores(scorer)
    const begins = race.rounds.find(({ killed }) => killed > 0)?.tokens
    for (let id = 0; id < race.n; id++) {
      const right = trace.right[id] ?? null
      if (right === null) return
      this.#final.scores.push(finalScore(trace, scores, id))
      this.#final.right.push(right)
      const look = begins === undefined ? 0 : begins / header.grid
      if (look === 0 || (trace.lived[id] as number) < look) continue
      this.#early.scores.push(scores[(trace.starts[id] as number) + look - 1] as number)
      this.#early.right.push(right)
    }
  }

  /** `seed`: of the intervals. */
  study(files: readonly string[], header: TraceHeader, seed: number, command: string): Study {
    const { arms, n } = this.#replaying
    const onCurve = new Set(this.#curve.map(({ name }) => name))
    const compared = arms.filter(({ name }) => !onCurve.has(name))
    // Points of the curve are compared with nothing, which is most of the work; resamples of one seed are the same.
    const points = this.#curve.flatMap((arm) => summarise(this.#rows, [arm], seed))
    const summaries = [...summarise(this.#rows, compared, seed), ...points]
    const roundsOf = (name: string) =>
      roundSurvival(this.#rows.filter(({ arm }) => arm === name).map(({ rounds }) => rounds))
    const definitions = new Map(arms.map(({ name, definition }) => [name, definition]))
    const told = summaries.map((summary) => {
      return { ...summary, kind: kindOf(definitions.get(summary.policy) as string), rounds: roundsOf(summary.policy) }
    })
    const reference = this.#reference?.name ?? null
    const { options, ...made } = recordingFacts(header)
    return {
      files,
      what: 'replay',
      reference,
      arms: told.filter(({ policy }) => !onCurve.has(policy)),
      curve: inOrder(told.filter(isPlain).map(pointOf)),
      flows: this.#flows.map((flow) => flow.flow()),
      calibrations: this.#calibrations(),
      trajectories: this.#trajectories,
      facts: factsOf({ ...made, command, options: { ...options, candidates: n } })
    }
  }

  #calibrations(): Calibration[] {
    return [this.#final, this.#early].flatMap(({ when, scores, right }) => {
      const found = calibrationOf(when, scores, right)
      return found.bins.length === 0 ? [] : [found]
    })
  }
}
