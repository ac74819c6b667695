import { abortable, onAbort } from '../abort.js'
import { expected, WinnowError } from '../errors.js'
import type { Call } from './call.js'
import type { ResolvedLimits } from './limits.js'

/**
 * The JSON object of a body. Anything but `application/json` is refused: a page on another site can make a browser post
 * plain text to this machine, but not JSON.
 *
 * Throws MEDIA_UNSUPPORTED, REQUEST_INVALID, REQUEST_TOO_LARGE, REQUEST_TOO_SLOW.
 */
export async function readBody(call: Call, limits: ResolvedLimits): Promise<Record<string, unknown>> {
  const type = call.header('content-type')
  if (type === null || !/^application\/json\s*(;|$)/i.test(type)) {
    throw expected('MEDIA_UNSUPPORTED', 'application/json', 'content-type', type ?? undefined)
  }
  const encoding = call.header('content-encoding')
  if (encoding !== null && encoding !== 'identity') {
    throw expected('MEDIA_UNSUPPORTED', 'no encoding', 'content-encoding', encoding)
  }
  const announced = Number(call.header('content-length') ?? 0)
  if (announced > limits.body) throw tooLarge(limits.body, announced)
  const value = parse(await readText(call, limits), limits.depth)
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  throw expected('REQUEST_INVALID', 'a JSON object', 'the body', value)
}

async function readText(call: Call, limits: ResolvedLimits): Promise<string> {
  const late = new AbortController()
  const timer = setTimeout(() => {
    const message = `Expected a body within ${limits.bodyMs} ms but received a part of one`
    late.abort(new WinnowError('REQUEST_TOO_SLOW', message))
  }, limits.bodyMs)
  const undo = onAbort(call.signal, () => late.abort(call.signal.reason))
  const chunks = call.chunks()[Symbol.asyncIterator]()
  const parts: Uint8Array[] = []
  let size = 0
  try {
    for (let next = await abortable(chunks.next(), late.signal); !next.done; ) {
      size += next.value.byteLength
      if (size > limits.body) throw tooLarge(limits.body, size)
      parts.push(next.value)
      next = await abortable(chunks.next(), late.signal)
    }
  } finally {
    clearTimeout(timer)
    undo()
    // What is left of the body is not ours. One that is slow is let go with its next bytes.
    chunks.return?.(undefined).catch(() => {})
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(parts))
  } catch (error) {
    throw new WinnowError('REQUEST_INVALID', 'Expected UTF-8 for the body but received other bytes', { cause: error })
  }
}

function parse(text: string, depth: number): unknown {
  const found = depthOf(text)
  if (found > depth) throw expected('REQUEST_INVALID', `at most ${depth} levels`, 'the body', found)
  try {
    return JSON.parse(text)
  } catch (error) {
    // What the parser says quotes the body.
    throw new WinnowError('REQUEST_INVALID', 'Expected JSON for the body but received something else', { cause: error })
  }
}

/** Of arrays and objects in one another, before anything walks them. */
function depthOf(text: string): number {
  let [depth, deepest] = [0, 0]
  let quoted = false
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (quoted) {
      if (code === 0x5c) i++
      else if (code === 0x22) quoted = false
    } else if (code === 0x22) quoted = true
    else if (code === 0x7b || code === 0x5b) deepest = Math.max(deepest, ++depth)
    else if (code === 0x7d || code === 0x5d) depth--
  }
  return deepest
}

function tooLarge(most: number, received: number): WinnowError {
  return expected('REQUEST_TOO_LARGE', `at most ${most} bytes`, 'the body', received)
}
