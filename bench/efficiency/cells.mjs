// What the table has: a cell is one model, so many threads, prompts, prompt tokens and candidates. Candidates are as long
// as leaves a round a few seconds and no longer; the more candidates, the shorter.
import { models, pathOf } from './models.mjs'

const slow = ['node-llama-cpp']

/** Of the length each candidate has by itself, up to so many tokens: the problems are whole, and end tokens end. */
const own = { most: 400 }

/**
 * `length`: tokens of a candidate, or `own`. `rounds`: each contender is asked at least the first so often, unless a round
 * takes it more than 20 s, and until it has had the second or its share of `seconds`. `seconds`: what all of a cell takes on two cores of a server, with nothing else running.
 * `without`: who would take minutes a round. The most telling come first: whoever stops early has those.
 */
const rows = [
  // model, threads, prompts, prompt tokens, n, length, rounds, seconds, without
  ['embedded', 1, 1, 64, 16, 64, [3, 5], 15],
  ['embedded', 1, 1, 64, 64, 64, [2, 4], 35],
  ['embedded', 1, 1, 64, 256, 32, [2, 3], 45],
  ['embedded', 1, 1, 1000, 16, 64, [2, 4], 30],
  ['embedded', 1, 1, 1000, 64, 64, [2, 3], 80],
  ['embedded', 1, 1, 1000, 256, 32, [2, 2], 70, slow],
  ['embedded', 1, 64, 64, 16, 16, [2, 2], 65],
  ['embedded', 1, 1, 64, 16, own, [3, 5], 25],
  ['embedded', 1, 1, 64, 64, own, [2, 3], 70],
  ['embedded', 1, 1, 64, 256, own, [1, 2], 50, slow],
  ['large', 2, 1, 64, 16, 32, [3, 4], 50],
  ['large', 2, 1, 64, 64, 32, [2, 2], 75],
  ['large', 2, 1, 64, 256, 16, [1, 2], 65, slow],
  ['large', 2, 1, 64, 64, own, [1, 2], 75, slow],
  ['large', 2, 1, 1000, 16, 32, [2, 3], 75],
  ['large', 2, 1, 1000, 64, 32, [2, 2], 90, slow],
  ['large', 2, 1, 1000, 256, 16, [1, 2], 60, slow],
  ['embedded', 2, 1, 64, 16, 64, [3, 5], 20],
  ['embedded', 2, 1, 64, 64, 64, [2, 4], 50],
  ['embedded', 2, 1, 64, 256, 32, [2, 3], 25, slow],
  ['embedded', 2, 1, 1000, 16, 64, [2, 4], 30],
  ['embedded', 2, 1, 1000, 64, 64, [2, 3], 40, slow],
  ['embedded', 2, 64, 64, 16, 16, [2, 2], 40, slow],
  ['embedded', 2, 64, 1000, 16, 16, [1, 2], 110, slow],
  ['embedded', 1, 64, 64, 16, own, [1, 1], 100, slow],
  ['large', 2, 64, 64, 16, 8, [1, 1], 110, slow]
]

/** Cells of a second each, for tests and for a first look. */
const quick = [
  ['embedded', 1, 1, 64, 4, 8, [2, 2], 4],
  ['embedded', 1, 2, 64, 4, 8, [1, 1], 4],
  ['embedded', 1, 1, 64, 4, own, [1, 1], 4]
]

export function cellsOf(table = 'full') {
  return (table === 'quick' ? quick : rows).map(
    ([model, threads, prompts, promptTokens, n, length, [least, most], seconds, without = []]) => {
      const ends = length === own
      const id = `${model} ${threads} ${prompts} ${promptTokens} ${n}${ends ? ' own' : ''}`
      const work = { model, threads, prompts, promptTokens, n, length: ends ? own.most : length, ends }
      return { id, ...work, least, most, seconds, without }
    }
  )
}

/** Those whose `key` is one of what `filters` has for it, such as { n: '16,64' }; a filter that is undefined lets all by. */
export function selected(cells, filters) {
  const wanted = Object.entries(filters).filter(([, list]) => list !== undefined)
  return cells.filter((cell) => wanted.every(([key, list]) => list.split(',').includes(String(cell[key]))))
}

/** What a contender is told of a cell besides: the model's file, and how many tokens a candidate may hold with its prompt. */
export function placed(cell) {
  const { context } = models[cell.model]
  const most = longest * targetOf(cell) + cell.length
  return { ...cell, path: pathOf(cell.model), cells: Math.min(context, Math.ceil(most / 256) * 256) }
}

/** How much longer than it was asked to be a prompt may be: its text is cut by characters. */
const longest = 1.08

/** Prompt tokens that are aimed at: a thousand where the model was trained for so many and the answer besides. */
export function targetOf({ model, promptTokens, length }) {
  const { context } = models[model]
  return Math.min(promptTokens, Math.floor((context - length) / longest))
}
