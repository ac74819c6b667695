import { headSha256Of } from '../arm.js'
import { every } from '../checkpoint.js'
import type { Engine } from '../engine.js'
import { expected, WinnowError } from '../errors.js'
import { type Conditions, contentKey, Journal } from '../journal.js'
import { engineConditions } from '../map.js'
import {
  type BestOfOptions,
  type ResolvedBestOfOptions,
  resolveBestOf,
  resolveCandidates,
  type SamplingOptions
} from '../options.js'
import { defaultScorer } from '../planning.js'
import type { Policy } from '../policy.js'
import type { Problem } from '../problems.js'
import type { ResultBranch } from '../result.js'
import type { Scorer } from '../scorer.js'
import { isRight } from '../verifier.js'
import { checkRecordable, Recorder } from './recorder.js'
import type { TraceHeader } from './trace.js'
import { conditionsOf } from './trace-file.js'
import { lineOf, type Recorded } from './trace-line.js'

/** A problem as a recording takes it. */
export interface RecordedProblem extends Problem {
  readonly id?: string | undefined
  /** Its place among all problems, where these are a part of them. Default: counted from 0. */
  readonly place?: number | undefined
}

export interface RecordOptions {
  /** The file that is written; what it has already is not written again. */
  readonly out: string
  /** Candidates a prompt, 1..4096. Default 256. */
  readonly n?: number | undefined
  /** Tokens from one look of the scorers to the next: replayed checkpoints lie on its multiples. Default 16. */
  readonly grid?: number | undefined
  /** Default: the engine's reward head; without one, mean log-probability. The first chooses where nobody else does. */
  readonly scorers?: readonly Scorer[] | undefined
  readonly seed?: number | bigint | undefined
  readonly sampling?: SamplingOptions | undefined
  readonly stopTokens?: BestOfOptions['stopTokens']
  /** Default 512. */
  readonly maxTokens?: number | undefined
  readonly raw?: boolean | undefined
  /** Default true: only then is a replay what a race would have done, to the last bit. */
  readonly deterministic?: boolean | undefined
  /** Whether a text is right. Default: `isRight`, and null where there is no answer. */
  readonly verify?: (text: string, problem: Problem) => boolean | null
  /** What else the traces depend on, as JSON: of scorers the file knows names and head files only. */
  readonly identity?: Conditions | undefined
  /** Rejects with its reason; what was recorded stays. */
  readonly signal?: AbortSignal | undefined
  /** A prompt is on the disk, in this call or an earlier one. */
  readonly onPrompt?: ((told: RecordedPrompt) => void) | undefined
}

export interface RecordedPrompt {
  readonly prompt: number
  readonly resumed: boolean
  readonly generatedTokens: number
  /** Why there is no trace of it; null where there is one. */
  readonly failure: WinnowError | null
}

/** The codes that condemn one prompt and not the recording. */
const ofOnePrompt: ReadonlySet<string> = new Set([
  'PROMPT_EMPTY',
  'PROMPT_INVALID',
  'PROMPT_TOO_LONG',
  'CONTEXT_TOO_LONG',
  'TEMPLATE_FAILED',
  'TEMPLATE_MISSING',
  'DECODE_FAILED',
  'LOGITS_INVALID'
])

/**
 * Writes every candidate of every problem to its end, nobody killed, with what each scorer says of it on a grid of token
 * counts, and keeps it all in a file out of which any policy that only kills can be replayed. One race at a time, so that
 * what is measured of it is the race's own. A trace is on the disk before the next prompt begins; a later call of the same
 * conditions goes on, another one is refused.
 *
 * Throws OPTION_INVALID, what `engine.bestOf` and `Journal.open` do, and what a scorer fails with.
 */
export async function record(
  engine: Engine,
  problems: Iterable<RecordedProblem> | AsyncIterable<RecordedProblem>,
  options: RecordOptions
): Promise<void> {
  const { out, n = 256, grid = 16, scorers = [defaultScorer(engine.head !== null)], verify = verdict } = options
  const { deterministic = true, seed, sampling, stopTokens, maxTokens, raw, identity = {}, signal } = options
  resolveCandidates(n)
  every(grid)
  checkRecordable(scorers)
  const race = { seed, sampling, stopTokens, maxTokens, raw, deterministic, signal }
  const resolved = resolveBestOf(race)
  let journal: Journal | null = null
  let count = 0
  try {
    for await (const problem of problems) {
      signal?.throwIfAborted()
      if (journal === null) {
        const header = await headerOf(engine, { n, grid, scorers, identity, resolved })
        journal = await Journal.open(out, conditionsOf(header))
      }
      const { place: prompt = count } = problem
      count++
      const key = contentKey([journal.identity, prompt, problem.id ?? null, problem.prompt, problem.answer])
      if (journal.has(key)) {
        options.onPrompt?.({ prompt, resumed: true, generatedTokens: 0, failure: null })
        continue
      }
      const recorded = await recordOne(engine, problem, prompt, { n, grid, scorers, race, verify })
      const failure = WinnowError.is(recorded) ? recorded : null
      if (!WinnowError.is(recorded)) await journal.append(key, lineOf(recorded))
      const generatedTokens = WinnowError.is(recorded) ? 0 : recorded.lengths.reduce((sum, length) => sum + length, 0)
      options.onPrompt?.({ prompt, resumed: false, generatedTokens, failure })
    }
  } finally {
    await journal?.close()
  }
}

