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

/** The numbers that every driver takes on its command line. */
export const workloadOptions = Object.fromEntries(
  ['model', 'n', 'prompts', 'streams', 'cells', 'threads'].map((name) => [name, { type: 'string' }])
)
