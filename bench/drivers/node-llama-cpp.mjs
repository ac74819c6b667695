// node-llama-cpp's own API on the same work: sequences of one context, evaluated in parallel; its batching joins them into
// one llama_decode a step. It samples at temperature 1 in its addon and enters JavaScript for each token.
//
// It has no call that forks a prefix. With several prompts a sequence writes all candidates of its prompt, one after another, and
// keeps the prompt's cells. With one prompt --share says how the sequences come by it: `evaluate` decodes it in each of
// them; `states` decodes it once and hands it on through a file (saveStateToFile, loadStateFromFile).
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { getLlama, LlamaLogLevel, TokenBias } from 'node-llama-cpp'
import { answerRounds, endOf, workloadOptions } from './rounds.mjs'

const { values } = parseArgs({ options: { ...workloadOptions, share: { type: 'string', default: 'evaluate' } } })
const n = Number(values.n)
const end = endOf(values)
const streams = Number(values.streams)
const llama = await getLlama({ gpu: false, build: 'never', logLevel: LlamaLogLevel.error })
const model = await llama.loadModel({ modelPath: values.model, gpuLayers: 0 })
const context = await model.createContext({
  sequences: streams,
  contextSize: Number(values.cells),
  batchSize: 512,
  threads: Number(values.threads),
  ignoreMemorySafetyChecks: true
})
const sequences = Array.from({ length: streams }, () => context.getSequence())
const tokenBias = end === null || end.bias === 0 ? undefined : TokenBias.for(model).set(end.token, { logit: end.bias })
const folder = mkdtempSync(join(tmpdir(), 'winnow-states-'))

/** `count` candidates of a prompt, one after another in one sequence. */
async function write(sequence, { prompt, count, length, seed }) {
  let tokens = 0
  for (let candidate = 0; candidate < count; candidate += 1) {
    // What is left of the candidate before goes, the prompt's cells stay; its last token is decoded again for its logits.
    await sequence.adaptStateToTokens(prompt.slice(0, -1), false)
    const rest = prompt.slice(sequence.nextTokenIndex)
    const sampling = { temperature: 1, topK: 0, topP: 1, minP: 0, seed: seed + candidate }
    let taken = 0
    // An end token stops the generator; with yieldEogToken it yields it and goes on.
    for await (const _token of sequence.evaluate(rest, { ...sampling, tokenBias, yieldEogToken: end === null })) {
      taken += 1
      if (taken === length) break
    }
    tokens += taken
  }
  return tokens
}

/** The prompt's cells into every sequence, decoded in the first one alone. */
async function share(prompt, sharing) {
  const path = join(folder, 'prompt.state')
  const [first, ...others] = sharing
  const head = prompt.slice(0, -1)
  await first.clearHistory()
  await first.evaluateWithoutGeneratingNewTokens(head)
  await first.saveStateToFile(path)
  for (const sequence of others) await sequence.loadStateFromFile(path, { acceptRisk: true })
}

await answerRounds(async ({ length, prompts, seed }) => {
  const lists = prompts.map((prompt) => {
    const tokens = model.tokenize(prompt, true)
    return model.tokens.shouldPrependBosToken && model.tokens.bos !== null ? [model.tokens.bos, ...tokens] : tokens
  })
  // As many sequences a prompt as there are, at most one for each candidate.
  const each = Math.max(1, Math.min(n, Math.floor(streams / prompts.length)))
  const waiting = lists.flatMap((prompt, race) =>
    Array.from({ length: each }, (_, part) => ({
      prompt,
      length,
      count: Math.floor(n / each) + (part < n % each ? 1 : 0),
      seed: ((seed * prompts.length + race) * n + part * Math.ceil(n / each)) % 2 ** 32
    }))
  )
  if (values.share === 'states') await share(lists[0], sequences.slice(0, each))
  const written = await Promise.all(
    sequences.map(async (sequence) => {
      let tokens = 0
      for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) tokens += await write(sequence, next)
      return tokens
    })
  )
  return {
    tokens: written.reduce((sum, tokens) => sum + tokens, 0),
    promptTokens: lists.reduce((sum, tokens) => sum + tokens.length, 0)
  }
})
rmSync(folder, { recursive: true, force: true })
await context.dispose()
await model.dispose()
await llama.dispose()
