// What more candidates and longer ones cost: wall time of `engine.bestOf` against N, and against length.
//
//   npm run build && node bench/growth.mjs
//
// writes bench/results/growth.json and .svg, in about six minutes. The JSON file is written after every point: the same command
// goes on where it was stopped. On a machine that is not idle nothing is measured without --busy.
import { writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { placed } from './efficiency/cells.mjs'
import { chartOf } from './efficiency/chart.mjs'
import { busyShare, machine } from './efficiency/machine.mjs'
import { measureCell } from './efficiency/measure.mjs'
import { typed, versions } from './efficiency/origin.mjs'
import { Results } from './efficiency/results.mjs'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const { values } = parseArgs({
  options: {
    n: { type: 'string', default: '16,32,64,128,256,512,1024,2048,4096' },
    lengths: { type: 'string', default: '16,32,64,128,256,512,896' },
    threads: { type: 'string', default: '1' },
    busy: { type: 'boolean', default: false },
    out: { type: 'string', default: join(root, 'bench', 'results', 'growth') }
  }
})

/** Candidates of this length while N grows, and so many while they grow longer. */
const fixed = { length: 64, n: 64 }
const numbers = (list) => list.split(',').map(Number)

function points() {
  const shared = {
    model: 'embedded',
    threads: Number(values.threads),
    prompts: 1,
    promptTokens: 64,
    ends: false,
    without: []
  }
  const pairs = [
    ...numbers(values.n).map((n) => [n, fixed.length]),
    ...numbers(values.lengths).map((length) => [fixed.n, length])
  ]
  // A large one is as good as many small ones.
  const roundsOf = (tokens) => (tokens > 50_000 ? [1, 1] : [3, 3])
  return pairs.map(([n, length]) => {
    const [least, most] = roundsOf(n * length)
    return { id: `${n} ${length}`, ...shared, n, length, least, most, seconds: 0 }
  })
}

async function main() {
  const results = new Results(
    `${values.out}.json`,
    { versions: versions(), machine: machine() },
    typed('bench/growth.mjs')
  )
  for (const point of points()) {
    if (results.has(point.id)) continue
    const busyBefore = await busyShare(values.busy)
    const measured = await measureCell(placed(point), ['winnow'])
    results.add({ ...measured, busyBefore })
    process.stderr.write(`N=${point.n}, ${point.length} tokens: ${measured.figures[0].seconds.median.toFixed(2)} s\n`)
  }
  writeFileSync(`${values.out}.svg`, chartOf(results.value, fixed))
}

await main().catch((error) => {
  process.stderr.write(`${error.message}\n`)
  process.exitCode = 1
})
