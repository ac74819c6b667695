import { ArmText, quoted } from './arm-text.js'
import { parseBytes } from './bytes.js'
import type { Checkpoints } from './checkpoint.js'
import { expected, WinnowError } from './errors.js'
import { type NamedScorers, parseCheckpoints, policyFile, type Schedule, scorerNamed } from './names.js'
import { resolveCandidates } from './options.js'
import { enough } from './policies/keep-enough.js'
import type { Policy } from './policy.js'
import { policyFor } from './policy-file.js'
import type { Scorer } from './scorer.js'
import type { HeadFileScorer } from './scorers/head-file.js'

/** What an arm has where it sets nothing itself. */
export interface Defaults extends Schedule {
  /** Absent or null: the engine's own. */
  readonly scorer?: Scorer | null
  readonly scorers?: NamedScorers
}

/** One row of a comparison: a policy with everything that is set for it alone. */
export interface Arm {
  /** As it is written on the command line, or the `name` given to it there. */
  readonly name: string
  /** Everything that is set for it, defaults included and whatever its name: arms alike in this measure the same. */
  readonly definition: string
  readonly policy: Policy
  /** Null: as many as the bench has. */
  readonly n: number | null
  /** Memory beside the weights that its races may take, bytes; null: the pool that all arms share. */
  readonly budget: number | null
  /** Null: the engine's default. */
  readonly scorer: Scorer | null
  /** Of the file behind a scorer `head@FILE`, which may be another one the next time; null for other scorers. */
  readonly headSha256: string | null
  /** Whether that is the scorer of arms that set none. */
  readonly usual: boolean
  /**
   * Of best-of-N only: the name of an arm. On each prompt as many candidates are written, the first ones, as it takes
   * to generate at least as many tokens as that arm did there.
   */
  readonly equalTokens: string | null
  /** Of random-kill only: the name of an arm. On each prompt as many die, at the same checkpoints, as that arm killed there. */
  readonly like: string | null
  /** The name of the arm that survival, regret and score are measured against; null: the bench's reference. */
  readonly against: string | null
}

/**
 * `policy[:key=value]...`, such as `spec-reject:alpha=0.7:checkpoints=32+64+128:scorer=min-logprob`, `spec-reject:checkpoints=doubling:16`,
 * `best-of-n:n=1`, `best-of-n:equal-tokens=spec-reject` or `random-kill:like=spec-reject`. A scorer `head@FILE` is a reward
 * head in a file of its own; a path with a colon or a comma in it goes in double quotes, `head@"FILE"`. `against=` names a
 * best-of-N arm to be measured against, such as one by the same scorer. `budget=8GiB` gives it a pool of its own making in
 * so much memory: what does not fit is written in waves, and policies that decide by memory are to have one. What is not set comes from `defaults`.
 *
 * Throws OPTION_UNKNOWN, OPTION_INVALID and HEAD_NOT_FOUND.
 */
export function parseArm(text: string, defaults: Defaults): Arm {
  const written = new ArmText(text)
  const schedule = scheduleOf(written, defaults)
  const [scorer, n, budget] = [written.get('scorer'), written.number('n'), written.get('budget')]
  const policy = policyFor(written.policy, schedule)
  const usual = defaults.scorer ?? null
  const set = {
    n: n === null ? null : resolveCandidates(n),
    budget: budget === null ? null : parseBytes(budget, `budget of ${text}`),
    scorer: scorer === null ? usual : scorerNamed(scorer, defaults.scorers),
    equalTokens: written.get('equal-tokens'),
    like: written.get('like'),
    against: written.get('against')
  }
  return {
    name: written.get('name') ?? text,
    definition: definitionOf(written.policy, policy, schedule, set),
    policy,
    usual: set.scorer === usual,
    headSha256: headSha256Of(set.scorer),
    ...set
  }
}

const scheduled = ['alpha', 'margin', 'right', 'hopeless', 'checkpoints', 'every', 'doubling'] as const

/** Throws OPTION_INVALID, for settings of another policy too. */
function scheduleOf(written: ArmText, defaults: Defaults): Required<Schedule> {
  const { policy, text } = written
  const misplaced = (what: string) => new WinnowError('OPTION_INVALID', `Expected ${what} but received "${text}"`)
  const alpha = written.number('alpha') ?? defaults.alpha
  if (written.has('equal-tokens') && (policy !== 'best-of-n' || written.has('n')))
    throw misplaced('equal-tokens on best-of-n without n')
  if (written.has('like') && (policy !== 'random-kill' || written.has('alpha', 'checkpoints', 'every', 'doubling')))
    throw misplaced('like on random-kill without a schedule')
  const byMemory = policy === 'memory-pressure' || policy === 'spec-reject-memory'
  if (byMemory && !written.has('budget')) throw misplaced('a budget for a policy that decides by memory')
  if (byMemory && written.has('checkpoints', 'every', 'doubling'))
    throw misplaced('no checkpoints for a policy that decides by memory')
  if (policy.startsWith(policyFile) && written.has(...scheduled))
    throw misplaced('no settings beside those of the file')
  if (written.has('margin') && policy !== 'spec-reject') throw misplaced('margin on spec-reject')
  const margin = policy === 'spec-reject' ? (written.number('margin') ?? defaults.margin ?? 0) : 0
  const checkpoints = checkpointsOf(written) ?? defaults.checkpoints
  const right = written.number('right') ?? defaults.right ?? enough.right
  const hopeless = written.number('hopeless') ?? defaults.hopeless ?? enough.hopeless
  if (written.has('right', 'hopeless') && policy !== 'keep-enough') throw misplaced('right and hopeless on keep-enough')
  return { alpha, margin, checkpoints, right, hopeless }
}

