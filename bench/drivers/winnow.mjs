// Winnow as its users call it: one prompt by `engine.bestOf`, several by `engine.map`. Nobody is killed.
import { parseArgs } from 'node:util'
import { bestOfN, open } from '../../dist/index.js'
import { answerRounds, endOf, workloadOptions } from './rounds.mjs'

const { values } = parseArgs({
  options: {
    ...workloadOptions,
    'prompt-tokens': { type: 'string' },
    length: { type: 'string' },
    layout: { type: 'string' }
  }
})
const n = Number(values.n)
const layout = values.layout === undefined ? {} : { layout: values.layout }
const engine = await open(values.model, { head: null, gpu: 'cpu', threads: Number(values.threads), ...layout })
const end = endOf(values)
const { eos, eot } = engine.model
const logitBias =
  end === null
    ? Object.fromEntries([eos, eot].filter((token) => token >= 0).map((token) => [token, false]))
    : end.bias === 0
      ? {}
      : { [end.token]: end.bias }
const shared = { policy: bestOfN(), raw: true, sampling: { logitBias } }

/** The usage of every race. */
async function race(prompts, options) {
  if (prompts.length === 1) return [(await engine.bestOf(n, prompts[0], options)).usage]
  const usages = []
  for await (const item of engine.map(prompts, { ...options, n })) {
    if (item.result === null) throw item.error
    usages.push(item.result.usage)
  }
  return usages
}

// The first race makes the pool, of the shape it needs, as the other drivers make their contexts when they start.
const like = '1 '.repeat(Number(values['prompt-tokens']) / 2)
const blank = Array.from({ length: Number(values.prompts) }, () => like)
await race(blank, { ...shared, maxTokens: Number(values.length), deadlineMs: 1, deadlineFrom: 'start' })

await answerRounds(async ({ length, prompts, seed }) => {
  const usages = await race(prompts, { ...shared, maxTokens: length, seed })
  return {
    tokens: usages.reduce((sum, { generatedTokens }) => sum + generatedTokens, 0),
    promptTokens: usages.reduce((sum, { promptTokens }) => sum + promptTokens, 0)
  }
})
await engine.close()
