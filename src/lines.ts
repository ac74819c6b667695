import type { FileHandle } from 'node:fs/promises'

/** A line as it lies among the bytes of a file, without its line feed. */
export interface Line {
  readonly bytes: Buffer
  /** The byte at which it begins. */
  readonly start: number
  /** Whether a line feed follows. Only the last line may have none. */
  readonly ended: boolean
}

const chunkBytes = 1 << 20

/**
 * The lines of what comes in chunks, of which no more than one line and a chunk lie in memory. They end at line feeds alone: node:readline
 * also ends them at U+2028, which JSON allows within a text.
 */
export async function* linesOf(
  chunks: Iterable<Buffer> | AsyncIterable<Buffer>
): AsyncGenerator<Line, void, undefined> {
  let pieces: Buffer[] = []
  let start = 0
  for await (const chunk of chunks) {
    let from = 0
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, from)) {
      const bytes = Buffer.concat([...pieces, chunk.subarray(from, end)])
      yield { bytes, start, ended: true }
      pieces = []
      start += bytes.length + 1
      from = end + 1
    }
    if (from < chunk.length) pieces.push(chunk.subarray(from))
  }
  if (pieces.length > 0) yield { bytes: Buffer.concat(pieces), start, ended: false }
}

/** What a file holds, from its beginning on. */
export async function* chunksOf(file: FileHandle): AsyncGenerator<Buffer, void, undefined> {
  for (let position = 0; ; ) {
    const { buffer, bytesRead } = await file.read({ buffer: Buffer.allocUnsafe(chunkBytes), position })
    if (bytesRead === 0) return
    yield buffer.subarray(0, bytesRead)
    position += bytesRead
  }
}
