import { at, type Checkpoints, doubling, every } from './checkpoint.js'
import { expected, WinnowError } from './errors.js'
import { nearest, resolveCandidates } from './options.js'
import { bestOfN } from './policies/best-of-n.js'
import { enough, keepEnough } from './policies/keep-enough.js'
import { randomKill } from './policies/random-kill.js'
import { specReject } from './policies/spec-reject.js'
import type { Policy } from './policy.js'
import type { Scorer } from './scorer.js'
import { rewardHead } from './scorers/head.js'
import { type HeadFileScorer, headFile } from './scorers/head-file.js'
import { confidenceNamed, confidenceNames } from './scorers/named.js'

/** The policies and scorers that have a name on the command line. */
const policies = {
  'best-of-n': () => bestOfN(),
  'spec-reject': specReject,
  'keep-enough': ({ right, hopeless, checkpoints }: Schedule) => keepEnough({ right, hopeless, checkpoints }),
  'spec-reject-paper': (schedule: Schedule) => specReject({ ...schedule, paper: true }),
  'random-kill': ({ alpha, checkpoints }: Schedule) => randomKill({ alpha, checkpoints })
} as const satisfies Record<string, (options: Schedule) => Policy>

/** Scorers that only some callers can make, by name; null for a name it does not know. */
export type NamedScorers = (name: string) => Scorer | null

export type PolicyName = keyof typeof policies
export const policyNames = Object.keys(policies) as PolicyName[]
export const scorerNames: readonly string[] = ['head', ...confidenceNames]

export interface Schedule {
  readonly alpha: number
  readonly checkpoints: Checkpoints
  /** Of spec-reject alone; absent: 0. */
  readonly margin?: number
  /** Of keep-enough alone; absent: its defaults. */
  readonly right?: number
  readonly hopeless?: number
}

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

