import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { z } from 'zod'
import type { Checkpoints } from './checkpoint.js'
import { WinnowError } from './errors.js'
import { contentKey } from './journal.js'
import { parseCheckpoints, policyFile, policyNamed, type Schedule } from './names.js'
import { cutShares } from './policies/safe-reject.js'
import type { Policy } from './policy.js'

const policyFileVersion = 1

/** Shares that were learnt, or a policy of the command line and what is set of it. */
export type PolicySettings =
  | {
      readonly policy: 'safe-reject'
      readonly checkpoints: string
      readonly shares: readonly { readonly tokens: number; readonly share: number }[]
    }
  | ({ readonly policy: 'best-of-n' | 'spec-reject' | 'keep-enough'; readonly checkpoints: string } & Partial<
      Omit<Schedule, 'checkpoints'>
    >)

/** A policy as a file has it. */
export interface PolicyFile {
  readonly settings: PolicySettings
  /** Candidates and scorer that it was chosen for. */
  readonly n: number
  readonly scorer: string
  /** How it was chosen and what it promises; for people and reports. */
  readonly evidence: Readonly<Record<string, unknown>>
}

const share = z.strictObject({ tokens: z.int().min(1), share: z.number().min(0).max(1) })
const fileSchema = z.strictObject({
  winnowPolicy: z.literal(policyFileVersion),
  settings: z.discriminatedUnion('policy', [
    z.strictObject({ policy: z.literal('safe-reject'), checkpoints: z.string(), shares: z.array(share) }),
    z.strictObject({
      policy: z.enum(['best-of-n', 'spec-reject', 'keep-enough']),
      checkpoints: z.string(),
      alpha: z.number().optional(),
      margin: z.number().optional(),
      right: z.number().optional(),
      hopeless: z.number().optional()
    })
  ]),
  n: z.int().min(1),
  scorer: z.string(),
  evidence: z.record(z.string(), z.unknown())
})

/** The text of a file that `readPolicy` reads. */
export function policyText(file: PolicyFile): string {
  return `${JSON.stringify({ winnowPolicy: policyFileVersion, ...file }, null, 2)}\n`
}

/**
 * A policy out of a file that `winnow tune` wrote. Its name has the file's and the beginning of the settings' checksum, so that
 * results by other settings are not taken for its own. Throws POLICY_INVALID.
 */
export function readPolicy(path: string): Policy {
  const { settings } = readPolicyFile(path)
  const name = `${basename(path)}#${contentKey(settings).slice(0, 8)}`
  try {
    return { ...policyOf(settings), name }
  } catch (error) {
    throw wrong(path, error instanceof Error ? error.message : String(error), error)
  }
}

/** All that it says. Throws POLICY_INVALID. */
export function readPolicyFile(path: string): PolicyFile {
  let value: unknown
  try {
    value = JSON.parse(readFileSync(path, 'utf8'))
  } catch (error) {
    throw wrong(path, (error as Error).message, error)
  }
  const parsed = fileSchema.safeParse(value)
  if (!parsed.success) throw wrong(path, `one that is wrong in ${parsed.error.issues[0]?.path.join('.') || 'its keys'}`)
  const { winnowPolicy: _, ...file } = parsed.data
  return file as PolicyFile
}

/**
 * A policy by its name on the command line, one in a file by `policy@FILE` or `policy@"FILE"`; of the schedule a file takes
 * nothing. Throws OPTION_UNKNOWN, OPTION_INVALID, POLICY_INVALID.
 */
export function policyFor(name: string, schedule: Schedule): Policy {
  if (!name.startsWith(policyFile)) return policyNamed(name, schedule)
  const path = name.slice(policyFile.length)
  return readPolicy(/^"([^"]*)"$/.exec(path)?.[1] ?? path)
}

/** Throws OPTION_INVALID. */
export function policyOf(settings: PolicySettings): Policy {
  const checkpoints: Checkpoints = parseCheckpoints(settings.checkpoints)
  if (settings.policy === 'safe-reject') return cutShares('safe-reject', checkpoints, settings.shares)
  const { policy, checkpoints: _, ...rest } = settings
  return policyNamed(policy, { alpha: 0.5, ...rest, checkpoints })
}

function wrong(path: string, received: string, cause?: unknown): WinnowError {
  return new WinnowError('POLICY_INVALID', `Expected a policy in ${path} but received ${received}`, { cause })
}
