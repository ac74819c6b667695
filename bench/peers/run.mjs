// Winnow beside plain Hugging Face transformers: the same model, head, prompts and machine, the arms of a prompt one after the
// other. Needs Python with what requirements.txt names.
//
//     node bench/peers/run.mjs --python python3 --limit 40 -n 16 --alpha 0.5 --checkpoints 32,64,128 --seed 1
//
// Writes bench/results/peers-arith.json and the table that it prints as peers-arith.md.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { provenanceOf } from '../../dist/cli/provenance.js'
import { drawTable } from '../../dist/cli/table.js'
import { embedded } from '../../dist/embedded.js'
import { open } from '../../dist/index.js'
import { sha256 } from '../../dist/model.js'
import { readProblems } from '../../dist/problems.js'
import { bootstrap, resamples } from '../../dist/statistics.js'
import { isRight } from '../../dist/verifier.js'
import { arms as ours } from './winnow.mjs'

const here = new URL('.', import.meta.url).pathname
const { values } = parseArgs({
  options: {
    python: { type: 'string', default: 'python3' },
    prompts: { type: 'string', default: embedded.problems },
    limit: { type: 'string', default: '40' },
    n: { type: 'string', short: 'n', default: '16' },
    alpha: { type: 'string', default: '0.5' },
    checkpoints: { type: 'string', default: '32,64,128' },
    'max-tokens': { type: 'string', default: '512' },
    threads: { type: 'string', default: '1' },
    seed: { type: 'string', default: '1' },
    out: { type: 'string', default: join(here, '../results/peers-arith') }
  }
})
const options = {
  n: Number(values.n),
  alpha: Number(values.alpha),
  checkpoints: values.checkpoints.split(',').map(Number),
  max_tokens: Number(values['max-tokens'])
}

/** Transformers in a process of its own, asked line by line. */
class Peer {
  #child
  #lines

  constructor(folder) {
    const paths = [folder, embedded.head, join(here, '../../models/fixture.json')]
    const env = { ...process.env, OMP_NUM_THREADS: values.threads, TRANSFORMERS_VERBOSITY: 'error' }
    const args = [join(here, 'peer.py'), ...paths, '--threads', values.threads]
    this.#child = spawn(values.python, args, { env, stdio: ['pipe', 'pipe', 'inherit'] })
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]()
  }

  async read() {
    const { value, done } = await this.#lines.next()
    if (done) throw new Error('Expected an answer of peer.py but received the end of its output')
    return JSON.parse(value)
  }

  ask(question) {
    this.#child.stdin.write(`${JSON.stringify(question)}\n`)
    return this.read()
  }

  async close() {
    const ended = once(this.#child, 'exit')
    this.#child.stdin.end()
    await ended
  }
}

const folder = await mkdtemp(join(tmpdir(), 'winnow-peers-'))
const engine = await open(undefined, { threads: Number(values.threads) })
let peer
try {
  const exported = spawn(values.python, [join(here, 'export.py'), embedded.model, folder], { stdio: 'inherit' })
  const [code] = await once(exported, 'exit')
  if (code !== 0) throw new Error(`Expected export.py to end with 0 but received ${code}`)
  peer = new Peer(folder)
  const { versions, arms: theirs } = await peer.read()
  const names = [...Object.keys(ours), ...theirs]
  const problems = await readProblems(values.prompts, Number(values.limit))
  const rows = await measured(problems, names, peer)
  const result = {
    ...(await provenanceOf(engine)),
    peers: versions,
    command: `node bench/peers/run.mjs ${process.argv.slice(2).filter(isShown).join(' ')}`.trim(),
    seed: values.seed,
    options: { ...options, threads: Number(values.threads), dtype: 'winnow f16 weights, transformers float32' },
    prompts: { file: basename(values.prompts), sha256: await sha256(values.prompts), complete: problems.length },
    arms: summarised(names, rows)
  }
  const table = tableOf(result.arms)
  await writeFile(`${values.out}.json`, `${JSON.stringify(result, null, 1)}\n`)
  await writeFile(`${values.out}.md`, `${table}\n`)
  console.log(table)
} finally {
  await peer?.close()
  await engine.close()
  await rm(folder, { recursive: true })
}

/** A committed result names no interpreter of somebody's machine. */
function isShown(word, i, all) {
  return !['--python', '--out'].includes(word) && !['--python', '--out'].includes(all[i - 1])
}

/** By arm: its rows, in the order of the problems. One prompt that does not count comes first, for all arms. */
async function measured(problems, names, peer) {
  const rows = new Map(names.map((name) => [name, []]))
  for (const [i, { prompt, answer }] of [problems[0], ...problems].entries()) {
    const turn = i % names.length
    for (const arm of [...names.slice(turn), ...names.slice(0, turn)]) {
      const seed = Number(values.seed) * 1_000_000 + i
      const row =
        ours[arm] === undefined ? await peer.ask({ arm, prompt, seed, options }) : await own(arm, prompt, seed)
      if (i > 0) rows.get(arm).push({ ...row, right: isRight(row.text, answer) })
    }
    process.stderr.write(`${i} of ${problems.length} prompts\n`)
  }
  return rows
}

async function own(arm, prompt, seed) {
  const began = performance.now()
  const row = await ours[arm](engine, prompt, options, BigInt(seed))
  return { ...row, wallSeconds: (performance.now() - began) / 1000 }
}

function summarised(names, rows) {
  const count = rows.get(names[0]).length
  const drawn = resamples(count, Number(values.seed))
  const average = (values) =>
    bootstrap(count, drawn, (items) => items.reduce((sum, item) => sum + Number(values[item]), 0) / items.length)
  return names.map((arm) => {
    const own = rows.get(arm)
    const keys = ['right', 'generatedTokens', 'processedTokens', 'wallSeconds']
    return { arm, ...Object.fromEntries(keys.map((key) => [key, average(own.map((row) => row[key]))])) }
  })
}

function tableOf(arms) {
  const text = ({ mean, low, high }, digits, scale = 1) =>
    `${(scale * mean).toFixed(digits)} [${(scale * low).toFixed(digits)}, ${(scale * high).toFixed(digits)}]`
  const rows = arms.map(({ arm, right, generatedTokens, processedTokens, wallSeconds }) => [
    arm,
    text(right, 1, 100),
    text(generatedTokens, 0),
    text(processedTokens, 0),
    text(wallSeconds, 2)
  ])
  return drawTable(['arm', 'right, %', 'tokens', 'rows decoded', 'seconds'], rows, 'md')
}
