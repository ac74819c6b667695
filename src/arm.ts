import { at, type Checkpoints, doubling, every } from './checkpoint.js'
import { expected, WinnowError } from './errors.js'
import { nearest, resolveCandidates } from './options.js'
import { bestOfN } from './policies/best-of-n.js'
import { randomKill } from './policies/random-kill.js'
import { specReject } from './policies/spec-reject.js'
import type { Policy } from './policy.js'
import type { Scorer } from './scorer.js'
import { rewardHead } from './scorers/head.js'
import { confidenceNamed, confidenceNames } from './scorers/named.js'

/** The policies and scorers that have a name on the command line. */
const policies = {
  'best-of-n': () => bestOfN(),
  'spec-reject': specReject,
  'spec-reject-paper': (options: Schedule) => specReject({ ...options, paper: true }),
  'random-kill': randomKill
} as const satisfies Record<string, (options: Schedule) => Policy>

/** Scorers that only some callers can make, by name; null for a name it does not know. */
export type NamedScorers = (name: string) => Scorer | null

export type PolicyName = keyof typeof policies
export const policyNames = Object.keys(policies) as PolicyName[]
export const scorerNames: readonly string[] = ['head', ...confidenceNames]

export interface Schedule {
  readonly alpha: number
  readonly checkpoints: Checkpoints
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
  /** Whether that is the scorer of arms that set none. */
  readonly usual: boolean
  /**
   * Of best-of-N only: the name of an arm. On each prompt as many candidates are written, the first ones, as it takes
   * to generate at least as many tokens as that arm did there.
   */
  readonly equalTokens: string | null
}

const keys = ['alpha', 'checkpoints', 'every', 'doubling', 'scorer', 'n', 'equal-tokens', 'name']

/**
 * `policy[:key=value]...`, such as `spec-reject:alpha=0.7:checkpoints=32+64+128:scorer=min-logprob`, `spec-reject:checkpoints=doubling:16`,
 * `best-of-n:n=1` or `best-of-n:equal-tokens=spec-reject`. What is not set comes from `defaults`.
 *
 * Throws OPTION_UNKNOWN and OPTION_INVALID.
 */
export function parseArm(text: string, defaults: Defaults): Arm {
  // A colon before a digit belongs to a value: `checkpoints=doubling:32`.
  const [policyText = '', ...settings] = text.split(/:(?!\d)/)
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
  const checkpoints = checkpointsOf(values, text) ?? defaults.checkpoints
  const [scorer, n] = [values.get('scorer'), values.get('n')]
  const usual = defaults.scorer ?? null
  const set = {
    n: n === undefined ? null : resolveCandidates(numberOf(n, `n of ${text}`)),
    scorer: scorer === undefined ? usual : scorerNamed(scorer, defaults.scorers),
    equalTokens
  }
  return {
    name: values.get('name') ?? text,
    definition: definitionOf(policy, { alpha, checkpoints }, set),
    policy: policies[policy]({ alpha, checkpoints }),
    usual: set.scorer === usual,
    ...set
  }
}

/** In the form that `parseArm` reads. best-of-N kills nobody, so a schedule says nothing about it. */
function definitionOf(
  policy: PolicyName,
  { alpha, checkpoints }: Schedule,
  { n, scorer, equalTokens }: Pick<Arm, 'n' | 'scorer' | 'equalTokens'>
): string {
  const parts: string[] = [policy]
  if (policy !== 'best-of-n') parts.push(`alpha=${alpha}`, `checkpoints=${checkpoints.name}`)
  if (n !== null) parts.push(`n=${n}`)
  if (scorer !== null) parts.push(`scorer=${scorer.name}`)
  if (equalTokens !== null) parts.push(`equal-tokens=${equalTokens}`)
  return parts.join(':')
}

/** Arms whose names are distinct and whose `equalTokens` exist. */
export function parseArms(texts: readonly string[], defaults: Defaults): Arm[] {
  const arms = texts.map((text) => parseArm(text, defaults))
  const names = arms.map((arm) => arm.name)
  const twice = names.find((name, i) => names.indexOf(name) !== i)
  if (twice !== undefined) throw expected('OPTION_INVALID', 'each policy once', '--policies', twice)
  for (const { equalTokens, name } of arms) {
    if (equalTokens === null) continue
    const source = arms.find((arm) => arm.name === equalTokens)
    if (source === undefined || source.equalTokens !== null) {
      const others = names.filter((other) => other !== name).join(', ')
      throw expected('OPTION_INVALID', `the name of another policy (${others})`, `equal-tokens of ${name}`, equalTokens)
    }
  }
  return arms
}

export function policyNamed(name: string, schedule: Schedule): Policy {
  return policies[known(name, policyNames, 'the policy')](schedule)
}

/** The scorer of a name; `given` knows further ones, and says null to what it does not know. Throws OPTION_INVALID. */
export function scorerNamed(name: string, given: NamedScorers = () => null): Scorer {
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
