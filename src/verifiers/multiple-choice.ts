import type { RoutineInput } from './routine.js'

export interface MultipleChoiceSettings {
  /** The right letter, one of `choices`. */
  readonly answer: string
  /** All letters, upper case. */
  readonly choices: string
}

/** Whether the text chooses the right letter. */
export function verify({ text }: Pick<RoutineInput, 'text'>, { answer, choices }: MultipleChoiceSettings): boolean {
  return choiceIn(text, choices) === answer
}

/** How far behind a mark its letter may stand, characters. */
const reach = 40

/**
 * The letter a text chooses: in the last \boxed{}, or behind the last word "answer"; else its last line, where that is
 * one letter and nothing else. Upper case, or any case in brackets: "(b)". Null where there is none.
 */
export function choiceIn(text: string, choices = 'ABCD'): string | null {
  const boxed = text.lastIndexOf('\\boxed{')
  const answer = [...text.matchAll(/\banswer\b/gi)].at(-1)
  const starts = [boxed < 0 ? null : boxed + 7, answer === undefined ? null : answer.index + answer[0].length]
  for (const start of starts) {
    const found = start === null ? null : letterIn(text.slice(start, start + reach), choices)
    if (found !== null) return found
  }
  const line = text.trimEnd().split('\n').at(-1) ?? ''
  return line.length <= reach && line.replace(/[^\p{L}\p{N}]/gu, '').length === 1 ? letterIn(line, choices) : null
}

function letterIn(text: string, choices: string): string | null {
  for (const [, bracketed, bare] of text.matchAll(/[([](\p{L})[)\]]|(?<![\p{L}\p{N}'])(\p{Lu})(?![\p{L}\p{N}'])/gu)) {
    const letter = (bracketed ?? bare ?? '').toUpperCase()
    if (letter !== '' && choices.includes(letter)) return letter
  }
  return null
}
