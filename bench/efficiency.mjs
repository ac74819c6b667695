// Tokens a second of useful work: Winnow's public API against the bare llama_decode loop, node-llama-cpp's API and
// llama.cpp's own server, at equal work, in interleaved rounds.
//
//   npm run build:baselines && node bench/baselines/server.mjs      # once
//   node bench/efficiency.mjs
//
// writes bench/results/efficiency.json and .md, within `--minutes`. The JSON file is written after every cell: the same command goes
// on where it was stopped. What is measured can be narrowed: --models embedded --threads 1 --prompts 1
// --prompt-tokens 64 --n 16,64 --contenders winnow,decode-loop. On a machine that is not idle nothing is measured without
// --busy. --quick measures two small cells, which says nothing but that everything works.
import { writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { cellsOf, placed, selected } from './efficiency/cells.mjs'
import { checkContenders } from './efficiency/contenders.mjs'
import { busyShare, machine } from './efficiency/machine.mjs'
import { measureCell } from './efficiency/measure.mjs'
import { typed, versions } from './efficiency/origin.mjs'
import { Results } from './efficiency/results.mjs'
import { pageOf } from './efficiency/table.mjs'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const { values } = parseArgs({
  options: {
    models: { type: 'string' },
    threads: { type: 'string' },
    prompts: { type: 'string' },
    'prompt-tokens': { type: 'string' },
    n: { type: 'string' },
    contenders: { type: 'string', default: 'winnow,decode-loop,node-llama-cpp,node-llama-cpp-states,llama-server' },
    minutes: { type: 'string', default: '25' },
    busy: { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
    out: { type: 'string', default: join(root, 'bench', 'results', 'efficiency') }
  }
})

async function main() {
  const names = values.contenders.split(',')
  checkContenders(names)
  const { models: model, threads, prompts, 'prompt-tokens': promptTokens, n } = values
  const cells = selected(cellsOf(values.quick ? 'quick' : 'full'), { model, threads, prompts, promptTokens, n })
  const results = new Results(
    `${values.out}.json`,
    { versions: versions(), machine: machine() },
    typed('bench/efficiency.mjs')
  )
  const end = performance.now() + 60_000 * Number(values.minutes)
  const left = cells.filter(({ id }) => !results.has(id))
  for (const cell of left) {
    if (performance.now() > end) break
    const busyBefore = await busyShare(values.busy)
    const started = performance.now()
    results.add({ ...(await measureCell(placed(cell), names)), busyBefore })
    process.stderr.write(`${cell.id}: ${((performance.now() - started) / 1000).toFixed(0)} s of ${cell.seconds}\n`)
  }
  if (results.value.cells.length > 0) writeFileSync(`${values.out}.md`, `${pageOf(results.value)}\n`)
  const missing = cells.filter(({ id }) => !results.has(id)).length
  if (missing > 0) process.stderr.write(`${missing} cells are left: the same command goes on from here\n`)
}

await main().catch((error) => {
  process.stderr.write(`${error.message}\n`)
  process.exitCode = 1
})
