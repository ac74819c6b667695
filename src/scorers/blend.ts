import { expected } from '../errors.js'
import { choiceKnob, type Knob, readKnobs } from '../knob.js'
import {
  beginScoring,
  type Candidate,
  ownsModel,
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
  const leaves = leavesOf(weighed)
  const twice = leaves.find((scorer, i) => 'begin' in scorer && leaves.indexOf(scorer) < i)
  if (twice !== undefined) throw expected('OPTION_INVALID', 'each scorer once', 'blend', twice.name)
  for (const leaf of leaves) placeOf(leaf)
  const scorer: SessionScorer = {
    name: `blend(${weighed.map(({ scorer, weight }) => `${weight}*${scorer.name}`).join('+')})`,
    needs: [...new Set(weighed.flatMap(({ scorer }) => scorer.needs))],
    ...(leaves.some(ownsModel) && { ownsModel: true as const }),
    begin: (race) => beginBlend(weighed, race)
  }
  partsOf.set(scorer, weighed)
  return scorer
}

interface Weighed {
  readonly scorer: Scorer
  readonly weight: number
  readonly scale: Scale
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

/** Parts of every blend there is, so that one inside another gives its scorers to the outer one to begin. */
const partsOf = new WeakMap<Scorer, readonly Weighed[]>()

/** In the order they were first seen in: races that begin several take them in one order, or each could wait for another. */
const places = new WeakMap<Scorer, number>()
let seen = 0

/** The scorers that a scorer is made of: itself, or of a blend its parts' parts. */
export function partsWithin(scorer: Scorer): readonly Scorer[] {
  const parts = partsOf.get(scorer)
  return parts === undefined ? [scorer] : leavesOf(parts)
}

/** The scorers of blends that are no blends. */
function leavesOf(parts: readonly Weighed[]): Scorer[] {
  return parts.flatMap(({ scorer }) => [...partsWithin(scorer)])
}

function placeOf(scorer: Scorer): number {
  const place = places.get(scorer) ?? seen++
  places.set(scorer, place)
  return place
}

async function beginBlend(parts: readonly Weighed[], race: RaceFacts): Promise<ScoringSession> {
  const begun = new Map<Scorer, ScoringSession>()
  const end = async () => {
    for (const session of begun.values()) await session.end?.()
  }
  try {
    const leaves = [...new Set(leavesOf(parts))].sort((a, b) => placeOf(a) - placeOf(b))
    for (const leaf of leaves) begun.set(leaf, await beginScoring(leaf, race))
  } catch (error) {
    await end()
    throw error
  }
  const sessions = [...begun.values()]
  return {
    needs: [...new Set(sessions.flatMap(({ needs }) => needs))],
    score: (candidates, scoring) => blended(parts, begun, candidates, scoring),
    async kill(ids) {
      for (const session of sessions) await session.kill?.(ids)
    },
    get processedTokens() {
      return sessions.reduce((sum, session) => sum + (session.processedTokens ?? 0), 0)
    },
    end
  }
}

async function blended(
  parts: readonly Weighed[],
  begun: ReadonlyMap<Scorer, ScoringSession>,
  candidates: readonly Candidate[],
  scoring: Scoring
): Promise<Float64Array> {
  const sums = new Float64Array(candidates.length)
  // In turn: two parts may want the same pool, which has one job in flight.
  for (const { scorer, scale, weight } of parts) {
    const inner = partsOf.get(scorer)
    const scores =
      inner === undefined
        ? await scoresOf(scorer.name, begun.get(scorer) as ScoringSession, candidates, scoring)
        : await blended(inner, begun, candidates, scoring)
    add(sums, scaled(Array.from(scores), scale), weight)
  }
  return sums
}

function add(sums: Float64Array, scores: readonly number[], weight: number): void {
  for (const [i, score] of scores.entries()) {
    // Minus infinity stays: what another part says of a branch that nothing speaks for does not count.
    const low = sums[i] === Number.NEGATIVE_INFINITY || score === Number.NEGATIVE_INFINITY
    sums[i] = low ? Number.NEGATIVE_INFINITY : (sums[i] as number) + weight * score
  }
}
