import { expected } from '../errors.js'
import { choiceKnob, type Knob, readKnobs } from '../knob.js'
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
import { type Scale, scaled } from './scale.js'

/** One scorer of a blend. */
export interface Part {
  readonly scorer: Scorer
  /** Above 0. Default 1. */
  readonly weight?: number | undefined
  /** How its scores are made comparable with the others'. Default: the blend's. */
  readonly scale?: Scale | undefined
}

export interface BlendOptions {
  /** Default `z`. */
  readonly scale?: Scale | undefined
}

const scales = ['none', 'z', 'min-max', 'rank'] as const
const isFixed = (value: unknown): boolean => {
  const { mean, deviation } = (value ?? {}) as { mean?: unknown; deviation?: unknown }
  return Number.isFinite(mean) && Number.isFinite(deviation) && (deviation as number) > 0
}
const scaleKnob: Knob<Scale> = {
  text: `${choiceKnob('z', ...scales).text} or { mean, deviation }`,
  test: (value): value is Scale => scales.includes(value as (typeof scales)[number]) || isFixed(value),
  fallback: 'z'
}

/**
 * Several scorers in one: sum of weight x scaled score over the parts, asked one after another. `z`, `min-max` and
 * `rank` are taken over the candidates of one checkpoint, live and just finished. So they rank the live branches of a
 * checkpoint, but scores of different checkpoints are not on one scale, and the last ones of branches that finished
 * apart are compared as if they were. Where that decides, use `none` or fixed `{ mean, deviation }`, or blend in the
 * final choice instead (`rankMean`). A part that gives minus infinity makes the blend minus infinity.
 *
 * Throws OPTION_INVALID, also for a scorer of sessions named twice: a reward model's second would wait for its first.
 */
export function blend(parts: readonly Part[], options: BlendOptions = {}): SessionScorer {
  const { scale } = readKnobs('blend', { scale: scaleKnob }, options)
  if (!Array.isArray(parts) || parts.length === 0) throw expected('OPTION_INVALID', 'scorers', 'blend', parts)
  const weighed = parts.map((part, i) => weigh(part, i, scale))
  const twice = weighed.find(
    ({ scorer }, i) => 'begin' in scorer && weighed.some((other, j) => j < i && other.scorer === scorer)
  )
  if (twice !== undefined) throw expected('OPTION_INVALID', 'each scorer once', 'blend', twice.scorer.name)
  return {
    name: `blend(${weighed.map(({ scorer, weight }) => `${weight}*${scorer.name}`).join('+')})`,
    needs: [...new Set(weighed.flatMap(({ scorer }) => scorer.needs))],
    begin: (race) => beginBlend(weighed, race)
  }
}

interface Weighed {
  readonly scorer: Scorer
  readonly weight: number
  readonly scale: Scale
}

interface Begun extends Weighed {
  readonly session: ScoringSession
}

function weigh(part: Part, i: number, fallback: Scale): Weighed {
  const { scorer, weight = 1, scale = fallback } = part ?? {}
  if (typeof scorer?.name !== 'string') throw expected('OPTION_INVALID', 'a scorer', `part ${i} of blend`, scorer)
  if (!Number.isFinite(weight) || weight <= 0) {
    throw expected('OPTION_INVALID', 'a number above 0', `the weight of part ${i} of blend`, weight)
  }
  if (!scaleKnob.test(scale)) throw expected('OPTION_INVALID', scaleKnob.text, `the scale of part ${i} of blend`, scale)
  return { scorer, weight, scale }
}

async function beginBlend(parts: readonly Weighed[], race: RaceFacts): Promise<ScoringSession> {
  const begun: Begun[] = []
  const end = async () => {
    for (const { session } of begun) await session.end?.()
  }
  try {
    for (const part of parts) begun.push({ ...part, session: await beginScoring(part.scorer, race) })
  } catch (error) {
    await end()
    throw error
  }
  return {
    needs: [...new Set(begun.flatMap(({ session }) => session.needs))],
    async score(candidates, scoring) {
      const sums = new Float64Array(candidates.length)
      // In turn: two parts may want the same pool, which has one job in flight.
      for (const part of begun) add(sums, await scaledScores(part, candidates, scoring), part.weight)
      return sums
    },
    async kill(ids) {
      for (const { session } of begun) await session.kill?.(ids)
    },
    get processedTokens() {
      return begun.reduce((sum, { session }) => sum + (session.processedTokens ?? 0), 0)
    },
    end
  }
}

async function scaledScores({ scorer, session, scale }: Begun, candidates: readonly Candidate[], scoring: Scoring) {
  return scaled(Array.from(await scoresOf(scorer.name, session, candidates, scoring)), scale)
}

function add(sums: Float64Array, scores: readonly number[], weight: number): void {
  for (const [i, score] of scores.entries()) {
    // Minus infinity stays: what another part says of a branch that nothing speaks for does not count.
    const low = sums[i] === Number.NEGATIVE_INFINITY || score === Number.NEGATIVE_INFINITY
    sums[i] = low ? Number.NEGATIVE_INFINITY : (sums[i] as number) + weight * score
  }
}
