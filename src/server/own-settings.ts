import { z } from 'zod'
import { check, flag, range, whole } from '../checks.js'

/** Policies a request may name. Those that have the engine's pool to themselves are for whoever runs the service. */
export const requestPolicies = ['best-of-n', 'spec-reject', 'keep-enough', 'spec-reject-paper', 'random-kill'] as const

const isShort = (value: unknown) => typeof value === 'string' && value !== '' && value.length <= 1024

/** Winnow's own settings of a request, under the key `winnow`. */
export const ownSchema = z.strictObject({
  /** Whom to kill. Default: the service's. */
  policy: check<(typeof requestPolicies)[number]>(
    (value) => requestPolicies.includes(value as (typeof requestPolicies)[number]),
    `one of ${requestPolicies.map((name) => `"${name}"`).join(', ')}`
  ).optional(),
  /** Share of the live candidates rejected at a checkpoint. */
  alpha: range(0, 0.999).optional(),
  /** When to look, in tokens: `64,128`, `every:32`, `doubling:16`. */
  checkpoints: check<string>(isShort, 'a text such as "doubling:32"').optional(),
  /** What to rank by: a name that the service knows. */
  scorer: check<string>(isShort, 'the name of a scorer').optional(),
  /** Milliseconds, waiting included; then the best so far is the answer. At most the service's. */
  deadlineMs: whole(1, 2 ** 31 - 1).optional(),
  /** Tokens of all candidates together; looked at ten times a second, then the best so far is the answer. */
  tokenBudget: whole(1, Number.MAX_SAFE_INTEGER).optional(),
  /** Add every candidate to the answer, killed ones included. */
  returnBranches: flag.default(false),
  /** Add named events to a stream: `winnow.start`, `winnow.scores`, `winnow.kills`, `winnow.leader`. */
  events: flag.default(false)
})

export type OwnSettings = z.output<typeof ownSchema>
