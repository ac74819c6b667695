// node-llama-cpp's own API on the same work: N sequences of one context, each evaluating the same prompt and
// then sampling `steps` tokens at temperature 1. Its batching joins the sequences into one llama_decode a step.
// It has no way to fork a prefix, so every sequence evaluates the prompt: that is part of what is compared.
import { parseArgs } from 'node:util'
import { getLlama, LlamaLogLevel } from 'node-llama-cpp'
import { promptTokens } from './prompt-tokens.mjs'

const { values } = parseArgs({
  options: {
    model: { type: 'string' },
    n: { type: 'string' },
    prompt: { type: 'string' },
    'prompt-tokens': { type: 'string' },
    steps: { type: 'string' },
    threads: { type: 'string' }
  }
})
const n = Number(values.n)
const steps = Number(values.steps)

const llama = await getLlama({ gpu: false, build: 'never', logLevel: LlamaLogLevel.error })
const model = await llama.loadModel({ modelPath: values.model, gpuLayers: 0 })
// The prompt is a text, or as many made-up ids.
const prompt = values.prompt
  ? [model.tokens.bos, ...model.tokenize(values.prompt, true)].filter((token) => token != null)
  : promptTokens(Number(values['prompt-tokens']), model.fileInfo.metadata.tokenizer.ggml.tokens.length)
const context = await model.createContext({
  sequences: n,
  contextSize: Math.ceil((prompt.length + steps + 1) / 256) * 256,
  batchSize: Math.max(512, n),
  threads: Number(values.threads),
  ignoreMemorySafetyChecks: true
})
const sequences = Array.from({ length: n }, () => context.getSequence())

async function generate(sequence, count, seed) {
  let taken = 0
  // An end token would stop the generator: `evaluate` yields it and goes on, so every sequence takes `count`.
  for await (const _token of sequence.evaluate(prompt, {
    temperature: 1,
    topK: 0,
    topP: 1,
    minP: 0,
    seed,
    yieldEogToken: true
  })) {
    taken += 1
    if (taken === count) break
  }
  return taken
}

// A first short round makes the buffers and warms the caches, as the other drivers do.
await Promise.all(sequences.map((sequence, index) => generate(sequence, 2, index)))
await Promise.all(sequences.map((sequence) => sequence.clearHistory()))

const started = process.hrtime.bigint()
const taken = await Promise.all(sequences.map((sequence, index) => generate(sequence, steps, index)))
const seconds = Number(process.hrtime.bigint() - started) / 1e9
const tokens = taken.reduce((sum, count) => sum + count, 0)
process.stdout.write(
  `${JSON.stringify({ driver: 'node-llama-cpp', n, promptTokens: prompt.length, steps, tokens, seconds, tokensPerSecond: tokens / seconds })}\n`
)
await context.dispose()
await model.dispose()
await llama.dispose()