/** How the name of a scorer begins that is a head in a file of its own. */
const ofFile = 'head@'
/** A comma, not within double quotes: so many are behind it that all are closed. */
const betweenArms = /,(?=(?:[^"]*"[^"]*")*[^"]*$)/
/** A colon, not there either; before a digit it belongs to a value: `checkpoints=doubling:32`. */
const betweenSettings = /:(?!\d)(?=(?:[^"]*"[^"]*")*[^"]*$)/

const keys = [
  'alpha',
  'margin',
  'right',
  'hopeless',
  'checkpoints',
  'every',
  'doubling',
  'scorer',
  'n',
  'equal-tokens',
  'like',
  'against',
  'name'
]

/**
 * `policy[:key=value]...`, such as `spec-reject:alpha=0.7:checkpoints=32+64+128:scorer=min-logprob`, `spec-reject:checkpoints=doubling:16`,
 * `best-of-n:n=1`, `best-of-n:equal-tokens=spec-reject` or `random-kill:like=spec-reject`. A scorer `head@FILE` is a reward
 * head in a file of its own; a path with a colon or a comma in it goes in double quotes, `head@"FILE"`. `against=` names a
 * best-of-N arm to be measured against, such as one by the same scorer. What is not set comes from `defaults`.
 *
 * Throws OPTION_UNKNOWN, OPTION_INVALID and HEAD_NOT_FOUND.
 */
export function parseArm(text: string, defaults: Defaults): Arm {
  checkQuotes(text, `the policy ${text}`)
  const [policyText = '', ...settings] = text.split(betweenSettings)
  const policy = known(policyText, policyNames, 'the policy')
  const values = new Map<string, string>()
  for (const [key, value] of settings.map((setting) => parseSetting(setting, text))) {
    if (values.has(key)) throw expected('OPTION_INVALID', 'each key once', `the policy ${text}`, key)
    values.set(key, value)
  }
  const alpha = values.has('alpha') ? numberOf(values.get('alpha') as string, `alpha of ${text}`) : defaults.alpha
  const equalTokens = values.get('equal-tokens') ?? null
  if (equalTokens !== null && (policy !== 'best-of-n' || values.has('n'))) {
    throw new WinnowError('OPTION_INVALID', `Expected equal-tokens on best-of-n without n but received "${text}"`)
  }
  const like = values.get('like') ?? null
  const own = ['alpha', 'checkpoints', 'every', 'doubling'].filter((key) => values.has(key))
  if (like !== null && (policy !== 'random-kill' || own.length > 0)) {
    throw new WinnowError('OPTION_INVALID', `Expected like on random-kill without a schedule but received "${text}"`)
  }
  if (values.has('margin') && policy !== 'spec-reject') {
    throw new WinnowError('OPTION_INVALID', `Expected margin on spec-reject but received "${text}"`)
  }
  const margin = policy === 'spec-reject' ? marginOf(values.get('margin'), text, defaults) : 0
  const checkpoints = checkpointsOf(values, text) ?? defaults.checkpoints
  const chance = (key: 'right' | 'hopeless') =>
    values.has(key) ? numberOf(values.get(key) as string, `${key} of ${text}`) : (defaults[key] ?? enough[key])
  const [right, hopeless] = [chance('right'), chance('hopeless')]
  if ((values.has('right') || values.has('hopeless')) && policy !== 'keep-enough') {
    throw new WinnowError('OPTION_INVALID', `Expected right and hopeless on keep-enough but received "${text}"`)
  }
  const [scorer, n] = [values.get('scorer'), values.get('n')]
  const usual = defaults.scorer ?? null
  const set = {
    n: n === undefined ? null : resolveCandidates(numberOf(n, `n of ${text}`)),
    scorer: scorer === undefined ? usual : scorerNamed(scorer, defaults.scorers),
    equalTokens,
    like,
    against: values.get('against') ?? null
  }
  return {
    name: values.get('name') ?? text,
    definition: definitionOf(policy, { alpha, checkpoints, margin, right, hopeless }, set),
    policy: policies[policy]({ alpha, checkpoints, margin, right, hopeless }),
    usual: set.scorer === usual,
    headSha256: headSha256Of(set.scorer),
    ...set
  }
}

function marginOf(own: string | undefined, text: string, { margin = 0 }: Defaults): number {
  return own === undefined ? margin : numberOf(own, `margin of ${text}`)
}

/** Of the file behind a scorer `head@FILE`; null for other scorers. */
export function headSha256Of(scorer: object | null): string | null {
  const { sha256 } = (scorer ?? {}) as Partial<HeadFileScorer>
  return sha256 ?? null
}

/** In the form that `parseArm` reads. best-of-N kills nobody, so a schedule says nothing about it. */
function definitionOf(
  policy: PolicyName,
  { alpha, checkpoints, margin, right, hopeless }: Required<Schedule>,
  { n, scorer, equalTokens, like, against }: Pick<Arm, 'n' | 'scorer' | 'equalTokens' | 'like' | 'against'>
): string {
  const parts: string[] = [policy]
  if (like !== null) parts.push(`like=${like}`)
  else if (policy === 'keep-enough')
    parts.push(`right=${right}`, `hopeless=${hopeless}`, `checkpoints=${checkpoints.name}`)
  else if (policy !== 'best-of-n') parts.push(`alpha=${alpha}`, `checkpoints=${checkpoints.name}`)
  if (policy === 'spec-reject' && margin !== 0) parts.push(`margin=${margin}`)
  if (n !== null) parts.push(`n=${n}`)
  if (scorer !== null) parts.push(`scorer=${quoted(scorer.name)}`)
  if (equalTokens !== null) parts.push(`equal-tokens=${equalTokens}`)
  if (against !== null) parts.push(`against=${against}`)
  return parts.join(':')
}

/** A path that would be taken apart otherwise. */
function quoted(scorer: string): string {
  const path = scorer.startsWith(ofFile) ? scorer.slice(ofFile.length) : ''
  return /[:,]/.test(path) ? `${ofFile}"${path}"` : scorer
}

/** Arms out of a list with commas between them, those within double quotes excepted. Throws OPTION_INVALID. */
export function splitArms(text: string): string[] {
  checkQuotes(text, '--policies')
  const items = text.split(betweenArms).map((item) => item.trim())
  if (items.every((item) => item !== '')) return items
  throw expected('OPTION_INVALID', 'policies separated by commas', '--policies', text)
}

function checkQuotes(text: string, forWhat: string): void {
  if (text.split('"').length % 2 === 1) return
  throw expected('OPTION_INVALID', 'an end to each double quote', forWhat, text)
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

export function policyNamed(name: string, schedule: Schedule): Policy {
  return policies[known(name, policyNames, 'the policy')](schedule)
}

/**
 * The scorer of a name; `given` knows further ones, and says null to what it does not know. `head@FILE` is a reward head in
 * a file of its own, as is `head@"FILE"`. Throws OPTION_INVALID and HEAD_NOT_FOUND.
 */
export function scorerNamed(name: string, given: NamedScorers = () => null): Scorer {
  if (name.startsWith(ofFile)) {
    const path = name.slice(ofFile.length)
    return headFile(/^"([^"]*)"$/.exec(path)?.[1] ?? path)
  }
  const found = name === 'head' ? rewardHead() : (given(name) ?? confidenceNamed(name))
  if (found !== null) return found
  throw unknown(name, scorerNames, 'the scorer')
}

/** `64,128`, `64+128` or `at:64+128`, `every:32`, `doubling:16`. */
export function parseCheckpoints(text: string): Checkpoints {
  const [, kind = 'at', counts = ''] = /^(?:(at|every|doubling):)?([^:]*)$/.exec(text) ?? []
  const numbers = counts.split(/[,+]/).map((part) => (part.trim() === '' ? Number.NaN : Number(part)))
  if (numbers.every((value) => Number.isSafeInteger(value) && value > 0)) {
    const [first, ...others] = numbers as [number, ...number[]]
    if (kind === 'at') return at(numbers)
    if (others.length === 0) return kind === 'every' ? every(first) : doubling(first)
  }
  throw expected(
    'OPTION_INVALID',
    'token counts such as "64,128", or "every:32", or "doubling:16",',
    'checkpoints',
    text
  )
}

function checkpointsOf(values: ReadonlyMap<string, string>, text: string): Checkpoints | null {
  const given = ['checkpoints', 'every', 'doubling'].filter((key) => values.has(key))
  if (given.length > 1) {
    throw expected('OPTION_INVALID', `one of ${given.join(' and ')}`, `the policy ${text}`, 'both')
  }
  const [key] = given
  if (key === undefined) return null
  const value = values.get(key) as string
  return parseCheckpoints(key === 'checkpoints' ? value : `${key}:${value}`)
}

function parseSetting(setting: string, text: string): [string, string] {
  const split = setting.indexOf('=')
  if (split < 1) throw expected('OPTION_INVALID', 'key=value after each colon', `the policy ${text}`, setting)
  return [known(setting.slice(0, split), keys, `a key of the policy ${text}`), setting.slice(split + 1)]
}

function numberOf(text: string, forWhat: string): number {
  const value = text.trim() === '' ? Number.NaN : Number(text)
  if (Number.isNaN(value)) throw expected('OPTION_INVALID', 'a number', forWhat, text)
  return value
}

function known<T extends string>(name: string, names: readonly T[], what: string): T {
  if (names.includes(name as T)) return name as T
  throw unknown(name, names, what)
}

function unknown(name: string, names: readonly string[], what: string): WinnowError {
  const near = nearest(name, names)
  const hint = near === null ? '' : `; did you mean "${near}"?`
  const choices = `one of ${names.join(', ')}`
  return new WinnowError('OPTION_UNKNOWN', `Expected ${choices} for ${what} but received "${name}"${hint}`)
}
