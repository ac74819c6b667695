import { z } from 'zod'
import type { Entry } from '../journal.js'
import { pack, packScores, packText, unpack, unpackText } from './packed.js'
import { startsOf, type Trace, type TracedText, type TraceHeader } from './trace.js'

/** What a recording hands over of one prompt. */
export interface Recorded extends Omit<Trace, 'starts' | 'scores' | 'written'>, TracedText {
  /** By scorer, as `Trace.scores` says. */
  readonly scores: readonly Float64Array[]
}

/** A trace as a line of its file has it. */
export function lineOf(recorded: Recorded): Entry {
  const { lengths, lived, same, scores, tokens, logprobs, entropies, texts, ...rest } = recorded
  return {
    ...rest,
    lengths: [...lengths],
    lived: [...lived],
    same: [...same],
    scores: scores.map(packScores),
    tokens: pack(joined(tokens, Int32Array)),
    logprobs: pack(joined(logprobs, Float32Array)),
    entropies: pack(joined(entropies, Float32Array)),
    texts: packText(JSON.stringify(texts))
  }
}

function joined<T extends Int32Array | Float32Array>(lists: readonly T[], kind: new (length: number) => T): T {
  const all = new kind(lists.reduce((sum, list) => sum + list.length, 0))
  let from = 0
  for (const list of lists) {
    all.set(list, from)
    from += list.length
  }
  return all
}

const count = z.int().min(0)
const counts = z.array(count)
const seconds = z.array(z.number().min(0))
const reasons = ['end', 'stop', 'refused', 'length', 'context'] as const
const lineSchema = z.looseObject({
  prompt: count,
  id: z.string().nullable(),
  input: z.union([z.string(), z.array(z.looseObject({ role: z.string(), content: z.string() }))]),
  answer: z.string().nullable(),
  promptTokens: count,
  seed: count,
  lengths: counts,
  lived: counts,
  reasons: z.array(z.enum(reasons)),
  undecoded: counts,
  same: counts,
  right: z.array(z.boolean().nullable()),
  timing: z.looseObject({
    prefill: z.number(),
    steps: seconds,
    scores: z.array(seconds),
    rewardTokens: z.array(z.array(z.number())),
    wall: z.number()
  }),
  scores: z.array(z.string()),
  tokens: z.string(),
  logprobs: z.string(),
  entropies: z.string(),
  texts: z.string()
})

/**
 * The trace of a line that is whole. `refuse` makes the error of what no trace of this header has, now or when the part
 * that is wrong is read.
 */
export function traceOf(value: unknown, header: TraceHeader, refuse: (what: string) => Error): Trace {
  const parsed = lineSchema.safeParse(value)
  if (!parsed.success) throw refuse(`one that is wrong in ${parsed.error.issues[0]?.path.join('.')}`)
  const line = parsed.data
  const { n, grid, scorers } = header
  const lists = [line.lengths, line.lived, line.reasons, line.same, line.right]
  const wrong = lists.find((list) => list.length !== n)
  if (wrong !== undefined) throw refuse(`one with ${wrong.length} of ${n} candidates`)
  if (line.scores.length !== scorers.length) throw refuse(`one by ${line.scores.length} of ${scorers.length} scorers`)
  const [lengths, lived] = [Int32Array.from(line.lengths), Int32Array.from(line.lived)]
  if (!lived.every((looks, i) => looks * grid <= (lengths[i] as number))) throw refuse('one that is wrong in lived')
  if (![...line.undecoded, ...line.same].every((id) => id < n))
    throw refuse('one that names others than its candidates')
  const starts = startsOf(lived)
  const looks = Math.max(...lived) + 1
  const timed = [line.timing.steps, ...line.timing.scores, ...line.timing.rewardTokens]
  if (!timed.every((list) => list.length === looks) || timed.length !== 1 + 2 * scorers.length) {
    throw refuse('one that is wrong in timing')
  }
  const read: Float64Array[] = []
  const { prompt, id, input, answer, promptTokens, seed, undecoded, right, timing } = line
  return {
    ...{ prompt, id, input: input as Trace['input'], answer, promptTokens, seed, undecoded, right, timing },
    lengths,
    lived,
    reasons: line.reasons,
    same: Int32Array.from(line.same),
    starts,
    scores(scorer) {
      const scores = read[scorer] ?? unpack(line.scores[scorer], starts[n] as number, 'f32', 'f64')
      if (scores === null || scores.some(Number.isNaN)) throw refuse(`one that is wrong in scores.${scorer}`)
      read[scorer] = scores instanceof Float64Array ? scores : Float64Array.from(scores)
      return read[scorer]
    },
    written: () => writtenIn(line, lengths, refuse)
  }
}

function writtenIn(line: z.output<typeof lineSchema>, lengths: Int32Array, refuse: (what: string) => Error) {
  const total = lengths.reduce((sum, length) => sum + length, 0)
  const split = <T extends Int32Array | Float32Array>(all: T | null, name: string): T[] => {
    if (all === null) throw refuse(`one that is wrong in ${name}`)
    let end = 0
    return Array.from(lengths, (length) => {
      end += length
      return all.subarray(end - length, end) as T
    })
  }
  return {
    tokens: split(unpack(line.tokens, total, 'i32'), 'tokens'),
    logprobs: split(unpack(line.logprobs, total, 'f32'), 'logprobs'),
    entropies: split(unpack(line.entropies, total, 'f32'), 'entropies'),
    texts: textsIn(line.texts, lengths.length, refuse)
  }
}

function textsIn(packed: string, n: number, refuse: (what: string) => Error): readonly string[] {
  let texts: unknown
  try {
    texts = JSON.parse(unpackText(packed))
  } catch {
    throw refuse('one that is wrong in texts')
  }
  if (Array.isArray(texts) && texts.length === n && texts.every((text) => typeof text === 'string')) return texts
  throw refuse('one that is wrong in texts')
}
