import type { RoutineInput } from './routine.js'

export interface NumericSettings {
  /** The right number. */
  readonly answer: number
  /** Largest difference, as a share of the answer's size, of 1 where that is smaller. */
  readonly tolerance: number
}

/** Whether the answer of the text is the right number. A percent sign or a unit behind it is not read. */
export function verify({ text }: Pick<RoutineInput, 'text'>, { answer, tolerance }: NumericSettings): boolean {
  const found = numberIn(text)
  return found !== null && Math.abs(found - answer) <= tolerance * Math.max(1, Math.abs(answer))
}

const number = /[-+]?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+|(?=\.\d))(?:\.\d+)?(?:[eE][-+]?\d{1,3}(?!\d))?/
const fraction = new RegExp(`^(${number.source})\\s?/\\s?(${number.source})`)
const latexFraction = /^(-?)\\d?frac\{(-?\d+)\}\{(-?\d+)\}/

/** How far behind a mark its number may begin, characters. */
const reach = 60

/**
 * The number a text gives as its answer: what stands in the last \boxed{}, behind the last ####, or behind the last word
 * "answer"; else the last number of all. Reads 1,250, -2.5, 1e3, 3/4 and \frac{3}{4}. Null where there is none.
 */
export function numberIn(text: string): number | null {
  const plain = text.replaceAll('\u2212', '-')
  for (const behind of [last(plain, '\\boxed{'), last(plain, '####'), lastAnswer(plain)]) {
    const found = behind === null ? null : firstNumber(behind.slice(0, reach + 40))
    if (found !== null) return found
  }
  const all = [...plain.matchAll(new RegExp(number, 'g'))].at(-1)
  return all === undefined ? null : firstNumber(plain.slice(beforeFraction(plain, all.index)))
}

function last(text: string, mark: string): string | null {
  const at = text.lastIndexOf(mark)
  return at < 0 ? null : text.slice(at + mark.length)
}

function lastAnswer(text: string): string | null {
  const at = [...text.matchAll(/\banswer\b/gi)].at(-1)
  return at === undefined ? null : text.slice(at.index + at[0].length)
}

/** Of "3/4" the last number is 4, but the answer begins at the 3. */
function beforeFraction(text: string, at: number): number {
  const before = text.slice(Math.max(0, at - 40), at).match(new RegExp(`(?<![\\w.,/])${number.source}\\s?/\\s?$`))
  return before === null ? at : at - before[0].length
}

function firstNumber(text: string): number | null {
  const start = text.search(/[-+]?\.?\d|-?\\d?frac\{/)
  if (start < 0 || start > reach) return null
  const from = text.slice(start)
  const latex = from.match(latexFraction)
  if (latex !== null) return finite((latex[1] === '-' ? -1 : 1) * (Number(latex[2]) / Number(latex[3])))
  const parts = from.match(fraction)
  if (parts !== null) return finite(spelled(parts[1] as string) / spelled(parts[2] as string))
  const single = from.match(number)
  return single === null ? null : finite(spelled(single[0]))
}

function spelled(text: string): number {
  return Number(text.replaceAll(',', ''))
}

function finite(value: number): number | null {
  return Number.isFinite(value) ? value : null
}
