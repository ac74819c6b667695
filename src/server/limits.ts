import { z } from 'zod'
import { whole } from '../checks.js'
import { maxCandidates } from '../options.js'

/** What a service takes of anybody; the defaults are meant for a server that strangers reach. */
export interface Limits {
  /** Candidates of one request. Default 64. */
  readonly candidates?: number | undefined
  /** Tokens a candidate may write. Default 4096. */
  readonly tokens?: number | undefined
  /** Of a request that does not say `max_tokens`. Default 512. */
  readonly defaultTokens?: number | undefined
  /** Requests that wait for their turn; one more is refused (503). Default 512. */
  readonly queue?: number | undefined
  /** Bytes of a request's body. Default 1 MiB. */
  readonly body?: number | undefined
  /** Objects and arrays in one another in a body. Default 64. */
  readonly depth?: number | undefined
  /** Milliseconds to send a body in. Default 30,000. */
  readonly bodyMs?: number | undefined
  /** Milliseconds until a request is answered with the best so far, waiting included. Default 300,000. */
  readonly deadlineMs?: number | undefined
  /** Bytes of a stream that a reader may leave unread; then it is cut off. Default 1 MiB. */
  readonly buffer?: number | undefined
}

export type ResolvedLimits = { readonly [K in keyof Limits]-?: number }

export const limitsSchema = z.strictObject({
  candidates: whole(1, maxCandidates).default(64),
  tokens: whole(1, 2 ** 31 - 1).default(4096),
  defaultTokens: whole(1, 2 ** 31 - 1).default(512),
  queue: whole(0, 1_000_000).default(512),
  body: whole(1024, 2 ** 30).default(2 ** 20),
  depth: whole(4, 1024).default(64),
  bodyMs: whole(1, 3_600_000).default(30_000),
  deadlineMs: whole(1, 86_400_000).default(300_000),
  buffer: whole(1024, 2 ** 30).default(2 ** 20)
})
