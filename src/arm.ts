import { at, type Checkpoints, doubling, every } from './checkpoint.js'
import { expected, WinnowError } from './errors.js'
import { nearest, resolveCandidates } from './options.js'
import { bestOfN } from './policies/best-of-n.js'
import { randomKill } from './policies/random-kill.js'
import { specReject } from './policies/spec-reject.js'
import type { Policy } from './policy.js'
import type { Scorer } from './scorer.js'
import { rewardHead } from './scorers/head.js'
import { meanLogprob } from './scorers/mean-logprob.js'
import { minLogprob } from './scorers/min-logprob.js'

/** The policies and scorers that have a name on the command line. */
const policies = {
  'best-of-n': () => bestOfN(),
  'spec-reject': specReject,
  'spec-reject-paper': (options: Schedule) => specReject({ ...options, paper: true }),
  'random-kill': randomKill
} as const satisfies Record<string, (options: Schedule) => Policy>

const scorers = { head: rewardHead, 'mean-logprob': meanLogprob, 'min-logprob': minLogprob } as const

export type PolicyName = keyof typeof policies
export const policyNames = Object.keys(policies) as PolicyName[]
export const scorerNames = Object.keys(scorers)

export interface Schedule {
  readonly alpha: number
  readonly checkpoints: Checkpoints
}

/** One row of a comparison: a policy with everything that is set for it alone. */
export interface Arm {
  /** As it is written on the command line, or the `name` given to it there. */
  readonly name: string
  readonly policy: Policy
  /** Null: as many as the bench has. */
  readonly n: number | null
  /** Null: the engine's default. */
  readonly scorer: Scorer | null
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
export function parseArm(text: string, defaults: Schedule): Arm {
  // A colon before a digit belongs to a value: `checkpoints=doubling:32`.
  const [policyText = '', ...settings] = text.split(/:(?!\d)/)
  const policy = known(policyText, policyNames, 'the policy')
  const values = new Map(settings.map((setting) => parseSetting(setting, text)))
  const alpha = values.has('alpha') ? numberOf(values.get('alpha') as string, `alpha of ${text}`) : defaults.alpha
  const equalTokens = values.get('equal-tokens') ?? null
  if (equalTokens !== null && (policy !== 'best-of-n' || values.has('n'))) {
    throw new WinnowError('OPTION_INVALID', `Expected equal-tokens on best-of-n without n but received "${text}"`)
  }
  const scorer = values.get('scorer')
  const n = values.get('n')
  return {
    name: values.get('name') ?? text,
    policy: policies[policy]({ alpha, checkpoints: checkpointsOf(values) ?? defaults.checkpoints }),
    n: n === undefined ? null : resolveCandidates(numberOf(n, `n of ${text}`)),
    scorer: scorer === undefined ? null : scorerNamed(scorer),
    equalTokens
  }
}

/** Arms whose names are distinct and whose `equalTokens` exist. */
export function parseArms(texts: readonly string[], defaults: Schedule): Arm[] {
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

export function scorerNamed(name: string): Scorer {
  return scorers[known(name, scorerNames as (keyof typeof scorers)[], 'the scorer')]()
}

/** `64,128` or `64+128`, `every:32`, `doubling:16`. */
export function parseCheckpoints(text: string): Checkpoints {
  const [kind, count] = text.split(':')
  if (count !== undefined && kind === 'every') return every(numberOf(count, 'checkpoints'))
  if (count !== undefined && kind === 'doubling') return doubling(numberOf(count, 'checkpoints'))
  const counts = text.split(/[,+]/).map((part) => Number(part))
  if (counts.every((value) => Number.isSafeInteger(value) && value > 0)) return at(counts)
  throw expected(
    'OPTION_INVALID',
    'token counts such as "64,128", or "every:32", or "doubling:16",',
    'checkpoints',
    text
  )
}

function checkpointsOf(values: ReadonlyMap<string, string>): Checkpoints | null {
  const at = values.get('checkpoints')
  if (at !== undefined) return parseCheckpoints(at)
  for (const kind of ['every', 'doubling']) {
    const count = values.get(kind)
    if (count !== undefined) return parseCheckpoints(`${kind}:${count}`)
  }
  return null
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
  const near = nearest(name, names)
  const hint = near === null ? '' : `; did you mean "${near}"?`
  const choices = `one of ${names.join(', ')}`
  throw new WinnowError('OPTION_UNKNOWN', `Expected ${choices} for ${what} but received "${name}"${hint}`)
}
