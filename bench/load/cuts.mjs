// Streamed requests, half of them cut at a random moment: a second after the last cut no branch is live.
//   node bench/load/cuts.mjs [--requests 10000] [--width 32] [--candidates 4]
import { exchange, problem, report, serve, settings, sleep, together } from './served.mjs'

const { requests, width, candidates, threads } = settings({ requests: 10_000, width: 32, candidates: 4, threads: 1 })
const server = await serve('--threads', String(threads))
const counts = { whole: 0, cut: 0, busy: 0, failed: 0 }
const body = { prompt: `<|problem|>${problem}<|solution|>`, best_of: candidates, max_tokens: 200, stream: true }

await together(requests, width, async (i) => {
  const isCut = i % 2 === 1
  const cutting = (sent) => {
    if (isCut) setTimeout(() => sent.destroy(), 300 * Math.random())
  }
  try {
    const options = { ...server.base, path: '/v1/completions', agent: false, onSent: cutting }
    const { status, text } = await exchange(options, JSON.stringify({ ...body, seed: i }))
    if (status === 503) counts.busy++
    else if (status === 200 && text.endsWith('data: [DONE]\n\n')) counts.whole++
    else counts.failed++
  } catch {
    if (isCut) counts.cut++
    else counts.failed++
  }
})
await sleep(1000)
const live = await server.metric('winnow_branches_live')
const cells = await server.metric('winnow_cells_used')
const running = await server.metric('winnow_requests_running')
const holds = live === 0 && cells === 0 && running === 0 && counts.failed === 0 && server.alive()
report('cuts', { requests, width, candidates, ...counts, live, cells, running }, holds)
await server.stop()
