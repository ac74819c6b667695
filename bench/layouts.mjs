// Seconds a step and memory of both layouts of the cells, on a model of random weights: streams, of which each holds the
// prompt, against one unified cache, which holds it once.
//
//   node bench/layouts.mjs [--n 4,16,32,64] [--prompt-tokens 64,1000,4000] [--steps 16] [--rounds 8] [--threads 1]
//
// Both pools are there at once, write the same given tokens, and take turns of so many steps, in the other order every other
// time; a ratio is of two turns that follow each other. Seconds are of the processor, not of the clock: others may use the
// machine. One JSON line a shape on stdout, a table at the end.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { loadBinding } from '../dist/binding.js'
import { openModel } from '../dist/model.js'
import { resolveOpen } from '../dist/options.js'
import { writeRandomModel } from '../dist/random-model.js'

const { values } = parseArgs({
  options: {
    n: { type: 'string', default: '4,16,32,64' },
    'prompt-tokens': { type: 'string', default: '64,1000,4000' },
    steps: { type: 'string', default: '16' },
    rounds: { type: 'string', default: '8' },
    threads: { type: 'string', default: '1' }
  }
})
const numbers = (text) => text.split(',').map(Number)
const [steps, rounds] = [Number(values.steps), Number(values.rounds)]
const layouts = ['streams', 'unified']
// Four layers with heads of 64 and four query heads for each KV head: 1 KiB of keys and values a cell in f16.
const shape = { vocabulary: 2048, width: 256, layers: 4, heads: 4, headsKv: 1, feedForward: 688, context: 16384 }

const median = (list) => {
  const sorted = [...list].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/** A race of n branches behind a prompt, all of which have their tokens given. */
async function started(binding, model, layout, n, promptTokens) {
  const tokens = steps * rounds
  const unified = layout === 'unified' && { streams: n + 1, unifiedCells: promptTokens + n * tokens }
  const pool = await binding.createPool(model, {
    streams: n,
    cellsPerStream: promptTokens + tokens,
    threads: Number(values.threads),
    batch: 512,
    kvType: 'f16',
    flashAttention: 'auto',
    states: true,
    deterministic: false,
    ...unified
  })
  const { race } = await pool.prefill(
    Int32Array.from({ length: promptTokens }, (_, i) => 300 + ((i * 31) % 1500)),
    0
  )
  await pool.fork(race, {
    count: n,
    seed: 1n,
    firstCandidate: 0,
    maxTokens: tokens + 1,
    temperature: 1,
    topK: 0,
    topP: 1,
    minP: 0,
    stopTokens: new Int32Array(),
    given: {
      tokens: Int32Array.from({ length: n * tokens }, (_, i) => 300 + ((i * 7) % 1500)),
      offsets: Int32Array.from({ length: n + 1 }, (_, id) => id * tokens)
    }
  })
  return { pool, race, seconds: [] }
}

async function advance(run, until) {
  const before = process.cpuUsage()
  await run.pool.advance(Int32Array.of(run.race, until), 0)
  const { user, system } = process.cpuUsage(before)
  run.seconds.push((user + system) / 1e6 / steps)
}

async function compare(binding, model, n, promptTokens) {
  const runs = {}
  for (const layout of layouts) runs[layout] = await started(binding, model, layout, n, promptTokens)
  for (let round = 0; round < rounds; round++) {
    const order = round % 2 === 0 ? layouts : [...layouts].reverse()
    for (const layout of order) await advance(runs[layout], (round + 1) * steps)
  }
  const row = { n, promptTokens }
  for (const [layout, { pool, seconds }] of Object.entries(runs)) {
    const [{ cells, compute, outputs }] = (await pool.sizes()).devices
    const [cellMiB, allMiB] = [cells, cells + compute + outputs].map((bytes) => bytes / 2 ** 20)
    row[layout] = { msStep: 1000 * median(seconds), cellMiB, allMiB }
    await pool.close()
  }
  const ratios = runs.streams.seconds.map((seconds, i) => runs.unified.seconds[i] / seconds)
  return { ...row, ratio: { min: Math.min(...ratios), median: median(ratios), max: Math.max(...ratios) } }
}

const folder = mkdtempSync(join(tmpdir(), 'winnow-layouts-'))
try {
  const { binding } = loadBinding({ gpu: 'cpu' })
  const path = join(folder, 'random.gguf')
  await writeRandomModel(path, { ...shape, tokenizer: 'none' })
  const model = await openModel(binding, path, resolveOpen({ gpu: 'cpu' }))
  const rows = []
  for (const promptTokens of numbers(values['prompt-tokens'])) {
    for (const n of numbers(values.n)) {
      rows.push(await compare(binding, model, n, promptTokens))
      process.stdout.write(`${JSON.stringify(rows.at(-1))}\n`)
    }
  }
  process.stdout.write(
    '\n| prompt | n | streams, ms a step | unified | ratio | streams, MiB of cells (of all) | unified |\n'
  )
  process.stdout.write('|---|---|---|---|---|---|---|\n')
  for (const { promptTokens, n, streams, unified, ratio } of rows) {
    const [low, middle, high] = [ratio.min, ratio.median, ratio.max].map((value) => value.toFixed(2))
    const times = `${streams.msStep.toFixed(2)} | ${unified.msStep.toFixed(2)} | ${middle} [${low}, ${high}]`
    const bytes = [streams, unified].map(({ cellMiB, allMiB }) => `${cellMiB.toFixed(1)} (${allMiB.toFixed(1)})`)
    process.stdout.write(`| ${promptTokens} | ${n} | ${times} | ${bytes.join(' | ')} |\n`)
  }
  model.close()
} finally {
  rmSync(folder, { recursive: true, force: true })
}
