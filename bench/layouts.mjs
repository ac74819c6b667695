// Seconds a step and memory of both layouts of the cells, on a model of random weights: streams, of which each holds the
// prompt, against one unified cache, which holds it once.
//
//   node bench/layouts.mjs [--n 4,16,32,64] [--prompt-tokens 64,1000,4000] [--steps 64] [--repeats 5] [--threads 1]
//
// Answers are given, so that both layouts decode the same tokens. The layouts of one shape take turns, in the other order
// every other time; ratios are of neighbouring runs. One JSON line a shape on stdout, a table at the end.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { loadBinding } from '../dist/binding.js'
import { open } from '../dist/index.js'
import { writeRandomModel } from '../dist/random-model.js'

const { values } = parseArgs({
  options: {
    n: { type: 'string', default: '4,16,32,64' },
    'prompt-tokens': { type: 'string', default: '64,1000,4000' },
    steps: { type: 'string', default: '64' },
    repeats: { type: 'string', default: '5' },
    threads: { type: 'string', default: '1' }
  }
})
const numbers = (text) => text.split(',').map(Number)
const steps = Number(values.steps)
// Four layers with heads of 64 and four query heads for each KV head: 1 KiB of keys and values a cell in f16.
const shape = { vocabulary: 2048, width: 256, layers: 4, heads: 4, headsKv: 1, feedForward: 688, context: 16384 }

const median = (list) => {
  const sorted = [...list].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

async function measure(engine, n, promptTokens) {
  const answers = Array.from({ length: n }, (_, id) =>
    Int32Array.from({ length: steps }, (_, i) => 300 + ((id * 13 + i * 7) % 1500))
  )
  const { usage, compute } = await engine.score('a'.repeat(promptTokens), answers, { raw: true, maxTokens: steps })
  const plan = await engine.plan(n, 'a'.repeat(promptTokens), { raw: true, maxTokens: steps })
  return { layout: compute.layout, seconds: usage.seconds.decode / steps, cells: usage.cellBytes, all: plan.peakBytes }
}

async function compare(engines, n, promptTokens) {
  const runs = { streams: [], unified: [] }
  for (let repeat = 0; repeat < Number(values.repeats); repeat++) {
    const order = repeat % 2 === 0 ? ['streams', 'unified'] : ['unified', 'streams']
    for (const layout of order) {
      const run = await measure(engines[layout], n, promptTokens)
      if (run.layout !== layout) throw new Error(`Expected ${layout} but received ${run.layout}`)
      runs[layout].push(run)
    }
  }
  const of = (layout) => ({
    msStep: 1000 * median(runs[layout].map(({ seconds }) => seconds)),
    cellMiB: runs[layout][0].cells / 2 ** 20,
    allMiB: runs[layout][0].all / 2 ** 20
  })
  const ratios = runs.streams.map(({ seconds }, i) => runs.unified[i].seconds / seconds)
  const ratio = { min: Math.min(...ratios), median: median(ratios), max: Math.max(...ratios) }
  return { n, promptTokens, streams: of('streams'), unified: of('unified'), ratio }
}

const folder = mkdtempSync(join(tmpdir(), 'winnow-layouts-'))
try {
  loadBinding({ gpu: 'cpu' })
  const model = join(folder, 'random.gguf')
  await writeRandomModel(model, shape)
  const settings = { gpu: 'cpu', threads: Number(values.threads) }
  const engines = {
    streams: await open(model, { ...settings, layout: 'streams' }),
    unified: await open(model, { ...settings, layout: 'unified' })
  }
  const rows = []
  for (const promptTokens of numbers(values['prompt-tokens'])) {
    for (const n of numbers(values.n)) {
      rows.push(await compare(engines, n, promptTokens))
      process.stdout.write(`${JSON.stringify(rows.at(-1))}\n`)
    }
  }
  process.stdout.write('\n| prompt | n | streams ms | unified ms | ratio (min-max) | streams MiB | unified MiB |\n')
  process.stdout.write('|---|---|---|---|---|---|---|\n')
  for (const { promptTokens, n, streams, unified, ratio } of rows) {
    const [low, middle, high] = [ratio.min, ratio.median, ratio.max].map((value) => value.toFixed(2))
    const times = `${streams.msStep.toFixed(2)} | ${unified.msStep.toFixed(2)} | ${middle} (${low}-${high})`
    const bytes = [streams, unified].map(({ cellMiB, allMiB }) => `${cellMiB.toFixed(1)} of ${allMiB.toFixed(1)}`)
    process.stdout.write(`| ${promptTokens} | ${n} | ${times} | ${bytes.join(' | ')} |\n`)
  }
  for (const engine of Object.values(engines)) await engine.close()
} finally {
  rmSync(folder, { recursive: true, force: true })
}
