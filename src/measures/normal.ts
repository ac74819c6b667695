/** The standard normal distribution. */

const density = (x: number) => Math.exp(-0.5 * x * x) / Math.sqrt(2 * Math.PI)

/** Pr(X <= x): the series of Marsaglia 2004 (Journal of Statistical Software 11(4)), to about 1e-15. */
export function normalCdf(x: number): number {
  if (Math.abs(x) > 8) return x > 0 ? 1 : 0
  let [sum, term] = [x, x]
  for (let i = 3; sum + term !== sum; i += 2) {
    term *= (x * x) / i
    sum += term
  }
  return 0.5 + sum * density(x)
}

/** The x of a probability, by halving. 0 <= p <= 1; the ends are infinite. */
export function normalQuantile(p: number): number {
  if (p <= 0 || p >= 1) return p <= 0 ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY
  let [low, high] = [-9, 9]
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2
    if (normalCdf(middle) < p) low = middle
    else high = middle
  }
  return (low + high) / 2
}

/** The expected greatest of n independent normal numbers: Simpson's rule on n x density(x) Phi(x)^(n - 1). n >= 1. */
export function expectedMaximum(n: number): number {
  const [from, to, steps] = [-8, 9, 1700]
  const width = (to - from) / steps
  let sum = 0
  for (let i = 0; i <= steps; i++) {
    const x = from + i * width
    const weight = i === 0 || i === steps ? 1 : i % 2 === 0 ? 2 : 4
    sum += weight * n * x * density(x) * normalCdf(x) ** (n - 1)
  }
  return (sum * width) / 3
}
