const marked = /The answer is\s*(-?\d[\d,]*(?:\.\d+)?)/g
const markedText = /The answer is:?(?=([^\n]*))/gi
const sentenceEnd = /^(?:[.!?](?=\s|$)|$)/

/** The last number after "The answer is", or null where there is none. */
export function answerOf(text: string): number | null {
  const last = [...text.matchAll(marked)].at(-1)?.[1]
  return last === undefined ? null : Number(last.replaceAll(',', ''))
}

/**
 * Whether a solution ends with the right answer. The policy never sees this.
 *
 * A right answer that is a number is compared, as a number, with the last number after "The answer is". Any other is
 * compared as text, whatever its case and spacing: with what follows the last "The answer is" in its sentence, or in
 * a solution without these words with its last line, a full stop at the end left out.
 */
export function isRight(text: string, right: string): boolean {
  const number = numberOf(right)
  if (number !== null) return answerOf(text) === number
  const wanted = plain(right)
  const said = [...text.matchAll(markedText)].at(-1)?.[1]
  const given = plain(said ?? text.trim().split('\n').at(-1) ?? '')
  if (wanted === '' || !given.startsWith(wanted)) return false
  const rest = given.slice(wanted.length)
  return said === undefined ? /^[.!?]?$/.test(rest) : sentenceEnd.test(rest)
}

/** Null where the text is no number. */
function numberOf(text: string): number | null {
  const number = Number(text.replaceAll(',', ''))
  return text.trim() === '' || !Number.isFinite(number) ? null : number
}

function plain(text: string): string {
  return text.normalize('NFC').trim().replaceAll(/\s+/g, ' ').toLowerCase()
}
