import { z } from 'zod'
import { expected } from '../errors.js'
import type { PolicySummary } from '../summary.js'
import type { RoundSurvival } from '../traces/round-survival.js'
import type { TraceHeader } from '../traces/trace.js'
import { inOrder, pointOf } from './curve.js'
import { factsOf, recordingFacts } from './facts.js'
import { isPlain, kindOf, type Study } from './study.js'

const intervalSchema = z.looseObject({ mean: z.number(), low: z.number(), high: z.number() })
const known = intervalSchema.nullable()
const versusSchema = z.looseObject({
  accuracy: known,
  generatedTokens: intervalSchema,
  processedTokens: intervalSchema,
  wallSeconds: intervalSchema
})
const policySchema = z.looseObject({
  policy: z.string(),
  n: z.number(),
  prompts: z.number().min(1),
  accuracy: known,
  meanScore: known,
  generatedTokens: intervalSchema,
  wallSeconds: intervalSchema,
  peakCells: z.number(),
  survival: known,
  regret: known,
  phases: z.record(z.string(), z.number()),
  versus: z.record(z.string(), versusSchema),
  rounds: z
    .array(z.looseObject({ tokens: z.number(), live: z.number(), killed: z.number(), bestAlive: z.number() }))
    .optional()
})
const resultsSchema = z.looseObject({
  traces: z
    .looseObject({ conditions: z.looseObject({}), scorers: z.array(z.looseObject({ name: z.string() })) })
    .optional(),
  reference: z.string().nullable(),
  policies: z.array(policySchema).min(1)
})

/**
 * What `winnow bench --json` and `winnow replay --json` print. Throws RESULTS_MISMATCH with what of it is none of theirs.
 */
export function summaryStudy(path: string, file: string, results: Readonly<Record<string, unknown>>): Study {
  const parsed = resultsSchema.safeParse(results)
  if (!parsed.success) {
    const { path: where = [], message } = parsed.error.issues[0] ?? {}
    throw expected(
      'RESULTS_MISMATCH',
      'results of winnow bench or winnow replay',
      path,
      `${where.join('.')}: ${message}`
    )
  }
  const { reference, policies, traces } = parsed.data
  const arms = policies.map(({ rounds, ...summary }) => ({
    ...(summary as unknown as PolicySummary),
    kind: kindOf(summary.policy),
    rounds: (rounds ?? []) as unknown as readonly RoundSurvival[]
  }))
  const recorded = traces === undefined ? { options: {} } : recordingFacts(traces as unknown as TraceHeader)
  return {
    files: [file],
    what: traces === undefined ? 'bench' : 'replay',
    reference,
    arms,
    curve: inOrder(arms.filter(isPlain).map(pointOf)),
    flows: [],
    calibrations: [],
    trajectories: null,
    facts: factsOf({ ...recorded, ...results, options: { ...recorded.options, ...(results.options as object) } })
  }
}
