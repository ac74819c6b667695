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
