import type { Reading } from './mirror.js'

/** How the scores of an answer's steps become one. */
export type StepAggregate = 'last' | 'min' | 'product'

/**
 * One number out of a process reward model's logits: the last step's; the smallest (Lightman et al., "Let's Verify
 * Step by Step", 2023, and Wang et al., "Math-Shepherd", 2024, use both of these); or the logarithm of the product of
 * the steps' probabilities. `open`: a step is still growing, and `whole` is its logit so far.
 */
export function stepScore({ whole, steps }: Reading, open: boolean, aggregate: StepAggregate): number {
  const logits = open ? [...steps, whole] : steps
  if (aggregate === 'last') return logits.at(-1) as number
  if (aggregate === 'min') return Math.min(...logits)
  return logits.reduce((sum, logit) => sum + logSigmoid(logit), 0)
}

/** ln(1 / (1 + e^-x)), exact for large and small x. */
function logSigmoid(x: number): number {
  return x >= 0 ? -Math.log1p(Math.exp(-x)) : x - Math.log1p(Math.exp(x))
}
