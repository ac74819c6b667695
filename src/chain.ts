import { crc32 } from 'node:zlib'

/** Of `,"crc32":"01234567"}`, bytes. */
const sealBytes = 20

/**
 * Lines of JSON that hang together: each ends in a checksum over its own bytes and the checksum of the line before, so that
 * a line that was changed, lost or put in is seen.
 */
export class Chain {
  /** Of the last line. */
  #sum = 0

  /** Whether a line is as it was written, behind the one before; then it is the last. */
  holds(bytes: Buffer): boolean {
    const end = Math.max(0, bytes.length - sealBytes)
    const sum = crc32(bytes.subarray(0, end), this.#sum)
    if (bytes.toString('latin1', end) !== sealOf(sum)) return false
    this.#sum = sum
    return true
  }

  /** A line with its checksum and its line feed; it is the last from now on. */
  seal(value: object): Buffer {
    const open = Buffer.from(JSON.stringify(value).slice(0, -1))
    this.#sum = crc32(open, this.#sum)
    return Buffer.concat([open, Buffer.from(`${sealOf(this.#sum)}\n`)])
  }
}

function sealOf(sum: number): string {
  return `,"crc32":"${sum.toString(16).padStart(8, '0')}"}`
}
