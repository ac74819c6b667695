// How much of llama.cpp's bare decode speed is left once Winnow samples, keeps states and counts.
//
//   node bench/efficiency.mjs --model FILE --n 1,16,64,256 --drivers decode-loop,advance-loop --out FILE.json
//
// Every (N, driver) runs in a fresh process, the drivers of one N interleaved, `--repeats` times; the table shows
// min / median / max of the ratio to the first driver named. decode-loop and advance-loop are the C++ programs of
// bench/baselines (npm run build:baselines); winnow and node-llama-cpp go through JavaScript.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const here = dirname(fileURLToPath(import.meta.url))
const root = dirname(here)
const { values } = parseArgs({
  options: {
    model: { type: 'string', default: join(root, 'models', 'winnow-arith.gguf') },
    n: { type: 'string', default: '1,16,64,256' },
    drivers: { type: 'string', default: 'decode-loop,advance-loop' },
    prompt: { type: 'string' },
    'prompt-tokens': { type: 'string', default: '64' },
    round: { type: 'string', default: '32' },
    steps: { type: 'string', default: '128' },
    threads: { type: 'string', default: String(cpus().length) },
    repeats: { type: 'string', default: '5' },
    build: { type: 'string', default: join(root, 'build', 'baselines') },
    libs: { type: 'string', default: join(root, 'node_modules', '@node-llama-cpp', 'linux-x64', 'bins', 'linux-x64') },
    out: { type: 'string' }
  }
})

const native = { 'decode-loop': 'decode_loop', 'advance-loop': 'advance_loop' }
const scripts = { winnow: 'winnow.mjs', 'node-llama-cpp': 'node-llama-cpp.mjs' }

function runDriver(driver, n) {
  const shared = ['--model', values.model, '--n', String(n), '--prompt-tokens', values['prompt-tokens']]
  shared.push('--steps', values.steps, '--threads', values.threads)
  if (values.prompt) shared.push('--prompt', values.prompt)
  const [command, args] = native[driver]
    ? [join(values.build, native[driver]), [...shared, '--libs', values.libs, '--round', values.round]]
    : [process.execPath, [join(here, 'drivers', scripts[driver]), ...shared]]
  if (native[driver] && !existsSync(command)) {
    throw new Error(
      `Expected ${relative(root, command)} for driver ${driver} but it is not built: npm run build:baselines`
    )
  }
  const output = execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  const row = JSON.parse(output.trim().split('\n').at(-1))
  return row.tokensPerSecond ?? row.tokens_per_second
}

const median = (list) => {
  const sorted = [...list].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}
const spread = (list) => ({ min: Math.min(...list), median: median(list), max: Math.max(...list) })

const drivers = values.drivers.split(',')
for (const driver of drivers) {
  if (!native[driver] && !scripts[driver]) {
    const known = [...Object.keys(native), ...Object.keys(scripts)].join(', ')
    process.stderr.write(`Expected one of ${known} for --drivers but received ${driver}\n`)
    process.exit(2)
  }
}
const rows = []
for (const n of values.n.split(',').map(Number)) {
  const speeds = Object.fromEntries(drivers.map((driver) => [driver, []]))
  for (let repeat = 0; repeat < Number(values.repeats); repeat += 1) {
    // Alternate the order, so that a drift of the machine's speed does not favour whoever comes first.
    for (const driver of repeat % 2 ? [...drivers].reverse() : drivers) speeds[driver].push(runDriver(driver, n))
  }
  for (const driver of drivers) {
    const ratios = speeds[driver].map((speed, index) => speed / speeds[drivers[0]][index])
    rows.push({ n, driver, tokensPerSecond: spread(speeds[driver]), ratio: spread(ratios) })
    const { min, median: middle, max } = spread(ratios)
    process.stderr.write(
      `N=${n} ${driver}: ${Math.round(median(speeds[driver]))} tokens/s, ratio ${min.toFixed(3)} / ${middle.toFixed(3)} / ${max.toFixed(3)}\n`
    )
  }
}

const version = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).version
const result = {
  schemaVersion: 1,
  command: `node bench/efficiency.mjs ${process.argv
    .slice(2)
    .map((part) => (part.startsWith(root) ? relative(root, part) : part))
    .join(' ')}`,
  versions: { winnow: version, node: process.version, nodeLlamaCpp: '3.22.1', llama: 'v0.5.0' },
  hardware: { cpu: cpus()[0].model, cores: cpus().length },
  model: values.model.split('/').at(-1),
  promptTokens: Number(values['prompt-tokens']),
  steps: Number(values.steps),
  threads: Number(values.threads),
  repeats: Number(values.repeats),
  baseline: drivers[0],
  rows
}
const text = `${JSON.stringify(result, null, 2)}\n`
if (values.out) {
  mkdirSync(dirname(values.out), { recursive: true })
  writeFileSync(values.out, text)
} else {
  process.stdout.write(text)
}
