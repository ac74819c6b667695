// Many requests of 8 candidates: memory, descriptors and cells stay where they were, and the event loop stays free.
//   node bench/load/soak.mjs [--requests 10000] [--warm 1000] [--width 8]
import { problem, report, serve, settings, together } from './served.mjs'

const { requests, warm, width, threads } = settings({ requests: 10_000, warm: 1000, width: 8, threads: 1 })
const server = await serve('--threads', String(threads))
const body = { prompt: `<|problem|>${problem}<|solution|>`, best_of: 8, max_tokens: 120 }
const delays = []
let failed = 0

const some = async (from, count) => {
  await together(count, width, async (i) => {
    const { status } = await server.post('/v1/completions', { ...body, seed: from + i, stream: i % 2 === 0 })
    if (status !== 200) failed++
  })
  delays.push(1000 * (await server.metric('nodejs_eventloop_lag_p99_seconds')))
}

for (let done = 0; done < warm; done += 100) await some(done, Math.min(100, warm - done))
const before = { rss: server.rss(), descriptors: server.descriptors() }
delays.length = 0
for (let done = warm; done < requests; done += 500) await some(done, Math.min(500, requests - done))
const growth = server.rss() - before.rss
const handles = server.descriptors() - before.descriptors
const cells = await server.metric('winnow_cells_used')
const delay = Math.max(...delays)
const holds = failed === 0 && growth <= 32 * 2 ** 20 && handles <= 0 && cells === 0 && delay <= 50
const values = {
  growthMiB: growth / 2 ** 20,
  rssMiB: before.rss / 2 ** 20,
  descriptors: handles,
  cells,
  delayP99Ms: delay
}
report('soak', { requests, warm, width, failed, ...values }, holds)
await server.stop()
