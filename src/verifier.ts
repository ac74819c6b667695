const answer = /The answer is\s*(-?\d[\d,]*(?:\.\d+)?)/g

/** The last number after "The answer is", or null where there is none. */
export function answerOf(text: string): number | null {
  const last = [...text.matchAll(answer)].at(-1)?.[1]
  return last === undefined ? null : Number(last.replaceAll(',', ''))
}

/** Whether a solution ends with the right number. The policy never sees this. */
export function isRight(text: string, right: string): boolean {
  return answerOf(text) === Number(right.replaceAll(',', ''))
}
