// llama.cpp's own server on the same work: one request to /completion a prompt, with `n`; several prompts are requests at
// the same time. The server decodes a prompt once and copies it to its other slots.
import { spawn } from 'node:child_process'
import { createServer } from 'node:net'
import { parseArgs } from 'node:util'
import { answerRounds, endOf, workloadOptions } from './rounds.mjs'

const { values } = parseArgs({ options: { ...workloadOptions, server: { type: 'string' }, flags: { type: 'string' } } })
const n = Number(values.n)
const end = endOf(values)
const port = await freePort()
const address = `http://127.0.0.1:${port}`
const cells = Number(values.streams) * Number(values.cells)
const server = spawn(
  values.server,
  [
    ...['--model', values.model, '--host', '127.0.0.1', '--port', String(port), '--log-disable', '--offline'],
    ...['--parallel', values.streams, '--ctx-size', String(cells), '--threads', values.threads],
    ...['--threads-batch', values.threads, '--threads-http', String(Number(values.prompts) + 2)],
    // Slots are given whole prompts that nobody has seen; copies of idle ones in the host's memory would only cost.
    ...['--cache-ram', '0', '--ctx-checkpoints', '0', '--no-slots', '--no-webui', '--no-warmup'],
    ...(values.flags ? values.flags.split(' ') : [])
  ],
  { stdio: ['ignore', 'ignore', 'pipe'] }
)
let complaint = ''
server.stderr.on('data', (text) => {
  complaint = `${complaint}${text}`.slice(-2000)
})
const ended = new Promise((resolve) => server.once('close', resolve))
process.once('exit', () => server.kill('SIGKILL'))

await healthy()
await answerRounds(async ({ length, prompts, seed }) => {
  const taken = await Promise.all(prompts.map((prompt, race) => complete(prompt, length, seed * prompts.length + race)))
  return {
    tokens: taken.reduce((sum, { tokens }) => sum + tokens, 0),
    promptTokens: taken.reduce((sum, { promptTokens }) => sum + promptTokens, 0)
  }
})
server.kill('SIGTERM')
await ended

async function complete(prompt, length, seed) {
  const response = await fetch(`${address}/completion`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      prompt,
      n,
      n_predict: length,
      seed,
      // Temperature 1 and nothing else: its other samplers would only take time.
      ...{ temperature: 1, samplers: ['temperature'], ignore_eos: end === null, cache_prompt: true },
      ...(end === null || end.bias === 0 ? {} : { logit_bias: [[end.token, end.bias]] }),
      response_fields: ['content', 'tokens_predicted', 'tokens_evaluated']
    })
  })
  const answer = await response.json()
  if (!response.ok) throw new Error(`Expected completions but the server said ${JSON.stringify(answer)}`)
  const completions = [answer].flat()
  if (completions.length !== n) throw new Error(`Expected ${n} completions but received ${completions.length}`)
  return {
    tokens: completions.reduce((sum, { tokens_predicted }) => sum + tokens_predicted, 0),
    promptTokens: completions[0].tokens_evaluated
  }
}

async function healthy() {
  for (let left = 600; left > 0; left -= 1) {
    if (server.exitCode !== null) throw new Error(`Expected llama-server to start but it ended: ${complaint}`)
    const ok = await fetch(`${address}/health`).then(
      (response) => response.ok,
      () => false
    )
    if (ok) return
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  throw new Error(`Expected llama-server to be ready within a minute but it was not: ${complaint}`)
}

function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address()
      probe.close(() => resolve(port))
    })
  })
}
