// Draws solutions to each problem with Winnow's own engine, as lines {prompt, answer, texts}: what the reward model is trained
// and measured on beside pupils' solutions.
//
//   python tools/problems.py --train 3000 --seed 104 --out tools/build
//   node tools/chains.mjs --problems tools/build/train.jsonl --samples 8 --seed 21 --out tools/build/train-chains.jsonl
import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { bestOfN, embedded, meanLogprob, open } from '../dist/index.js'
import { isRight } from '../dist/verifier.js'

const { values } = parseArgs({
  options: {
    model: { type: 'string', default: embedded.model },
    problems: { type: 'string' },
    limit: { type: 'string', default: '1000000' },
    samples: { type: 'string', default: '8' },
    seed: { type: 'string', default: '21' },
    threads: { type: 'string', default: '1' },
    out: { type: 'string' }
  }
})
const [samples, seed, limit] = [values.samples, values.seed, values.limit].map(Number)
const linesOf = (path) => readFileSync(path, 'utf8').split('\n').filter((line) => line !== '')
const problems = linesOf(values.problems).slice(0, limit)
// A file that is there is gone on with, from the problem after its last line.
const done = existsSync(values.out) ? linesOf(values.out).length : 0

const engine = await open(values.model, { head: null, threads: Number(values.threads) })
const startedAt = performance.now()
let tokens = 0
let right = 0
for (const [index, line] of problems.slice(done).entries()) {
  const { prompt, answer } = JSON.parse(line)
  const options = { scorer: meanLogprob(), policy: bestOfN(), seed, maxTokens: 600 }
  const { branches } = await engine.bestOf(samples, prompt, options)
  const texts = branches.map(({ text }) => text)
  appendFileSync(values.out, `${JSON.stringify({ prompt, answer, texts })}\n`)
  right += texts.filter((text) => isRight(text, answer)).length
  tokens += branches.reduce((sum, branch) => sum + branch.tokens.length, 0)
  if (index % 50 === 49) {
    const seconds = ((performance.now() - startedAt) / 1000).toFixed(0)
    const share = (right / ((index + 1) * samples)).toFixed(3)
    process.stderr.write(`${done + index + 1} problems, ${tokens} tokens in ${seconds} s, share right ${share}\n`)
  }
}
await engine.close()
