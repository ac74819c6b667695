import type { NativeFit } from '../binding.js'
import type { HeadContent } from './file.js'

/** A fitted head: what it is made of, and its logit on a row of state and features. */
export interface HeadNet {
  readonly stateColumns: number
  readonly hidden: number
  readonly fit: NativeFit
}

/** The raw logit, as the addon computes it from the head file (silu(x) = x / (1 + exp(-x))). */
export function logitOf({ stateColumns, hidden, fit }: HeadNet, row: Float32Array): number {
  const { parameters, mean, deviation } = fit
  const columns = row.length
  const input = row.map((value, i) => {
    const feature = i - stateColumns
    return feature < 0 ? value : (value - (mean[feature] as number)) / (deviation[feature] as number)
  })
  const dot = (from: number) => {
    let sum = 0
    for (let i = 0; i < columns; i++) sum += (parameters[from + i] as number) * (input[i] as number)
    return sum
  }
  if (hidden === 0) return dot(0) + (parameters[columns] as number)
  const [biases, second] = [hidden * columns, hidden * columns + hidden]
  let logit = parameters[second + hidden] as number
  for (let unit = 0; unit < hidden; unit++) {
    const sum = dot(unit * columns) + (parameters[biases + unit] as number)
    logit += ((parameters[second + unit] as number) * sum) / (1 + Math.exp(-sum))
  }
  return logit
}

/** The layers as the head file has them. */
export function layersOf({ stateColumns, hidden, fit }: HeadNet): Pick<HeadContent, 'inner' | 'outer'> {
  const columns = stateColumns + fit.mean.length
  const part = (from: number, length: number) => fit.parameters.slice(from, from + length)
  if (hidden === 0) return { inner: null, outer: { weight: part(0, columns), bias: part(columns, 1) } }
  const second = hidden * columns + hidden
  return {
    inner: { weight: part(0, hidden * columns), bias: part(hidden * columns, hidden) },
    outer: { weight: part(second, hidden), bias: part(second + hidden, 1) }
  }
}
