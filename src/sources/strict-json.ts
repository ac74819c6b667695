/** The header of a safetensors file has four a tensor. */
const maxKeys = 1_000_000

/**
 * JSON from strangers. The language's own reader lets the last of two equal keys win, other readers the first: a file
 * that repeats a key says different things to different programs, so here it is an error. So are more nesting and
 * more keys than any real file has: reading them would take a minute.
 *
 * Throws SyntaxError, whose message continues "but received ...".
 */
export function parseStrictJson(text: string, maxDepth: number): unknown {
  refuse(text, maxDepth)
  try {
    return JSON.parse(text)
  } catch (error) {
    // The reader's own message may quote pages of the text.
    throw new SyntaxError(`text that is not JSON (${(error as Error).message.slice(0, 80)})`, { cause: error })
  }
}

/**
 * Whether a value is an object and not an array or null, whose keys are then its own: a key may be called
 * "constructor" and means nothing by it.
 */
export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Walks strings and brackets only; whatever else is wrong is found by the parser after it. */
function refuse(text: string, maxDepth: number): void {
  const keys: (Set<string> | null)[] = []
  let count = 0
  for (let at = 0; at < text.length; at++) {
    const character = text[at]
    if (character === '{' || character === '[') {
      keys.push(character === '{' ? new Set() : null)
      if (keys.length > maxDepth) throw new SyntaxError(`JSON nested more than ${maxDepth} deep`)
    } else if (character === '}' || character === ']') {
      keys.pop()
    } else if (character === '"') {
      const end = endOfString(text, at)
      const known = keys.at(-1)
      if (known && isKey(text, end)) {
        const key = unescaped(text.slice(at, end))
        if (known.has(key)) throw new SyntaxError(`JSON with the key ${JSON.stringify(key.slice(0, 60))} twice`)
        known.add(key)
        if (++count > maxKeys) throw new SyntaxError(`JSON of more than ${maxKeys} keys`)
      }
      at = end - 1
    }
  }
}

/** The position after the closing quote, or the end of the text. */
function endOfString(text: string, start: number): number {
  let at = start + 1
  while (at < text.length && text[at] !== '"') at += text[at] === '\\' ? 2 : 1
  return Math.min(at + 1, text.length)
}

function isKey(text: string, from: number): boolean {
  let at = from
  while (text[at] === ' ' || text[at] === '\n' || text[at] === '\r' || text[at] === '\t') at++
  return text[at] === ':'
}

/** Two spellings of a key are one key; what cannot be read is left to the parser. */
function unescaped(quoted: string): string {
  if (!quoted.includes('\\')) return quoted.slice(1, -1)
  try {
    return JSON.parse(quoted) as string
  } catch {
    return quoted
  }
}
