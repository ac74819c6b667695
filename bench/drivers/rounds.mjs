// Rounds as bench/baselines/workload.h has them: a line with the length, a line for each prompt and an empty line ask for
// one; a line of JSON answers. So whoever measures can let several programs take turns.
import { createInterface } from 'node:readline'

/** Answers rounds until standard input ends. `run({ length, prompts, seed })` -> { tokens, promptTokens }; its wall time is taken. */
export async function answerRounds(run) {
  print({ ready: true })
  let asked = []
  let seed = 0
  for await (const line of createInterface({ input: process.stdin })) {
    if (line !== '') {
      asked.push(line)
      continue
    }
    const [length, ...prompts] = asked
    asked = []
    seed += 1
    const started = process.hrtime.bigint()
    const taken = await run({ length: Number(length), prompts, seed })
    const seconds = Number(process.hrtime.bigint() - started) / 1e9
    print({ ...taken, seconds })
  }
}

function print(value) {
  process.stdout.write(`${JSON.stringify(value)}\n`)
}

/**
 * What every driver takes on its command line. `--end-bias`: the model's end token ends a candidate, with so much added to its
 * logit; without it none is sampled, and all candidates are as long as they are asked for.
 */
export const workloadOptions = Object.fromEntries(
  ['model', 'n', 'prompts', 'streams', 'cells', 'threads', 'end-token', 'end-bias'].map((name) => [
    name,
    { type: 'string' }
  ])
)

/** Of `workloadOptions` as they were parsed -> { token, bias }; null where candidates do not end by themselves. */
export function endOf(values) {
  if (values['end-bias'] === undefined) return null
  return { token: Number(values['end-token']), bias: Number(values['end-bias']) }
}
