// Winnow as its users call it: one prompt by `engine.bestOf`, several by `engine.map`. Nobody is killed, and end tokens are
// forbidden, so that every candidate is as long as it was asked for.
import { parseArgs } from 'node:util'
import { bestOfN, open } from '../../dist/index.js'
import { answerRounds, workloadOptions } from './rounds.mjs'

const { values } = parseArgs({ options: workloadOptions })
const n = Number(values.n)
const engine = await open(values.model, { head: null, gpu: 'cpu', threads: Number(values.threads) })
const { eos, eot } = engine.model
const logitBias = Object.fromEntries([eos, eot].filter((token) => token >= 0).map((token) => [token, false]))

await answerRounds(async ({ length, prompts, seed }) => {
  const options = { policy: bestOfN(), raw: true, maxTokens: length, seed, sampling: { logitBias } }
  const usages = []
  if (prompts.length === 1) {
    usages.push((await engine.bestOf(n, prompts[0], options)).usage)
  } else {
    for await (const item of engine.map(prompts, { ...options, n })) {
      if (item.state === 'failed') throw item.error
      usages.push(item.result.usage)
    }
  }
  return {
    tokens: usages.reduce((sum, { generatedTokens }) => sum + generatedTokens, 0),
    promptTokens: usages.reduce((sum, { promptTokens }) => sum + promptTokens, 0)
  }
})
await engine.close()
