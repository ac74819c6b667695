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
    'Mia starts with 35 stamps. In September, the number grows to 2 times as many. In October, Mia uses 43. In ' +
    'November, Mia buys 33 more. In December, Mia gets 33 from Lily. In January, she gives 8 to each of 2 ' +
    'friends. In February, she wins 18. In March, Mia makes it 2 times as many. In April, Mia sells 13. How many ' +
    'stamps are there in the end?',
  answer: '177'
} as const

/** This file is one folder below the package, in src and in dist alike. */
function inPackage(path: string): string {
  return fileURLToPath(new URL(`../${path}`, import.meta.url))
}
