import { z } from 'zod'
import type { BranchStatus, Score } from './branch.js'
import { WinnowError } from './errors.js'
import type { FinalChoice, Ranked } from './final-choice.js'
import type { Result, ResultBranch } from './result.js'

/** A score as JSON can say it: infinities are texts. */
type Plain = number | string | null

interface BranchRecord {
  readonly id: number
  readonly status: BranchStatus
  readonly text: string
  readonly score: Plain
  readonly tokens: readonly number[]
  readonly logprobs: readonly number[]
  readonly scores: readonly { readonly tokens: number; readonly score: Plain }[]
}

interface ChoiceRecord extends Omit<FinalChoice, 'contenders' | 'failure'> {
  readonly contenders: readonly (Omit<Ranked, 'raw' | 'shaped' | 'rewards'> & {
    readonly raw: Plain
    readonly shaped: Plain
    readonly rewards: readonly Plain[]
  })[]
  readonly failure: FailureRecord | null
}

interface FailureRecord {
  readonly code: string
  readonly message: string
}

/** A result as JSON, out of which it can be made again. */
export interface ResultRecord
  extends Pick<
    Result,
    'text' | 'reason' | 'scorer' | 'policy' | 'checkpoints' | 'compute' | 'lora' | 'rungs' | 'waves'
  > {
  readonly score: Plain
  /** Text and score are those of the record. */
  readonly winner: Omit<BranchRecord, 'text' | 'score'> | null
  /** The other branches, in the order of their ids. */
  readonly others: readonly BranchRecord[]
  readonly usage: Result['usage']
  readonly expected: Result['expected']
  readonly choice: ChoiceRecord | null
  readonly failure: FailureRecord | null
  readonly seed: string
}

export function recordOf({
  text,
  score,
  reason,
  winner,
  branches,
  seed,
  choice,
  failure,
  ...rest
}: Result): ResultRecord {
  return {
    text,
    score: plain(score),
    reason,
    winner: winner === null ? null : winnerRecord(winner),
    others: branches.filter(({ id }) => id !== winner?.id).map(branchRecord),
    ...rest,
    choice: choice === null ? null : choiceRecord(choice),
    failure: failureRecord(failure),
    seed: String(seed)
  }
}

const plainSchema = z.union([z.number(), z.enum(['Infinity', '-Infinity', 'NaN']), z.null()])
const failureSchema = z.looseObject({ code: z.string(), message: z.string() }).nullable()
const branchSchema = z.looseObject({
  id: z.number(),
  status: z.discriminatedUnion('state', [
    z.looseObject({ state: z.literal('live') }),
    z.looseObject({ state: z.literal('finished'), reason: z.string() }),
    z.looseObject({ state: z.literal('killed'), at: z.number(), why: z.string() })
  ]),
  tokens: z.array(z.number()),
  // JSON has null for what is no number.
  logprobs: z.array(z.number().nullable()),
  scores: z.array(z.looseObject({ tokens: z.number(), score: plainSchema }))
})
const contenderSchema = z.looseObject({ raw: plainSchema, shaped: plainSchema, rewards: z.array(plainSchema) })
const recordSchema = z.looseObject({
  text: z.string(),
  score: plainSchema,
  reason: z.string(),
  scorer: z.string(),
  policy: z.string(),
  checkpoints: z.string(),
  compute: z.looseObject({}),
  // Records of before there were any have none.
  lora: z.array(z.looseObject({ file: z.string(), sha256: z.string(), scale: z.number() })).optional(),
  rungs: z.array(z.looseObject({ width: z.number(), cells: z.number() })),
  waves: z.number(),
  winner: branchSchema.nullable(),
  others: z.array(branchSchema.extend({ text: z.string(), score: plainSchema })),
  usage: z.looseObject({ generatedTokens: z.number() }),
  expected: z.looseObject({}),
  choice: z.looseObject({ contenders: z.array(contenderSchema), failure: failureSchema }).nullable(),
  failure: failureSchema,
  seed: z.string().regex(/^\d{1,20}$/)
})

/** The first part of what was read that no record has, by its path; null for a record. */
export function wrongIn(value: unknown): string | null {
  return recordSchema.safeParse(value).error?.issues[0]?.path.join('.') ?? null
}

export function resultOf({ winner, others, seed, score, choice, failure, ...record }: ResultRecord): Result {
  const won = winner === null ? null : branchOf({ ...winner, text: record.text, score })
  return {
    ...record,
    lora: record.lora ?? [],
    score: number(score),
    winner: won,
    branches: [...(won === null ? [] : [won]), ...others.map(branchOf)].sort((a, b) => a.id - b.id),
    choice: choice === null ? null : choiceOf(choice),
    failure: failureOf(failure),
    seed: BigInt(seed)
  }
}

function winnerRecord(winner: ResultBranch): ResultRecord['winner'] {
  const { text: _, score: __, ...record } = branchRecord(winner)
  return record
}

function branchRecord({ id, status, text, tokens, logprobs, scores, score }: ResultBranch): BranchRecord {
  return {
    id,
    status,
    text,
    score: plain(score),
    tokens: [...tokens],
    // Nine digits are what it takes to tell one 32-bit float from another.
    logprobs: Array.from(logprobs, (value) => Number(value.toPrecision(9))),
    scores: scores.map(({ tokens, score }) => ({ tokens, score: plain(score) }))
  }
}

function branchOf({ id, status, text, score, tokens, logprobs, scores }: BranchRecord): ResultBranch {
  return {
    id,
    status,
    text,
    tokens: Int32Array.from(tokens),
    logprobs: Float32Array.from(logprobs),
    scores: scores.map(({ tokens, score }): Score => ({ tokens, score: Number(score) })),
    score: number(score),
    killedAt: status.state === 'killed' ? status.at : null
  }
}

function choiceRecord({ contenders, failure, ...choice }: FinalChoice): ChoiceRecord {
  const one = ({ raw, shaped, rewards, ...rest }: Ranked) => {
    return { ...rest, raw: plain(raw), shaped: plain(shaped), rewards: rewards.map(plain) }
  }
  return { ...choice, contenders: contenders.map(one), failure: failureRecord(failure) }
}

function choiceOf({ contenders, failure, ...choice }: ChoiceRecord): FinalChoice {
  const one = ({ raw, shaped, rewards, ...rest }: ChoiceRecord['contenders'][number]): Ranked => {
    return { ...rest, raw: Number(raw), shaped: Number(shaped), rewards: rewards.map(Number) }
  }
  return { ...choice, contenders: contenders.map(one), failure: failureOf(failure) }
}

function failureRecord(failure: WinnowError | null): FailureRecord | null {
  return failure === null ? null : { code: failure.code, message: failure.message }
}

function failureOf(failure: FailureRecord | null): WinnowError | null {
  return failure === null ? null : new WinnowError(failure.code, failure.message)
}

function plain(value: number | null): Plain {
  return value === null || Number.isFinite(value) ? value : String(value)
}

function number(value: Plain): number | null {
  return value === null ? null : Number(value)
}
