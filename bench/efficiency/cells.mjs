// What the table has: a cell is one model, so many threads, prompts, prompt tokens and candidates. Candidates are as long
// as leaves a round a few seconds and no longer; the more candidates, the shorter.
import { models, pathOf } from './models.mjs'

const slow = ['node-llama-cpp']

/**
 * `length`: tokens of a candidate. `rounds`: each contender is asked at least the first so often, and until it has had the
 * second or its share of `seconds`. `seconds`: what all of a cell takes on two cores of a server, with nothing else running.
 * `without`: who would take minutes a round. The most telling come first: whoever stops early has those.
 */
const rows = [
  // model, threads, prompts, prompt tokens, n, length, rounds, seconds, without
  ['embedded', 1, 1, 64, 16, 64, [3, 5], 15],
  ['embedded', 1, 1, 64, 64, 64, [2, 4], 35],
  ['embedded', 1, 1, 64, 256, 32, [2, 3], 45],
  ['embedded', 1, 1, 1000, 16, 64, [2, 4], 30],
  ['embedded', 1, 1, 1000, 64, 64, [2, 3], 60, slow],
  ['embedded', 1, 1, 1000, 256, 32, [2, 2], 70, slow],
  ['embedded', 1, 64, 64, 16, 16, [2, 2], 65],
  ['large', 2, 1, 64, 16, 32, [3, 4], 50],
  ['large', 2, 1, 64, 64, 32, [2, 2], 75],
  ['large', 2, 1, 64, 256, 16, [2, 2], 100, slow],
  ['large', 2, 1, 1000, 16, 32, [2, 3], 75],
  ['large', 2, 1, 1000, 64, 32, [2, 2], 90, slow],
  ['large', 2, 1, 1000, 256, 16, [2, 2], 110, slow],
  ['embedded', 2, 1, 64, 16, 64, [3, 5], 20],
  ['embedded', 2, 1, 64, 64, 64, [2, 4], 50],
  ['embedded', 2, 1, 64, 256, 32, [2, 3], 25, slow],
  ['embedded', 2, 1, 1000, 16, 64, [2, 4], 30],
  ['embedded', 2, 1, 1000, 64, 64, [2, 3], 40, slow],
  ['embedded', 2, 1, 1000, 256, 32, [2, 2], 45, slow],
  ['embedded', 2, 64, 64, 16, 16, [2, 2], 40, slow],
  ['embedded', 2, 64, 1000, 16, 16, [2, 2], 200, slow],
  ['large', 2, 64, 64, 16, 8, [1, 2], 110, slow]
]

/** One cell that takes a second, for tests and for a first look. */
const quick = [
  ['embedded', 1, 1, 64, 4, 8, [2, 2], 4],
  ['embedded', 1, 2, 64, 4, 8, [1, 1], 4]
]

export function cellsOf(table = 'full') {
  return (table === 'quick' ? quick : rows).map(
    ([model, threads, prompts, promptTokens, n, length, [least, most], seconds, without = []]) => {
      const id = `${model} ${threads} ${prompts} ${promptTokens} ${n}`
      return { id, model, threads, prompts, promptTokens, n, length, least, most, seconds, without }
    }
  )
}

/** Those whose `key` is one of what `filters` has for it, such as { n: '16,64' }; a filter that is undefined lets all by. */
export function selected(cells, filters) {
  const wanted = Object.entries(filters).filter(([, list]) => list !== undefined)
  return cells.filter((cell) => wanted.every(([key, list]) => list.split(',').includes(String(cell[key]))))
}

/** What a contender is told of a cell besides. */
export function placed(cell) {
  // A prompt is never just as long as it was asked to be.
  const prompt = targetOf(cell) * 1.1 + 16
  return { ...cell, path: pathOf(cell.model), cells: Math.ceil((prompt + cell.length) / 256) * 256 }
}

/** Prompt tokens that are aimed at: a thousand where the model was trained for so many and the answer besides. */
export function targetOf({ model, promptTokens, length }) {
  const { context } = models[model]
  return Math.min(promptTokens, Math.floor((context - length) / 1.1))
}
