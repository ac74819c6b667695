// What scores are worth and what they cost, on the embedded task: every scorer on the same candidates, each with speculative
// rejection and its two controls at equal cost, and a reward model that reads each token once against one that reads again.
//
//   npm run build
//   node bench/rewards.mjs --reward-model FILE --reward-head FILE --distilled FILE
//
// writes bench/results/rewards-arith.json and .md. Candidates are recorded on the first `--limit` problems, live races are run
// on the first `--live-limit` of them, reading once against reading again on the first `--ratio-limit`. `--workers` processes share
// the problems, each with `--threads`; seconds depend on both. What they have measured stays in `--journal`: the same command goes on
// from there, larger limits add to it, and `--merge-only` makes the files of what there is.
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, dirname, isAbsolute, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { parseCheckpoints } from '../dist/names.js'
import { figuresOf } from './rewards/figures.mjs'
import { entriesOf, merge } from './rewards/journal.mjs'
import { checkOptions } from './rewards/options.mjs'
import { measurePart } from './rewards/part.mjs'
import { pageOf } from './rewards/table.mjs'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const scorers = [
  ...['mean-logprob', 'min-logprob', 'perplexity', 'mean-entropy', 'self-certainty'],
  ...['tail-logprob:16', 'lowest-group-logprob:16', 'bottom-group-logprob:16']
]
const { values } = parseArgs({
  options: {
    model: { type: 'string' },
    head: { type: 'string' },
    distilled: { type: 'string' },
    'reward-model': { type: 'string' },
    'reward-head': { type: 'string' },
    'reward-template': { type: 'string' },
    scorers: { type: 'string', default: scorers.join(',') },
    prompts: { type: 'string', default: join(root, 'bench', 'problems', 'heldout.jsonl') },
    limit: { type: 'string', default: '200' },
    'live-limit': { type: 'string', default: '40' },
    'ratio-limit': { type: 'string', default: '20' },
    'ratio-alphas': { type: 'string', default: '0.2,0.5,0.8' },
    n: { type: 'string', default: '64' },
    seed: { type: 'string', default: '1' },
    alpha: { type: 'string', default: '0.13' },
    checkpoints: { type: 'string', default: 'every:8' },
    grid: { type: 'string', default: '8' },
    'max-tokens': { type: 'string', default: '512' },
    threads: { type: 'string', default: '1' },
    workers: { type: 'string', default: '2' },
    part: { type: 'string' },
    'merge-only': { type: 'boolean', default: false },
    journal: { type: 'string', default: join(root, 'build', 'rewards') },
    out: { type: 'string', default: join(root, 'bench', 'results', 'rewards-arith') }
  }
})

/** Processes that measure a part each; all have ended when this resolves. */
async function measureAll(workers) {
  const others = journalsIn(values.journal).filter((name) => !name.endsWith(`-of-${workers}.jsonl`))
  if (others.length > 0) {
    const received = `${others.join(', ')} there`
    throw new Error(`Expected parts of ${workers} in ${values.journal}, or another --journal, but received ${received}`)
  }
  const parts = Array.from({ length: workers }, (_, i) => {
    const args = [fileURLToPath(import.meta.url), ...process.argv.slice(2), '--part', `${i + 1}/${workers}`]
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] })
    return new Promise((resolve) => child.on('close', (code) => resolve(code ?? 1)))
  })
  const codes = await Promise.all(parts)
  const failed = codes.flatMap((code, i) => (code === 0 ? [] : [`${i + 1}/${workers}`]))
  if (failed.length > 0) throw new Error(`Expected all parts to end but received failures of ${failed.join(', ')}`)
}

/** Of all parts that have measured into a folder; in order, so that the files come out the same each time. */
function journalsIn(folder) {
  const names = existsSync(folder) ? readdirSync(folder) : []
  return names.filter((name) => /^part-.*\.jsonl$/.test(name)).sort()
}

/** Everything measured so far -> the two files. */
function write() {
  const folder = values.journal
  const journals = journalsIn(folder).map((name) => entriesOf(readFileSync(join(folder, name), 'utf8'), name))
  if (journals.length === 0) throw new Error(`Expected journals of parts in ${folder} but received none`)
  const [{ conditions }] = journals
  for (const journal of journals) {
    if (JSON.stringify(journal.conditions) === JSON.stringify(conditions)) continue
    throw new Error(`Expected parts of one measurement in ${folder} but received some of different files or options`)
  }
  const limit = Number(values.limit)
  const entries = merge(journals).filter(({ prompt }) => prompt < limit)
  const { alpha, checkpoints, grid, names } = conditions.options
  const schedule = { alpha, checkpoints: parseCheckpoints(checkpoints) }
  const alphas = values['ratio-alphas'].split(',').map(Number)
  const setup = { names, schedule, grid, alphas, seed: Number(conditions.seed) }
  const commands = [...new Set(journals.flatMap((journal) => journal.commands))]
  const result = { ...conditions, commands, command: command(), figures: figuresOf(entries, setup) }
  mkdirSync(dirname(values.out), { recursive: true })
  writeFileSync(`${values.out}.json`, `${JSON.stringify(result, null, 1)}\n`)
  writeFileSync(`${values.out}.md`, `${pageOf(result)}\n`)
  const { problems } = result.figures.candidates
  const missing = problems < limit ? `, of ${limit} asked for` : ''
  process.stderr.write(`${problems} problems${missing}: ${values.out}.json and .md\n`)
}

/** As it was typed, without this machine's folders. */
function command() {
  const words = process.argv.slice(2)
  // What the driver has added for a process of its own.
  const typed = values.part === undefined ? words : words.slice(0, -2)
  const plain = typed.map((word) => {
    if (!isAbsolute(word)) return word
    const path = relative(root, word)
    return path.startsWith('..') ? basename(word) : path
  })
  return ['node bench/rewards.mjs', ...plain].join(' ')
}

async function main() {
  checkOptions(values)
  if (values.part !== undefined) {
    const [part, parts] = values.part.split('/').map(Number)
    return measurePart(values, part, parts, command())
  }
  if (!values['merge-only']) await measureAll(Number(values.workers))
  write()
}

await main().catch((error) => {
  process.stderr.write(`${error.message}\n`)
  process.exitCode = 1
})
