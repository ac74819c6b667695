// As many connections at once: none is reset, and each has an answer or a 503 that says when to come again.
//   node bench/load/crowd.mjs [--connections 2000] [--queue 512]
import { exchange, problem, report, serve, settings } from './served.mjs'

const { connections, queue, threads } = settings({ connections: 2000, queue: 512, threads: 1 })
const server = await serve('--threads', String(threads), '--queue', String(queue))
const body = JSON.stringify({ prompt: `<|problem|>${problem}<|solution|>`, best_of: 4, max_tokens: 100 })
const counts = { answered: 0, busy: 0, other: 0, reset: 0 }
const options = { ...server.base, path: '/v1/completions', agent: false }
const one = async () => {
  try {
    const { status, headers } = await exchange(options, body)
    if (status === 200) counts.answered++
    else if (status === 503 && Number(headers['retry-after']) > 0) counts.busy++
    else counts.other++
  } catch {
    counts.reset++
  }
}
const startedAt = performance.now()
await Promise.all(Array.from({ length: connections }, one))
const seconds = (performance.now() - startedAt) / 1000
const holds =
  counts.reset === 0 && counts.other === 0 && counts.answered >= Math.min(connections, queue) && server.alive()
report('crowd', { connections, queue, ...counts, seconds }, holds)
await server.stop()
