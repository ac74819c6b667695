import { at, type Checkpoints, doubling, every } from './checkpoint.js'
import { expected, WinnowError } from './errors.js'
import { nearest } from './nearest.js'
import { bestOfN } from './policies/best-of-n.js'
import { keepEnough } from './policies/keep-enough.js'
import { memoryPressure } from './policies/memory-pressure.js'
import { randomKill } from './policies/random-kill.js'
import { specReject } from './policies/spec-reject.js'
import type { Policy } from './policy.js'
import type { Scorer } from './scorer.js'
import { rewardHead } from './scorers/head.js'
import { headFile } from './scorers/head-file.js'
import { confidenceNamed, confidenceNames } from './scorers/named.js'

/** Whom to kill and when, as a policy with a name is told. */
export interface Schedule {
  readonly alpha: number
  readonly checkpoints: Checkpoints
  /** Of spec-reject alone; absent: 0. */
  readonly margin?: number
  /** Of keep-enough alone; absent: its defaults. */
  readonly right?: number
  readonly hopeless?: number
}

/** The policies that have a name on the command line. */
const policies = {
  'best-of-n': bestOfN,
  'spec-reject': specReject,
  'keep-enough': keepEnough,
  'spec-reject-paper': (schedule: Schedule) => specReject({ ...schedule, paper: true }),
  'spec-reject-memory': ({ alpha }: Schedule) => specReject({ alpha, memory: true }),
  'memory-pressure': memoryPressure,
  'random-kill': randomKill
} as const satisfies Record<string, (options: Schedule) => Policy>

export type PolicyName = keyof typeof policies

/** How the name of a policy begins that a file says: what `winnow tune` writes. */
export const policyFile = 'policy@'
export const policyNames = Object.keys(policies) as PolicyName[]

/** Throws OPTION_UNKNOWN, OPTION_INVALID. */
export function policyNamed(name: string, schedule: Schedule): Policy {
  return policies[known(name, policyNames, 'the policy')](schedule)
}

/** Scorers that only some callers can make, by name; null for a name it does not know. */
export type NamedScorers = (name: string) => Scorer | null

export const scorerNames: readonly string[] = ['head', ...confidenceNames]

/** How the name of a scorer begins that is a head in a file of its own. */
export const ofFile = 'head@'

/**
 * The scorer of a name; `given` knows further ones, and says null to what it does not know. `head@FILE` is a reward head in
 * a file of its own, as is `head@"FILE"`. Throws OPTION_UNKNOWN, OPTION_INVALID and HEAD_NOT_FOUND.
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

/** `64,128`, `64+128` or `at:64+128`, `every:32`, `doubling:16`. Throws OPTION_INVALID. */
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

/** A name that is one of those. Throws OPTION_UNKNOWN, which lists them. */
export function known<T extends string>(name: string, names: readonly T[], what: string): T {
  if (names.includes(name as T)) return name as T
  throw unknown(name, names, what)
}

function unknown(name: string, names: readonly string[], what: string): WinnowError {
  const near = nearest(name, names)
  const hint = near === null ? '' : `; did you mean "${near}"?`
  const choices = `one of ${names.join(', ')}`
  return new WinnowError('OPTION_UNKNOWN', `Expected ${choices} for ${what} but received "${name}"${hint}`)
}
