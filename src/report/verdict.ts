/** Whether rejection pays, said in one sentence that follows from the figures alone. */
import type { Interval } from '../statistics.js'
import { referenceIn, rejecting, type Study, type StudyArm } from './study.js'
import { part, percent, points, signed, within } from './wording.js'

export interface Verdict {
  readonly arm: string | null
  readonly answer: 'pays' | 'open' | 'no'
  /** One sentence, without its full stop. */
  readonly headline: string
  /** The figures behind it, with their intervals. */
  readonly details: readonly string[]
}

/** Fewer prompts than that say nothing: a bootstrap of few has no width to speak of. */
export const fewestPrompts = 30

/** What may be lost of best-of-N, as a share, for the loss to be called small: the interval has to lie above it. */
export const smallLoss = 0.05

/** Another arm is a control at the same cost where its tokens differ by no more than this share. */
const sameCost = 0.15

/** One for each arm that rejects, in their order: the first is the report's headline. Never empty. */
export function verdictsOf(study: Study): Verdict[] {
  const arms = rejecting(study)
  if (arms.length > 0) return arms.map((arm) => verdictOf(study, arm))
  const headline = 'Whether rejection pays cannot be said: no policy here rejects anybody'
  return [{ arm: null, answer: 'open', headline, details: [] }]
}

/** How much better one arm is than another: a difference of shares of right answers or, without any, of regret. */
type Gain = Interval

interface Sides {
  readonly arm: StudyArm
  readonly reference: StudyArm
  readonly measure: 'right' | 'regret'
  readonly gain: Gain
  /** Of its tokens and seconds to the reference's. */
  readonly tokens: Interval
  readonly seconds: Interval
  readonly control: Beside | null
  readonly fewer: Beside | null
}

/** An arm that costs about as much. */
interface Beside {
  readonly other: StudyArm
  readonly gain: Gain
}

export function verdictOf(study: Study, arm: StudyArm): Verdict {
  const reference = referenceIn(study)
  const versus = reference === null ? undefined : arm.versus[reference.policy]
  if (reference === null || versus === undefined) return unsaid(arm, 'there is no best-of-N to compare it with')
  const measure = arm.accuracy !== null && reference.accuracy !== null ? 'right' : 'regret'
  const gain = measure === 'right' ? versus.accuracy : gainOf(arm, reference)
  if (gain === null) return unsaid(arm, 'neither right answers nor scores of best-of-N are known')
  const beside = (kind: StudyArm['kind']) => besideOf(study, arm, reference, kind, measure)
  const { generatedTokens: tokens, wallSeconds: seconds } = versus
  const [control, fewer] = [beside('random-kill'), beside('best-of-n')]
  const sides: Sides = { arm, reference, measure, gain, tokens, seconds, control, fewer }
  const [answer, why] = judged(sides)
  return { arm: arm.policy, answer, headline: `${begins[answer]}: ${why}`, details: detailsOf(sides) }
}

const begins = {
  pays: 'Rejection pays here',
  open: 'It is open whether rejection pays here',
  no: 'Rejection does not pay here'
} as const

function judged(sides: Sides): readonly [Verdict['answer'], string] {
  const { arm, gain, tokens, seconds, control, fewer } = sides
  const price = `${part(tokens.mean)} of the tokens`
  const deal = `${price} ${exchange(sides)}`
  if (arm.prompts < fewestPrompts) return ['open', `${count(arm.prompts)}, too few to say (${deal})`]
  if (tokens.high >= 1) return [tokens.low >= 1 ? 'no' : 'open', `it writes ${price}`]
  if (seconds.high >= 1) {
    return [seconds.low >= 1 ? 'no' : 'open', `${price}, but ${part(seconds.mean)} of the time`]
  }
  if (control !== null && control.gain.low <= 0) {
    if (control.gain.high < 0) return ['no', `${deal}, and random kills at that cost do better`]
    return [gain.high < 0 ? 'no' : 'open', `${deal}, and random kills at that cost may do as well`]
  }
  if (fewer !== null && fewer.gain.high < 0) {
    return ['no', `${deal}, and fewer candidates without rejection do better at that cost`]
  }
  if (gain.low < -smallLoss) {
    if (fewer !== null && fewer.gain.low > 0) return ['pays', `${deal}, where fewer candidates do worse`]
    if (gain.high < -smallLoss) return ['no', deal]
    return ['open', `${deal}, with an interval down to ${points(gain.low, sides.measure)}`]
  }
  if (fewer !== null && fewer.gain.mean <= 0) {
    return ['open', `${deal}, and fewer candidates without rejection do as well at that cost`]
  }
  return ['pays', deal]
}

