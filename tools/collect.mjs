// Draws many solutions to each problem with Winnow's own engine and keeps what the head is fitted on.
//
//   node tools/collect.mjs --problems tools/build/train.jsonl --samples 16 --spread 3 --seed 11 --out tools/build/train
//
// For every solution: whether it is right, its length, and at some positions the final-norm state and the confidence
// features. Positions are the ends of the four quarters of the answer (the last one is the last token before the end)
// and, with --spread N, N random ones in each quarter. Writes OUT.json and OUT.f32 (solution-major, position-major,
// state then features), which tools/collected.py reads.
import { closeSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { embedded, every, open } from '../dist/index.js'
import { isRight } from '../dist/verifier.js'

const { values } = parseArgs({
  options: {
    model: { type: 'string', default: embedded.model },
    problems: { type: 'string' },
    skip: { type: 'string', default: '0' },
    limit: { type: 'string', default: '1000000' },
    samples: { type: 'string', default: '64' },
    spread: { type: 'string', default: '0' },
    seed: { type: 'string', default: '11' },
    threads: { type: 'string', default: '1' },
    out: { type: 'string' }
  }
})
const [samples, spread, seed, skip] = [values.samples, values.spread, values.seed, values.skip].map(Number)
const lines = readFileSync(values.problems, 'utf8').trim().split('\n')
const problems = lines.map((line) => JSON.parse(line)).slice(skip, skip + Number(values.limit))

/** Deterministic numbers in [0, 1): mulberry32. */
function randomFrom(start) {
  let state = start >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

/** A scorer that scores nothing and keeps, for every branch, the row of every token. */
function recorder(width, features) {
  const rows = Array.from({ length: samples }, () => [])
  return {
    rows,
    name: 'recorder',
    needs: ['states'],
    async score(candidates, { pool }) {
      const ids = Int32Array.from(candidates, ({ id }) => id)
      const states = await pool.states(ids)
      const confidence = await pool.confidence(ids)
      for (const [i, { id, tokens }] of candidates.entries()) {
        if (tokens.length <= rows[id].length) continue
        const row = new Float32Array(width + features)
        row.set(states.subarray(i * width, (i + 1) * width))
        row.set(confidence.subarray(i * features, (i + 1) * features), width)
        rows[id].push(row)
      }
      return new Float32Array(candidates.length)
    }
  }
}

/** Token counts at which to look. */
function positions(length, random) {
  const ends = [0.25, 0.5, 0.75, 1].map((quarter) => Math.max(1, Math.ceil(length * quarter)))
  const inside = ends.flatMap((end, quarter) => {
    const begin = quarter === 0 ? 0 : ends[quarter - 1]
    return Array.from({ length: spread }, () => Math.min(end, begin + 1 + Math.floor(random() * (end - begin))))
  })
  return [...ends, ...inside]
}

const engine = await open(values.model, { head: null, threads: Number(values.threads) })
const { width } = engine.model
const features = 9
const file = openSync(`${values.out}.f32`, 'w')
const found = { width, features, samples, positions: 4 + 4 * spread, events: [], right: [], lengths: [], at: [] }
const random = randomFrom(seed)
const startedAt = performance.now()
let tokens = 0
for (const [index, { prompt, answer }] of problems.entries()) {
  const scorer = recorder(width, features)
  const result = await engine.bestOf(samples, prompt, { scorer, checkpoints: every(1), seed, maxTokens: 600 })
  const block = new Float32Array(samples * found.positions * (width + features))
  found.events.push(prompt.split(' In ').length - 1)
  for (const { id, text, status, tokens: written } of result.branches) {
    const length = Math.max(1, written.length)
    const at = positions(length, random)
    found.right.push(status.reason === 'end' && isRight(text, answer))
    found.lengths.push(length)
    found.at.push(at)
    for (const [i, position] of at.entries()) {
      const row = scorer.rows[id][position - 1]
      if (row !== undefined) block.set(row, (id * found.positions + i) * (width + features))
    }
    tokens += written.length
  }
  writeSync(file, new Uint8Array(block.buffer))
  if (index % 20 === 19) {
    const seconds = (performance.now() - startedAt) / 1000
    process.stderr.write(`${index + 1} problems, ${tokens} tokens in ${seconds.toFixed(0)} s\n`)
  }
}
closeSync(file)
writeFileSync(`${values.out}.json`, JSON.stringify({ ...found, tokens }))
await engine.close()
