// Winnow on the same work, through the addon: prompt decoded once, forked, advanced in checkpoints with sampling
// at temperature 1, hidden states kept, prefill inside the clock.
import { parseArgs } from 'node:util'
import { loadBinding } from '../../dist/binding.js'
import { promptTokens } from './prompt-tokens.mjs'

const { values } = parseArgs({
  options: {
    model: { type: 'string' },
    n: { type: 'string' },
    prompt: { type: 'string' },
    'prompt-tokens': { type: 'string' },
    steps: { type: 'string' },
    threads: { type: 'string' },
    checkpoint: { type: 'string', default: '32' }
  }
})
const n = Number(values.n)
const steps = Number(values.steps)

const { binding } = loadBinding({ gpu: 'cpu' })
const model = await binding.loadModel({
  path: values.model,
  gpuLayers: 0,
  devices: [],
  split: 'layer',
  mainGpu: 0,
  tensorSplit: [],
  mmap: true,
  mlock: false,
  checkTensors: false
})
// The prompt is a text, or as many made-up ids.
const prompt = values.prompt
  ? await model.tokenize(values.prompt, true, true)
  : Int32Array.from(promptTokens(Number(values['prompt-tokens']), model.facts.vocabulary))
const pool = await binding.createPool(model, {
  streams: n,
  cellsPerStream: prompt.length + steps + 1,
  threads: Number(values.threads),
  batch: 512,
  kvType: 'f16',
  flashAttention: 'auto',
  states: true,
  deterministic: false
})

async function generate(count, seed) {
  const { race } = await pool.prefill(prompt, 0)
  await pool.fork(race, {
    count: n,
    seed,
    firstCandidate: 0,
    maxTokens: count,
    temperature: 1,
    topK: 0,
    topP: 1,
    minP: 0,
    stopTokens: new Int32Array(0)
  })
  let taken = 0
  for (let until = 0; ; ) {
    until += Math.min(Number(values.checkpoint), count)
    const [advance] = await pool.advance(Int32Array.of(race, until), 0)
    taken += advance.tokens.length
    if (advance.reason !== 'settled') continue
    await pool.end(race)
    return taken
  }
}

await generate(2, 1n)
const started = process.hrtime.bigint()
const tokens = await generate(steps, 2n)
const seconds = Number(process.hrtime.bigint() - started) / 1e9
process.stdout.write(
  `${JSON.stringify({ driver: 'winnow', n, promptTokens: prompt.length, steps, tokens, seconds, tokensPerSecond: tokens / seconds })}\n`
)
await pool.close()
model.close()