/** "for 1.2 points fewer right", "and as many right". */
function exchange({ gain, measure }: Sides): string {
  const size = Math.abs(100 * gain.mean).toFixed(1)
  const lost = gain.mean < 0
  if (measure === 'regret') return size === '0.0' ? 'and nothing lost of the score' : `for a regret of ${size} points`
  if (size === '0.0') return 'and as many right'
  return lost ? `for ${size} points fewer right` : `and ${size} points more right`
}

function detailsOf({ arm, reference, measure, gain, tokens, seconds, control, fewer }: Sides): string[] {
  const full = `best-of-${Math.round(reference.n)}`
  const share = (interval: Interval) => within(interval, percent)
  const change = ({ mean, low, high }: Gain) => `${points(mean, measure)} [${signed(100 * low)}, ${signed(100 * high)}]`
  const how =
    arm.accuracy === null || reference.accuracy === null
      ? `Score of what is returned, against ${full}: ${change(gain)}.`
      : `Right: ${percent(arm.accuracy.mean)} against ${percent(reference.accuracy.mean)} of ${full}: ${change(gain)}.`
  const beside = (what: string, found: Beside | null, absent: string) => {
    if (found === null) return absent
    const { other, gain } = found
    const settled = gain.low > 0 ? 'it is better' : gain.high < 0 ? 'it is worse' : 'not settled'
    const cost = part((arm.versus[other.policy]?.generatedTokens.mean ?? 1) ** -1)
    return `Against ${what} (${cost} of its tokens): ${change(gain)}, ${settled}.`
  }
  return [
    `Cost: ${share(tokens)} of the tokens and ${share(seconds)} of the time of ${full}, on ${count(arm.prompts)}.`,
    how,
    beside('random kills', control, 'No random kills at that cost are here: what the scores are worth is not known.'),
    beside(
      `best-of-${fewer === null ? 'N' : Number(fewer.other.n.toFixed(1))}, fewer candidates and no rejection`,
      fewer,
      'No best-of-N at that cost is here: whether fewer candidates would do as well is not known.'
    )
  ]
}

/**
 * The arm of that kind which costs as much: the one that was made to, else the nearest in tokens that is near enough. It ends
 * in a choice by the same scorer, or it would say something about the scorers.
 */
function besideOf(
  { arms }: Study,
  arm: StudyArm,
  reference: StudyArm,
  kind: StudyArm['kind'],
  measure: Sides['measure']
): Beside | null {
  const tokens = (other: StudyArm) => arm.versus[other.policy]?.generatedTokens.mean ?? Number.POSITIVE_INFINITY
  const made = ({ policy }: StudyArm) => policy.endsWith(`=${arm.policy}`)
  const distance = (other: StudyArm) => (made(other) ? -1 : Math.abs(Math.log(tokens(other))))
  const near = arms
    .filter((other) => other.kind === kind && other !== reference && distance(other) <= Math.log(1 + sameCost))
    .filter((other) => scorerIn(other) === scorerIn(arm))
    .sort((a, b) => distance(a) - distance(b))
  for (const other of near) {
    const gain = measure === 'right' ? (arm.versus[other.policy]?.accuracy ?? null) : gainOf(arm, other)
    if (gain !== null) return { other, gain }
  }
  return null
}

/** As an arm's name has it; null for the usual one. */
function scorerIn({ policy }: StudyArm): string | null {
  return /:scorer=("[^"]*"|[^:])*/.exec(policy)?.[0] ?? null
}

/** Of regrets, whose difference is not paired: its interval is as wide as both ends allow. */
function gainOf({ regret: own }: StudyArm, { regret: other }: StudyArm): Gain | null {
  if (own === null || other === null) return null
  return { mean: other.mean - own.mean, low: other.low - own.high, high: other.high - own.low }
}

function unsaid({ policy }: StudyArm, why: string): Verdict {
  return { arm: policy, answer: 'open', headline: `Whether rejection pays cannot be said: ${why}`, details: [] }
}

function count(prompts: number): string {
  return `${prompts} ${prompts === 1 ? 'prompt' : 'prompts'}`
}
