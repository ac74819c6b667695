import { setImmediate } from 'node:timers/promises'
import { crossEntropy, entropyOf, fitted, type LabelledLook, rowsOf } from './logistic.js'
import { composed, type PositionLine, scoreAt, stored } from './position.js'

/** Parts of the prompts for cross-validation. */
const folds = 4

/**
 * Platt's calibration by position: the line under which sigmoid(score) is the likelihood of label 1, by maximum
 * likelihood (Platt, "Probabilistic outputs for support vector machines", 1999) with a prior of deviation 1 around the
 * score of `line`. A look counts `worth`, 1 where each is another answer's: looks at one answer share its label.
 * `knots` of one position make one scale and bias for all.
 */
export function calibrated(
  looks: readonly LabelledLook[],
  knots: readonly number[],
  line: PositionLine | null,
  worth = 1
): PositionLine {
  const at = fitted(rowsOf(looks, knots, line), knots.length, worth)
  const outer = { logTokens: knots, scale: [...at.subarray(0, knots.length)], bias: [...at.subarray(knots.length)] }
  return stored(composed(outer, line))
}

/**
 * Of no calibration, one scale and bias for all positions, and those by position, what foretells labels best: the
 * least cross-entropy on each quarter of the prompts when it is fitted to the others. Null for none of `line` either.
 * Lets the event loop run between fits; rejects with the signal's reason.
 */
export async function bestCalibrated(
  looks: readonly (LabelledLook & { readonly prompt: number })[],
  ways: readonly (readonly number[])[],
  line: PositionLine | null,
  worth = 1,
  signal?: AbortSignal
): Promise<PositionLine | null> {
  const places = new Map([...new Set(looks.map(({ prompt }) => prompt))].map((prompt, i) => [prompt, i % folds]))
  const fold = Uint8Array.from(looks, ({ prompt }) => places.get(prompt) as number)
  let best = looks.reduce((loss, look) => loss + crossEntropy(scoreAt(line, look), look.label), 0)
  let way: readonly number[] | null = null
  for (const knots of ways) {
    const rows = rowsOf(looks, knots, line, fold)
    let loss = 0
    for (let one = 0; one < folds; one++) {
      await setImmediate()
      signal?.throwIfAborted()
      const at = fitted(rows, knots.length, worth, (other) => other !== one)
      loss += entropyOf(rows, at, (other) => other === one)
    }
    if (loss < best) [best, way] = [loss, knots]
  }
  await setImmediate()
  signal?.throwIfAborted()
  return way === null ? line : calibrated(looks, way, line, worth)
}
