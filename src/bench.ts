import { type Arm, isReference, sourceOf } from './arm.js'
import type { Engine } from './engine.js'
import { ofOnePrompt, WinnowError } from './errors.js'
import { randomKill } from './policies/random-kill.js'
import type { Policy } from './policy.js'
import type { Problem } from './problems.js'
import type { Result } from './result.js'
import { type Conditions, candidatesFor, type Reference, type Row, rowOf, runArm } from './trial.js'

/** A prompt that could not be measured under an arm; the bench goes on without it. */
export interface Failure {
  readonly prompt: number
  readonly arm: string
  readonly code: string
  readonly message: string
}

export interface BenchSetup {
  readonly engine: Engine
  readonly problems: readonly Problem[]
  readonly arms: readonly Arm[]
  readonly conditions: Conditions
  /** Rows of an earlier, interrupted run: what those of the same setting measured is not measured again. */
  readonly done: readonly Row[]
  readonly signal?: AbortSignal | undefined
  /** Called as soon as a row is known, and awaited: what it writes survives an interruption. */
  readonly onRow: (row: Row) => Promise<void> | void
  readonly onFailure: (failure: Failure) => Promise<void> | void
}

/** The codes that condemn one prompt and not the bench, which a scorer that fails ends. */
const condemning: ReadonlySet<string> = new Set([...ofOnePrompt, 'TOKEN_INVALID'])

/** The arm that all others are compared with: best-of-N on all candidates by the scorer of arms that set none. */
export function referenceOf(arms: readonly Arm[]): Arm | null {
  return arms.find((arm) => isReference(arm) && arm.usual) ?? null
}

/** The arm that this one is measured against; null without one. */
export function measureOf(arm: Arm, arms: readonly Arm[]): Arm | null {
  return arms.find(({ name }) => name === arm.against) ?? referenceOf(arms)
}

/**
 * Everything an arm's rows depend on besides the conditions all arms share: what is set for the arm, for the arm whose
 * tokens or kills it equals, and what it is measured against, if anything.
 */
export function settingOf(arm: Arm, arms: readonly Arm[]): string {
  const source = arms.find((other) => other.name === sourceOf(arm))
  const measure = measureOf(arm, arms)
  const against = measure === null ? 'no reference' : 'against best-of-n'
  const named = measure === null || arm.against === null ? '' : ` ${spelled(measure)}`
  return [spelled(arm), ...(source === undefined ? [] : [spelled(source)]), `${against}${named}`].join('; ')
}

/** A file can be replaced by another of the same name. */
function spelled({ definition, headSha256 }: Arm): string {
  return headSha256 === null ? definition : `${definition} (sha256 ${headSha256})`
}

/** Of rows measured earlier those that mean the same under these arms. */
export function rowsOf(rows: readonly Row[], arms: readonly Arm[]): Row[] {
  const settings = new Map(arms.map((arm) => [arm.name, settingOf(arm, arms)]))
  const sources = new Set(arms.map(({ like }) => like))
  // Rows of before kills were kept cannot say how many another arm is to kill.
  const enough = (row: Row) => row.kills !== undefined || !sources.has(row.arm)
  return rows.filter((row) => settings.get(row.arm) === row.setting && enough(row))
}

/**
 * Every arm on every prompt, prompt by prompt, so that the machine's moods meet all arms alike. On each prompt the
 * reference comes first, since the others are measured against its candidates, then other arms that are measured against,
 * then the rest, taking turns at who begins, then those that need another's token count or kills. One race before the first warms the engine up.
 */
export async function runBench(setup: BenchSetup): Promise<void> {
  const { engine, problems, arms, conditions, signal } = setup
  const reference = referenceOf(arms)
  if (reference === null && arms.some((arm) => arm.equalTokens !== null)) {
    throw new WinnowError('OPTION_INVALID', 'Expected best-of-n among the policies for equal-tokens but received none')
  }
  const rows = new Map(rowsOf(setup.done, arms).map((row) => [key(row.prompt, row.arm), row]))
  let warm = false
  for (const [prompt, problem] of problems.entries()) {
    const missing = inOrder(arms, reference, prompt).filter((arm) => !rows.has(key(prompt, arm.name)))
    if (missing.length === 0) continue
    if (!warm) await warmUp(engine, problem, conditions, signal)
    warm = true
    await runPrompt(setup, prompt, problem, missing, reference, rows)
  }
}

