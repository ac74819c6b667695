import { headSha256Of } from '../arm.js'
import { bytesText } from '../bytes.js'
import type { Engine } from '../engine.js'
import type { BestOfOptions } from '../options.js'
import type { Result, ResultBranch } from '../result.js'
import { isRight } from '../verifier.js'
import { provenanceOf } from './provenance.js'
import type { RewardProvenance } from './reward.js'
import type { computeOf } from './settings.js'
import { drawTable } from './table.js'

/** What a run was asked for, threads as many as compute. */
export type RunOptions = BestOfOptions &
  ReturnType<typeof computeOf> & {
    readonly alpha: number
    /** Null for a policy that knows none. */
    readonly margin: number | null
    readonly right: number | null
    readonly hopeless: number | null
  }

/** What `winnow run` has to tell when the race is over. */
export interface RunOutcome {
  readonly prompt: string
  /** The right answer, where it is known. */
  readonly answer: string | null
  readonly result: Result
  /** Best-of-N on the same candidates, if it was asked for. */
  readonly full: Result | null
}

/** For people: the winner's text, then the cost. `chosen` is whether the scorer was asked for. */
export function textOf({ result, full, answer }: RunOutcome, chosen: boolean): string {
  const { usage, winner, reason } = result
  const parts = [result.text === '' ? '(nothing was written)' : result.text.trim(), '']
  if (reason !== 'settled') parts.push(`Ended early: ${reason}. This is the best so far.`)
  if (winner !== null) {
    const end = winner.status.state === 'finished' ? winner.status.reason : 'killed'
    parts.push(
      `#${winner.id} of ${result.branches.length} wins with ${decimals(result.score)} (${result.scorer}), ended by ${end}` +
        (answer === null ? '' : `; the answer ${answer} is ${isRight(result.text, answer) ? 'right' : 'missed'}`)
    )
  }
  if (!chosen && result.scorer === 'mean-logprob') {
    parts.push('Ranked by mean log-probability, for want of a reward head.')
  }
  const saved =
    usage.savedTokens === null || full !== null
      ? ''
      : `, about ${count(usage.savedTokens)} not (${percent(usage.savedShare ?? 0)}, estimated)`
  const read = usage.rewardTokens === 0 ? '' : `, ${count(usage.rewardTokens)} read by the reward model`
  parts.push(`${count(usage.generatedTokens)} tokens written${saved}${read}; ${phases(usage)}`)
  if (result.waves > 1) {
    const copies = usage.parkedBytes === 0 ? '' : `, ${bytesText(usage.parkedBytes)} of copies at the most`
    parts.push(`Written in ${result.waves} waves: ${count(usage.parkings)} times a candidate made room${copies}.`)
  }
  if (full !== null) parts.push('', costTable(result, full, answer))
  return parts.join('\n')
}

function costTable(result: Result, full: Result, answer: string | null): string {
  const share = (part: number, whole: number) => (whole === 0 ? '-' : percent(part / whole))
  const row = (name: string, { usage, score, text }: Result) => [
    name,
    count(usage.generatedTokens),
    usage.wallSeconds.toFixed(2),
    count(usage.peakCells),
    decimals(score),
    answer === null ? '-' : isRight(text, answer) ? 'right' : 'wrong'
  ]
  const table = drawTable(
    ['', 'tokens', 'seconds', 'peak cells', 'score', 'answer'],
    [
      row('best-of-n', full),
      row(result.policy, result),
      [
        'of best-of-n',
        share(result.usage.generatedTokens, full.usage.generatedTokens),
        share(result.usage.wallSeconds, full.usage.wallSeconds),
        share(result.usage.peakCells, full.usage.peakCells),
        sameCandidate(result.winner, full.winner),
        ''
      ]
    ],
    'text'
  )
  return `${table}\nOne prompt, one run: \`winnow bench\` measures over many.`
}

function sameCandidate(winner: ResultBranch | null, pick: ResultBranch | null): string {
  if (winner?.text === pick?.text) return 'same pick'
  return 'other pick'
}

/** For programs: the same, with what it takes to make it again. */
export async function jsonOf(
  engine: Engine,
  { prompt, answer, result, full }: RunOutcome,
  options: RunOptions,
  rewardModel: RewardProvenance
): Promise<string> {
  const { alpha, margin, right, hopeless, sampling, maxTokens, raw, deterministic, deadlineMs } = options
  const { gpu, gpuLayers, threads, kvType, batch, flashAttention, drawing } = options
  const resolved = {
    candidates: result.branches.length,
    policy: result.policy,
    alpha,
    margin,
    right,
    hopeless,
    checkpoints: result.checkpoints,
    scorer: result.scorer,
    sampling,
    maxTokens,
    raw,
    deterministic,
    deadlineMs: deadlineMs ?? null,
    gpu,
    gpuLayers,
    threads,
    kvType,
    batch,
    flashAttention,
    drawing,
    layout: result.compute.layout
  }
  const sha256 = headSha256Of(options.scorer ?? null)
  const verified = answer === null ? null : { answer, right: isRight(result.text, answer) }
  return JSON.stringify({
    ...(await provenanceOf(engine)),
    rewardModel,
    // Of a head file that the scorer has named, by scorer.
    heads: sha256 === null ? {} : { [result.scorer]: sha256 },
    seed: String(result.seed),
    options: resolved,
    prompt,
    ...plain(result),
    verified,
    bestOfN: full === null ? null : plain(full)
  })
}

/** A result as JSON can carry it: typed arrays as counts, since the text says what the tokens were. */
function plain({ seed: _, winner, branches, failure, ...result }: Result) {
  const branch = ({ tokens, logprobs: _, ...rest }: ResultBranch) => ({ ...rest, tokens: tokens.length })
  return {
    ...result,
    failure: failure === null ? null : { code: failure.code, message: failure.message },
    winner: winner === null ? null : branch(winner),
    branches: branches.map(branch)
  }
}

function phases({ wallSeconds, seconds }: Result['usage']): string {
  const parts = Object.entries(seconds).map(
    ([phase, spent]) => `${phase} ${percent(spent / Math.max(1e-9, wallSeconds))}`
  )
  return `${wallSeconds.toFixed(2)} s (${parts.join(', ')})`
}

function decimals(score: number | null): string {
  return score === null ? 'no score' : score.toFixed(2)
}

function percent(share: number): string {
  return share > 0 && share < 0.01 ? `${(100 * share).toFixed(1)}%` : `${(100 * share).toFixed(0)}%`
}

function count(value: number): string {
  return value.toLocaleString('en')
}
