import { expected } from './errors.js'

const units: ReadonlyMap<string, number> = new Map([
  ['', 1],
  ['B', 1],
  ...['K', 'M', 'G', 'T'].flatMap((letter, i): [string, number][] => [
    [`${letter}B`, 1000 ** (i + 1)],
    [`${letter}iB`, 1024 ** (i + 1)]
  ])
])

/** Bytes written as `8GiB`, `500MB` or a plain number. Throws OPTION_INVALID. */
export function parseBytes(text: string, flag: string): number {
  const [, digits, unit] = /^\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*$/.exec(text) ?? []
  const factor = units.get(unit ?? '')
  const bytes = Math.floor(Number(digits) * (factor ?? Number.NaN))
  if (bytes >= 1 && Number.isSafeInteger(bytes)) return bytes
  throw expected('OPTION_INVALID', 'a number of bytes such as 8GiB, 500MB or 1000000', flag, text)
}

/** In the largest binary unit that leaves a whole part, with three digits: `1.50 GiB`. */
export function bytesText(bytes: number): string {
  const names = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB']
  let [value, i] = [bytes, 0]
  while (value >= 1024 && i < names.length - 1) {
    value /= 1024
    i++
  }
  return i === 0 ? `${Math.round(value)} bytes` : `${value.toPrecision(value >= 1000 ? 4 : 3)} ${names[i]}`
}