interface Course {
  readonly n: number
  readonly grid: number
  readonly scorers: readonly Scorer[]
}

/** Everything the traces depend on. A short race says what is computed with, and pages the weights in. */
async function headerOf(
  engine: Engine,
  course: Course & { readonly identity: Conditions; readonly resolved: ResolvedBestOfOptions }
): Promise<TraceHeader> {
  const { n, grid, scorers, identity, resolved } = course
  const { maxTokens, deterministic, sampling, stopTokens, raw, signal } = resolved
  const warmUp = await engine.bestOf(1, 'a', { raw: true, maxTokens: 4, deterministic, signal })
  // Which layout a race has depends on how many are in it.
  const { layout: _, ...compute } = warmUp.compute
  return {
    n,
    grid,
    scorers: scorers.map((scorer) => ({ name: scorer.name, sha256: headSha256Of(scorer) })),
    maxTokens,
    deterministic,
    conditions: {
      ...(await engineConditions(engine, compute.kvType)),
      compute,
      seed: String(resolved.seed),
      sampling,
      stopTokens,
      raw,
      identity
    }
  }
}

async function recordOne(
  engine: Engine,
  problem: RecordedProblem,
  prompt: number,
  {
    n,
    grid,
    scorers,
    race,
    verify
  }: Course & Pick<Required<RecordOptions>, 'verify'> & { readonly race: BestOfOptions }
): Promise<Recorded | WinnowError> {
  const recorder = new Recorder(scorers, grid)
  const undecoded: number[] = []
  const entropies: Float32Array[] = []
  let seed = 0
  const policy: Policy = {
    name: 'recording',
    checkpoints: every(grid),
    decide(view) {
      seed = view.seed
      return { kill: [] }
    }
  }
  const onCheckpoint: BestOfOptions['onCheckpoint'] = ({ branches }) => {
    for (const { id, status, cut, entropies: own } of branches) {
      if (status.state !== 'finished' || entropies[id] !== undefined) continue
      entropies[id] = own.slice()
      if (cut > 0) undecoded.push(id)
    }
  }
  const result = await engine
    .bestOf(n, problem.prompt, { ...race, policy, scorer: recorder, onCheckpoint })
    .catch((error: unknown) => {
      if (WinnowError.is(error) && ofOnePrompt.has(error.code)) return error
      throw error
    })
  if (WinnowError.is(result)) return result
  const { branches, usage, failure, reason } = result
  if (failure !== null) throw failure
  if (reason !== 'settled') throw expected('DECODE_FAILED', 'every candidate whole', `prompt ${prompt + 1}`, reason)
  const texts = branches.map(({ text }) => text)
  const first = new Map<string, number>()
  for (const [i, text] of texts.entries()) if (!first.has(text)) first.set(text, i)
  return {
    prompt,
    id: problem.id ?? null,
    input: problem.prompt,
    answer: problem.answer,
    promptTokens: usage.promptTokens,
    seed,
    lengths: Int32Array.from(branches, ({ tokens }) => tokens.length),
    lived: recorder.lived,
    reasons: branches.map(reasonOf),
    undecoded,
    same: Int32Array.from(texts, (text) => first.get(text) as number),
    right: texts.map((text) => verify(text, problem)),
    timing: {
      prefill: usage.seconds.prefill,
      steps: recorder.stepSeconds,
      scores: recorder.scoreSeconds,
      rewardTokens: recorder.rewardTokens,
      wall: usage.wallSeconds
    },
    scores: recorder.scores,
    tokens: branches.map(({ tokens }) => tokens),
    logprobs: branches.map(({ logprobs }) => logprobs),
    entropies,
    texts
  }
}

function verdict(text: string, { answer }: Problem): boolean | null {
  return answer === null ? null : isRight(text, answer)
}

function reasonOf({ status }: ResultBranch) {
  if (status.state === 'finished') return status.reason
  throw new WinnowError('DECODE_FAILED', `Expected a finished candidate but received a ${status.state} one`)
}
