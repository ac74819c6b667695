/**
 * A head's score as a line of its logit, by position: scale(x) * logit + bias(x) at x = log(1 + tokens written). Both
 * are linear in x between the knots and constant beyond them, so candidates of equal length keep their order.
 */
export interface PositionLine {
  /** Ascending, at least one. */
  readonly logTokens: readonly number[]
  /** One a knot, positive. */
  readonly scale: readonly number[]
  readonly bias: readonly number[]
}

/** One look: the head's logit there, and how much has been written. */
export interface Placed {
  readonly logit: number
  readonly logTokens: number
}

/** Knots a line has where looks lie at enough positions. */
const knotCount = 5

/** As the addon computes it from the head file (native/engine/head.h); a null line is the logit itself. */
export function scoreAt(line: PositionLine | null, { logit, logTokens }: Placed): number {
  if (line === null) return logit
  const weights = weightsAt(line.logTokens, logTokens)
  const at = (values: readonly number[]) => weights.reduce((sum, [knot, part]) => sum + part * (values[knot] ?? 0), 0)
  return at(line.scale) * logit + at(line.bias)
}

/** Knots at even shares of the looks, the first and the last look among them; one where all are at one position. */
export function knotsOf(logTokens: readonly number[]): number[] {
  const sorted = [...logTokens].sort((a, b) => a - b)
  const picked = Array.from({ length: knotCount }, (_, i) =>
    // The file holds 32-bit floats.
    Math.fround(sorted[Math.round((i / (knotCount - 1)) * (sorted.length - 1))] ?? 0)
  )
  return [...new Set(picked)]
}

/** The line of `outer` on the score of `inner`, where the two have the same knots or either has one. */
export function composed(outer: PositionLine, inner: PositionLine | null): PositionLine {
  if (inner === null) return outer
  const logTokens = inner.logTokens.length > 1 ? inner.logTokens : outer.logTokens
  const both = logTokens.map((at) => {
    const zero = scoreAt(outer, { logit: scoreAt(inner, { logit: 0, logTokens: at }), logTokens: at })
    const one = scoreAt(outer, { logit: scoreAt(inner, { logit: 1, logTokens: at }), logTokens: at })
    return { scale: one - zero, bias: zero }
  })
  return { logTokens, scale: both.map(({ scale }) => scale), bias: both.map(({ bias }) => bias) }
}

/** As the file holds it, in 32-bit floats: what is measured is what is stored. */
export function stored({ logTokens, scale, bias }: PositionLine): PositionLine {
  return { logTokens, scale: scale.map(Math.fround), bias: bias.map(Math.fround) }
}

type Weight = readonly [knot: number, part: number]

/** How much each knot says at a position: at most two do, and their parts add up to 1. */
export function weightsAt(knots: readonly number[], x: number): readonly Weight[] {
  const above = knots.findIndex((knot) => knot > x)
  if (above === 0) return [[0, 1]]
  if (above < 0) return [[knots.length - 1, 1]]
  const [low, high] = [knots[above - 1] as number, knots[above] as number]
  const part = (x - low) / (high - low)
  return [
    [above - 1, 1 - part],
    [above, part]
  ]
}
