// One race through Node: the package as its users call it. Prints a row as the C++ programs do.
//   --model FILE|embedded --n 256 --length 256 --gpu cuda --policy spec-reject|best-of-n [--threads 0]
// Random weights say nothing of quality: this is the cost of TypeScript and the addon on top of the pool, whose own rate
// is in the throughput rows. spec-reject halves at each doubling of 32 tokens; it ranks by mean log-probability, and by
// its head where the model is the one in the package. That one writes an answer, which is `right` or not.
import { parseArgs } from 'node:util'
import { embedded, example } from '../../dist/embedded.js'
import { open } from '../../dist/engine.js'
import { bestOfN } from '../../dist/policies/best-of-n.js'
import { specReject } from '../../dist/policies/spec-reject.js'

const { values } = parseArgs({
  options: {
    model: { type: 'string' },
    n: { type: 'string', default: '256' },
    length: { type: 'string', default: '256' },
    gpu: { type: 'string', default: 'cuda' },
    policy: { type: 'string', default: 'spec-reject' },
    threads: { type: 'string', default: '0' }
  }
})
const policies = { 'best-of-n': bestOfN, 'spec-reject': specReject }
const policy = policies[values.policy]
if (policy === undefined) {
  process.stderr.write(`Expected ${Object.keys(policies).join(' or ')} for --policy but received ${values.policy}\n`)
  process.exit(2)
}
const threads = values.threads === '0' ? {} : { threads: Number(values.threads) }
const trained = values.model === 'embedded'
const engine = await open(trained ? embedded.model : values.model, {
  gpu: values.gpu,
  head: trained ? embedded.head : null,
  ...threads
})
const options = { policy: policy(), maxTokens: Number(values.length), raw: !trained, seed: 1n }
const prompt = trained ? example.prompt : 'a b c d e f g h i j k l m n o p q r s t u v w x y z '.repeat(2)
// The first race makes the pool and its buffers.
await engine.bestOf(Number(values.n), prompt, { ...options, maxTokens: 2 })
const { usage, reason, text } = await engine.bestOf(Number(values.n), prompt, options)
const row = {
  through: 'node',
  model: values.model.split('/').at(-1),
  policy: values.policy,
  n: Number(values.n),
  prompt: usage.promptTokens,
  length: Number(values.length),
  reason,
  right: trained ? text.includes(`The answer is ${example.answer}.`) : null,
  tokens: usage.generatedTokens,
  seconds: usage.wallSeconds,
  tokens_per_second: usage.generatedTokens / usage.wallSeconds,
  decode_seconds: usage.seconds.decode,
  sample_seconds: usage.seconds.sample,
  other_seconds: usage.seconds.other,
  device: engine.runtime.devices.map((device) => device.name).join(' '),
  llama: engine.runtime.llama,
  node: process.version
}
process.stdout.write(`${JSON.stringify(row)}\n`)
await engine.close()