function checkpointsOf(written: ArmText): Checkpoints | null {
  const given = (['checkpoints', 'every', 'doubling'] as const).filter((key) => written.has(key))
  if (given.length > 1) {
    throw expected('OPTION_INVALID', `one of ${given.join(' and ')}`, `the policy ${written.text}`, 'both')
  }
  const [key] = given
  if (key === undefined) return null
  const value = written.get(key) as string
  return parseCheckpoints(key === 'checkpoints' ? value : `${key}:${value}`)
}

/** Of the file behind a scorer `head@FILE`; null for other scorers. */
export function headSha256Of(scorer: object | null): string | null {
  const { sha256 } = (scorer ?? {}) as Partial<HeadFileScorer>
  return sha256 ?? null
}

/** In the form that `parseArm` reads. best-of-N kills nobody, so a schedule says nothing about it. */
function definitionOf(
  written: ArmText['policy'],
  policy: Policy,
  { alpha, checkpoints, margin, right, hopeless }: Required<Schedule>,
  {
    n,
    budget,
    scorer,
    equalTokens,
    like,
    against
  }: Pick<Arm, 'n' | 'budget' | 'scorer' | 'equalTokens' | 'like' | 'against'>
): string {
  const parts: string[] = [written]
  if (like !== null) parts.push(`like=${like}`)
  // Its settings, by their checksum, are in its name.
  else if (written.startsWith(policyFile)) parts.push(`is=${policy.name}`)
  else if (written === 'keep-enough')
    parts.push(`right=${right}`, `hopeless=${hopeless}`, `checkpoints=${checkpoints.name}`)
  else if (written === 'spec-reject-memory') parts.push(`alpha=${alpha}`)
  else if (written !== 'best-of-n' && written !== 'memory-pressure')
    parts.push(`alpha=${alpha}`, `checkpoints=${checkpoints.name}`)
  if (written === 'spec-reject' && margin !== 0) parts.push(`margin=${margin}`)
  if (n !== null) parts.push(`n=${n}`)
  if (budget !== null) parts.push(`budget=${budget}`)
  if (scorer !== null) parts.push(`scorer=${quoted(scorer.name)}`)
  if (equalTokens !== null) parts.push(`equal-tokens=${equalTokens}`)
  if (against !== null) parts.push(`against=${against}`)
  return parts.join(':')
}

/** Arms whose names are distinct and whose `equalTokens`, `like` and `against` exist and can be that. */
export function parseArms(texts: readonly string[], defaults: Defaults): Arm[] {
  const arms = texts.map((text) => parseArm(text, defaults))
  const names = arms.map((arm) => arm.name)
  const twice = names.find((name, i) => names.indexOf(name) !== i)
  if (twice !== undefined) throw expected('OPTION_INVALID', 'each policy once', '--policies', twice)
  for (const arm of arms) {
    const { against, name } = arm
    const wanted = sourceOf(arm)
    const source = arms.find((other) => other.name === wanted)
    if (wanted !== null && (source === undefined || sourceOf(source) !== null)) {
      const others = names.filter((other) => other !== name).join(', ')
      const key = arm.like === null ? 'equal-tokens' : 'like'
      throw expected('OPTION_INVALID', `the name of another policy (${others})`, `${key} of ${name}`, wanted)
    }
    const measure = arms.find((arm) => arm.name === against)
    if (against !== null && (measure === undefined || measure.name === name || !isReference(measure))) {
      const whole = arms.filter((arm) => arm.name !== name && isReference(arm)).map((arm) => arm.name)
      const choices = `the name of another best-of-n on all candidates (${whole.join(', ') || 'none here'})`
      throw expected('OPTION_INVALID', choices, `against of ${name}`, against)
    }
  }
  return arms
}

/** The name of the arm whose rows this one depends on; null without one. */
export function sourceOf({ equalTokens, like }: Arm): string | null {
  return equalTokens ?? like
}

/** Whether others can be measured against it: best-of-N on all candidates, itself measured against nothing else. */
export function isReference(arm: Arm): boolean {
  return arm.policy.name === 'best-of-n' && arm.n === null && arm.equalTokens === null && arm.against === null
}
