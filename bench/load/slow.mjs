// Sockets that send a byte a second: what they do to the 99th percentile of others, in interleaved rounds without and with.
//   node bench/load/slow.mjs [--sockets 1000] [--requests 400] [--rounds 3]
import { connect } from 'node:net'
import { problem, quantile, report, serve, settings, sleep, together } from './served.mjs'

const { sockets, requests, rounds, threads } = settings({ sockets: 1000, requests: 400, rounds: 3, threads: 1 })
const server = await serve('--threads', String(threads))
const body = { prompt: `<|problem|>${problem}<|solution|>`, best_of: 2, max_tokens: 60 }
const [without, beside] = [[], []]

const measure = (into) =>
  together(requests, 4, async (i) => {
    const { status, ms } = await server.post('/v1/completions', { ...body, seed: i })
    if (status === 200) into.push(ms)
  })

/** They come back as often as they are thrown out. */
function drip() {
  const head =
    'POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n'
  // Every second one is slow from its headers on.
  const open = new Set()
  let going = true
  const start = (i) => {
    if (!going) return
    const socket = connect(server.base.port, '127.0.0.1')
    open.add(socket)
    const text = i % 2 === 0 ? `${head}${' '.repeat(900)}` : head
    let at = i % 2 === 0 ? head.length : 0
    const timer = setInterval(() => socket.write(text[at++] ?? ' '), 1000)
    socket.on('error', () => {})
    socket.on('data', () => {})
    if (at > 0) socket.write(head)
    socket.on('close', () => {
      clearInterval(timer)
      open.delete(socket)
      setTimeout(() => start(i), 100)
    })
  }
  for (let i = 0; i < sockets; i++) start(i)
  return () => {
    going = false
    for (const socket of open) socket.destroy()
  }
}

await measure([])
for (let round = 0; round < rounds; round++) {
  await measure(without)
  const stop = drip()
  await sleep(2000)
  await measure(beside)
  stop()
  await sleep(1000)
}
const [plain, slow] = [quantile(without, 0.99), quantile(beside, 0.99)]
const all = without.length === beside.length && without.length === requests * rounds
report(
  'slow',
  { sockets, requests, rounds, p99Ms: { without: plain, beside: slow }, ratio: slow / plain },
  all && slow / plain <= 1.2
)
await server.stop()
