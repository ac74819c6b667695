// What the load scripts share: `winnow serve` in a process of its own, its metrics, and requests to it.
import { spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { fileURLToPath } from 'node:url'

const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
export const problem =
  'Tom has 12 coins. In May, he finds 7. In June, he gives 5 to Anna. How many coins does Tom have now?'

/** `--name value` pairs of the command line over these defaults; numbers stay numbers. */
export function settings(defaults) {
  const given = { ...defaults }
  for (let i = 2; i < process.argv.length; i += 2) {
    const name = process.argv[i]?.replace(/^--/, '')
    if (!(name in defaults)) throw new Error(`Expected one of ${Object.keys(defaults)} but received ${name}`)
    given[name] = typeof defaults[name] === 'number' ? Number(process.argv[i + 1]) : process.argv[i + 1]
  }
  return given
}

/** Starts a server and waits until it is ready. */
export async function serve(...flags) {
  const argv = [main, 'serve', '--port', '0', ...flags]
  const child = spawn(process.execPath, argv, { stdio: ['ignore', 'ignore', 'pipe'] })
  // Whoever ends the script ends its server.
  process.once('exit', () => child.kill('SIGKILL'))
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1))
  const port = await portOf(child)
  const agent = new Agent({ keepAlive: true, maxSockets: 64 })
  const base = { host: '127.0.0.1', port }
  const get = (path) => exchange({ ...base, path, agent })
  while ((await get('/health')).status !== 200) await sleep(50)
  return {
    base,
    pid: child.pid,
    post: (path, body, more = {}) => exchange({ ...base, path, agent, ...more }, JSON.stringify(body)),
    /** One number of /metrics, labels and all. */
    async metric(name) {
      const { text } = await get('/metrics')
      return Number(new RegExp(`^${name} (.*)$`, 'm').exec(text)?.[1])
    },
    rss: () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))[1]) * 1024,
    descriptors: () => readdirSync(`/proc/${child.pid}/fd`).length,
    alive: () => child.exitCode === null && child.signalCode === null,
    async stop() {
      agent.destroy()
      const ended = new Promise((resolve) => child.once('exit', resolve))
      child.kill('SIGTERM')
      return ended
    }
  }
}

function portOf(child) {
  child.stderr.setEncoding('utf8')
  return new Promise((resolve, reject) => {
    let said = ''
    // Read to the end: a log nobody reads would hold the server up.
    child.stderr.on('data', (text) => {
      if (said.length < 10_000) said += text
      const [, port] = /"url":"http:\/\/127\.0\.0\.1:(\d+)"/.exec(said) ?? []
      if (port !== undefined) resolve(Number(port))
    })
    child.once('exit', () => reject(new Error(said)))
  })
}

/** A request to its end: status, headers, text and when the first byte of the body came, milliseconds. */
export function exchange(options, body) {
  return new Promise((resolve, reject) => {
    const startedAt = performance.now()
    const headers =
      body === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }
    const sent = request({ ...options, method: body === undefined ? 'GET' : 'POST', headers }, (response) => {
      const { statusCode: status, headers } = response
      let [text, firstMs] = ['', null]
      response.setEncoding('utf8')
      response.on('data', (part) => {
        firstMs ??= performance.now() - startedAt
        text += part
      })
      response.on('error', reject)
      response.on('end', () => resolve({ status, headers, text, firstMs, ms: performance.now() - startedAt }))
    })
    sent.on('error', reject)
    options.onSent?.(sent)
    sent.end(body)
  })
}

/** Runs `work(i)` for i below `count`, so many at a time. */
export async function together(count, width, work) {
  let next = 0
  const lane = async () => {
    while (next < count) await work(next++)
  }
  await Promise.all(Array.from({ length: width }, lane))
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

export function quantile(values, share) {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]
}

/** One line of JSON, and exit code 1 where what must hold does not. */
export function report(script, values, holds) {
  console.log(JSON.stringify({ script, ...values, holds }))
  if (!holds) process.exitCode = 1
}
