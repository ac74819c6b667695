import { continued } from '../answers.js'
import type { NativeModel } from '../binding.js'

/** What of a template stands next to an answer in plain text: a tokenizer may join the answer's text with it. */
export interface Seam {
  readonly text: string
  /** Tokens the text is cut into where no answer stands beside it. */
  readonly length: number
}

export const noSeam: Seam = { text: '', length: 0 }

/** Tokens; more than any word has that a template ends or begins with. */
const longest = 16

/** The seam at one side of a template's tokens; none where a special token stands there, which joins with nothing. */
export async function seamAt(model: NativeModel, tokens: Int32Array, side: 'start' | 'end'): Promise<Seam> {
  const outermost = (length: number) => (side === 'end' ? tokens.slice(-length) : tokens.slice(0, length))
  const near = outermost(Math.min(tokens.length, longest))
  if (near.length === 0) return noSeam
  const texts = await model.detokenize(
    near,
    Int32Array.from({ length: near.length + 1 }, (_, i) => i),
    false
  )
  const inOrder = side === 'end' ? texts.reverse() : texts
  const special = inOrder.indexOf('')
  for (let length = special < 0 ? near.length : special; length > 0; length--) {
    const part = outermost(length)
    const [text = ''] = await model.detokenize(part, Int32Array.of(0, length), false)
    const again = await continued(model, text, false)
    // Cut inside a word or a character, the text alone makes other tokens.
    if (again.length === length && again.every((token, i) => token === part[i])) return { text, length }
  }
  return noSeam
}
