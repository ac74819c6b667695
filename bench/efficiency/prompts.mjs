// Prompts of so many tokens: the held-out problems' text, cut. Each round has others, so that nobody gains by remembering.
import { readFileSync } from 'node:fs'

const problems = readFileSync(new URL('../problems/heldout.jsonl', import.meta.url), 'utf8')
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line).prompt)

/** `count` prompts of `tokens` tokens, nearly; round 0, 1, .. begin at other problems. `whole`: problems as they are. */
export function promptsOf({ charactersPerToken, frame }, { tokens, count, round, whole = false }) {
  const characters = Math.round(tokens * charactersPerToken)
  const off = (text) => Math.abs(text.length - characters)
  const near = problems.toSorted((a, b) => off(a) - off(b)).slice(0, 128)
  return Array.from({ length: count }, (_, index) => {
    // 7 is no divisor of the number of problems: neighbours in a round are neighbours in none of the next.
    const first = round * 97 + index * 7
    const [before, after] = frame
    const text = whole ? near[first % near.length] : textOf(first, characters)
    return `${before}${text}${after}`
  })
}

function textOf(first, characters) {
  let text = ''
  for (let i = first; text.length < characters; i += 1)
    text += `${text === '' ? '' : ' '}${problems[i % problems.length]}`
  return text.slice(0, characters)
}