async function runPrompt(
  setup: BenchSetup,
  prompt: number,
  problem: Problem,
  missing: readonly Arm[],
  referenceArm: Arm | null,
  rows: Map<string, Row>
): Promise<void> {
  const { engine, arms, conditions, signal } = setup
  const references = new Map<Arm, Reference>()
  const run = async (arm: Arm, n: number, policy: Policy = arm.policy): Promise<Result | null> => {
    try {
      return await runArm(engine, problem, { ...arm, policy }, n, conditions, signal)
    } catch (error) {
      if (!WinnowError.is(error) || !condemning.has(error.code)) throw error
      await setup.onFailure({ prompt, arm: arm.name, code: error.code, message: error.message })
      return null
    }
  }
  const needed = arms.filter((arm) => arm === referenceArm || missing.some((other) => measureOf(other, arms) === arm))
  for (const arm of needed.filter((one) => !missing.includes(one))) {
    // Measured in an earlier run, but its tokens are needed again.
    const again = await run(arm, conditions.n)
    if (again !== null) references.set(arm, again)
  }
  for (const arm of missing) {
    const reference = referenceArm === null ? null : (references.get(referenceArm) ?? null)
    // Without it nothing more of this prompt can be measured; a later run may still.
    if (referenceArm !== null && arm !== referenceArm && reference === null) return
    const measure = measureOf(arm, arms)
    if (measure !== null && measure !== arm && !references.has(measure)) continue
    const n = candidatesOf(arm, conditions.n, reference, rows, prompt)
    const policy = policyOf(arm, rows, prompt)
    const result = n === null || policy === null ? null : await run(arm, n, policy)
    if (result === null) continue
    if (needed.includes(arm)) references.set(arm, result)
    const against = measure === null ? null : (references.get(measure) ?? null)
    const row = rowOf(prompt, problem, arm, settingOf(arm, arms), result, against, arm === referenceArm)
    rows.set(key(prompt, arm.name), row)
    await setup.onRow(row)
  }
}

/** Null when what it depends on could not be measured. */
function candidatesOf(
  arm: Arm,
  n: number,
  reference: Reference | null,
  rows: ReadonlyMap<string, Row>,
  prompt: number
): number | null {
  if (arm.equalTokens === null) return arm.n ?? n
  const source = rows.get(key(prompt, arm.equalTokens))
  if (source === undefined || reference === null) return null
  return candidatesFor(
    source.generatedTokens,
    reference.branches.map((branch) => branch.tokens.length)
  )
}

/** Null when what it depends on could not be measured. */
function policyOf(arm: Arm, rows: ReadonlyMap<string, Row>, prompt: number): Policy | null {
  if (arm.like === null) return arm.policy
  const kills = rows.get(key(prompt, arm.like))?.kills
  return kills === undefined ? null : randomKill({ like: kills })
}

function inOrder(arms: readonly Arm[], reference: Arm | null, prompt: number): Arm[] {
  const measures = arms.filter((arm) => arm !== reference && arms.some(({ against }) => against === arm.name))
  const first = [...(reference === null ? [] : [reference]), ...measures]
  const others = arms.filter((arm) => !first.includes(arm) && sourceOf(arm) === null)
  const turn = others.length === 0 ? 0 : prompt % others.length
  const dependent = arms.filter((arm) => sourceOf(arm) !== null)
  return [...first, ...others.slice(turn), ...others.slice(0, turn), ...dependent]
}

/** Pages the weights in and sizes the pool. A prompt that cannot be run is reported when its turn comes. */
async function warmUp(engine: Engine, problem: Problem, conditions: Conditions, signal: AbortSignal | undefined) {
  const { n, maxTokens, deterministic, raw, lora } = conditions
  const options = { maxTokens, deterministic, raw, lora, signal, deadlineMs: 1000 }
  await engine.bestOf(n, problem.prompt, options).catch((error: unknown) => {
    if (!WinnowError.is(error) || !condemning.has(error.code)) throw error
  })
}

function key(prompt: number, arm: string): string {
  return `${prompt} ${arm}`
}
