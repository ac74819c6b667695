import { z } from 'zod'
import { WinnowError } from '../errors.js'
import { summarise } from '../summary.js'
import type { Row } from '../trial.js'
import { type Calibration, calibrationOf } from './calibration.js'
import { curveOf, inOrder, pointOf } from './curve.js'
import { factsOf } from './facts.js'
import { isPlain, kindOf, type Study } from './study.js'

const nullable = z.number().nullable()
const rowSchema = z.looseObject({
  type: z.literal('row'),
  prompt: z.int().min(0),
  arm: z.string(),
  setting: z.string(),
  n: z.number(),
  right: z.boolean().nullable(),
  score: nullable,
  survived: z.boolean().nullable(),
  regret: nullable,
  diverged: nullable,
  generatedTokens: z.number(),
  processedTokens: z.number(),
  rewardTokens: z.number(),
  wallSeconds: z.number(),
  seconds: z.record(z.string(), z.number()),
  peakCells: z.number(),
  candidates: z
    .looseObject({ scores: z.array(nullable), tokens: z.array(z.number()), right: z.array(z.boolean().nullable()) })
    .optional()
})
const lineSchema = z.union([rowSchema, z.looseObject({ type: z.literal('failure') })])

/**
 * What `winnow bench --out` writes, `lines` without their ends and without the header. Only prompts that every policy of the
 * file was measured on count. Throws RESULTS_CORRUPT with the number of a line that is no row.
 */
export function rowsStudy(
  path: string,
  file: string,
  header: Readonly<Record<string, unknown>>,
  lines: readonly string[]
): Study {
  const read = lines.flatMap((line, i) => rowIn(line, i + 2, path) ?? [])
  // What a policy of this name was measured under before it was set otherwise is another policy's.
  const settings = new Map(read.map(({ arm, setting }) => [arm, setting]))
  const rows = read.filter(({ arm, setting }) => settings.get(arm) === setting)
  const names = [...settings.keys()].map((name) => ({ name }))
  const seed = Number(BigInt(String(header.seed ?? 0)) & 0xffffffffn)
  const summaries = rows.length === 0 ? [] : summarise(rows, names, seed)
  if ((summaries[0]?.prompts ?? 0) === 0) {
    const what = 'a prompt with a row for each policy'
    throw new WinnowError('RESULTS_CORRUPT', `Expected ${what} in ${path} but received none`)
  }
  const arms = summaries.map((summary) => ({
    ...summary,
    kind: kindOf(settings.get(summary.policy) as string),
    rounds: []
  }))
  const full = wholeOf(rows, names.length).filter(({ candidates }) => candidates !== undefined)
  const { type: _, schemaVersion: __, versions, hardware, model, head, rewardModel, prompts, ...options } = header
  const { seed: ___, ...others } = options
  return {
    files: [file],
    what: 'bench',
    reference: full[0]?.arm ?? null,
    arms,
    curve: inOrder([...arms.filter(isPlain).map(pointOf), ...curveOf(full, seed)]),
    flows: [],
    calibrations: calibrationsOf(full),
    trajectories: null,
    facts: factsOf({ versions, hardware, model, head, rewardModel, prompts, seed: header.seed, options: others })
  }
}

/** Null for the line of a failure. */
function rowIn(line: string, number: number, path: string): Row | null {
  const refuse = (what: string) =>
    new WinnowError(
      'RESULTS_CORRUPT',
      `Expected a row of winnow bench for line ${number} of ${path} but received ${what}`
    )
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch (error) {
    throw refuse(`no JSON: ${(error as Error).message}`)
  }
  const { success, data, error } = lineSchema.safeParse(value)
  if (!success) throw refuse(`another ${error.issues[0]?.path.join('.') || 'kind of line'}`)
  return data.type === 'failure' ? null : (data as unknown as Row)
}

/** Of the prompts that so many policies were measured on, by prompt. */
function wholeOf(rows: readonly Row[], policies: number): Row[] {
  const counts = new Map<number, Set<string>>()
  for (const { prompt, arm } of rows) counts.set(prompt, (counts.get(prompt) ?? new Set()).add(arm))
  return rows.filter(({ prompt }) => counts.get(prompt)?.size === policies).sort((a, b) => a.prompt - b.prompt)
}

/** Of final scores; none where right answers are not known. */
function calibrationsOf(rows: readonly Row[]): Calibration[] {
  const [scores, right]: [number[], boolean[]] = [[], []]
  for (const { candidates } of rows) {
    for (const [i, is] of (candidates?.right ?? []).entries()) {
      if (is === null) return []
      right.push(is)
      scores.push(candidates?.scores[i] ?? Number.NaN)
    }
  }
  const found = calibrationOf('at the end', scores, right)
  return found.bins.length === 0 ? [] : [found]
}
