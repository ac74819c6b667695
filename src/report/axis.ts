import { decimal } from './wording.js'

/** How values lie along one side of a chart. */
export interface Axis {
  /** Value to coordinate. */
  at(value: number): number
  readonly ticks: readonly { readonly value: number; readonly text: string }[]
}

export interface Side {
  /** Coordinates of its ends. */
  readonly from: number
  readonly to: number
  readonly text?: (value: number) => string
}

/** From at most the lowest to at least the highest value, ends at ticks. */
export function linear(values: readonly number[], { from, to, text }: Side): Axis {
  const [low, high] = rangeOf(values)
  const step = stepFor(high - low)
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9))
  const written = text ?? ((value: number) => decimal(value, digits))
  const [first, last] = [Math.floor(low / step + 1e-9), Math.ceil(high / step - 1e-9)]
  const [begin, end] = [first * step, Math.max(first + 1, last) * step]
  const count = Math.max(first + 1, last) - first + 1
  return {
    at: (value) => from + ((value - begin) / (end - begin)) * (to - from),
    ticks: Array.from({ length: count }, (_, i) => tick((first + i) * step, written))
  }
}

/** For values above 0; ticks at 1, 2 and 5 times powers of ten, or at powers alone where these are many. */
export function logarithmic(values: readonly number[], { from, to, text = String }: Side): Axis {
  const positive = values.filter((value) => value > 0)
  const [low, high] = positive.length === 0 ? [1, 10] : [Math.min(...positive), Math.max(...positive)]
  // Room for signs at both ends.
  const pad = Math.max(0.05, 0.06 * Math.log10(high / low))
  const [begin, end] = [Math.log10(low) - pad, Math.log10(high) + pad]
  const all = Array.from({ length: Math.ceil(end) - Math.floor(begin) + 1 }, (_, i) => Math.floor(begin) + i)
  const factors = end - begin > 3 ? [1] : end - begin > 1 ? [1, 2, 5] : [1, 1.5, 2, 3, 5, 7]
  const places = all.flatMap((power) => factors.map((factor) => factor * 10 ** power))
  const inside = places.filter((value) => Math.log10(value) >= begin && Math.log10(value) <= end)
  return {
    at: (value) => from + ((Math.log10(value) - begin) / (end - begin)) * (to - from),
    ticks: inside.map((value) => tick(value, text))
  }
}

function tick(value: number, text: (value: number) => string) {
  // Sums of steps carry rounding with them.
  const round = Number(value.toPrecision(12))
  return { value: round, text: text(round) }
}

function rangeOf(values: readonly number[]): [number, number] {
  const finite = values.filter(Number.isFinite)
  if (finite.length === 0) return [0, 1]
  let [low, high] = [finite[0] as number, finite[0] as number]
  for (const value of finite) {
    low = Math.min(low, value)
    high = Math.max(high, value)
  }
  return low === high ? [low - Math.abs(low || 1) / 10, high + Math.abs(high || 1) / 10] : [low, high]
}

/** 1, 2 or 5 times a power of ten, so that about five of them make up the range. */
function stepFor(range: number): number {
  const rough = range / 5
  const power = 10 ** Math.floor(Math.log10(rough))
  const factor = rough / power
  return power * (factor < 1.5 ? 1 : factor < 3.5 ? 2 : factor < 7.5 ? 5 : 10)
}
