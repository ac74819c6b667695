import type { Interval } from '../statistics.js'

/** A number with so many decimals, and thousands apart. */
export function decimal(value: number, digits: number): string {
  const [whole = '', part] = value.toFixed(digits).split('.')
  const apart = whole.replace(/\B(?=(\d{3})+$)/g, ',')
  const text = part === undefined ? apart : `${apart}.${part}`
  return Number(text.replaceAll(',', '')) === 0 ? text.replace('-', '') : text.replace('-', '−')
}

/** "88.3%". */
export function percent(share: number): string {
  return `${decimal(100 * share, 1)}%`
}

/** "39%", "4.2%". */
export function part(share: number): string {
  return `${decimal(100 * share, share < 0.0995 ? 1 : 0)}%`
}

/** "39%", however small. */
export function whole(share: number): string {
  return `${decimal(100 * share, 0)}%`
}

/** "+1.8", "−1.2". */
export function signed(value: number): string {
  const text = decimal(Math.abs(value), 1)
  return text === '0.0' ? text : `${value < 0 ? '−' : '+'}${text}`
}

/** "−1.2 points", "−1.2 points of the score range". */
export function points(gain: number, measure: 'right' | 'regret'): string {
  return `${signed(100 * gain)} points${measure === 'regret' ? ' of the score range' : ''}`
}

/** "88.3% [85.7, 90.8]", or "-" for what is not known. */
export function within(interval: Interval | null, text: (value: number) => string): string {
  if (interval === null || Number.isNaN(interval.mean)) return '-'
  const [low, high] = [text(interval.low), text(interval.high)].map((end) => end.replace('%', ''))
  return `${text(interval.mean)} [${low}, ${high}]`
}
