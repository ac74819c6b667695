import { fileURLToPath } from 'node:url'

/** The small model and reward head inside the package, trained with the scripts under tools/; see models/README.md. */
export const embedded = {
  model: inPackage('models/winnow-arith.gguf'),
  head: inPackage('models/winnow-arith.head.gguf'),
  /** Problems the model was not trained on. */
  problems: inPackage('bench/problems/heldout.jsonl')
} as const

/** One of the held-out problems, with its answer. */
export const example = {
  prompt:
    'At first Ruth has 30 pens. In July, she gets 9 from Sam. In August, she makes it 2 times as many. In September, ' +
    'Ruth makes 2 equal piles and keeps one. In October, Ruth sells 36. In November, she makes it 2 times as many. ' +
    'In December, she buys 40 more. How many pens are there in the end?',
  answer: '46'
} as const

/** This file is one folder below the package, in src and in dist alike. */
function inPackage(path: string): string {
  return fileURLToPath(new URL(`../${path}`, import.meta.url))
}
