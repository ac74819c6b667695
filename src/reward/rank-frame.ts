import type { NativeModel } from '../binding.js'
import { expected } from '../errors.js'
import type { ChatMessage } from '../prompt.js'
import type { Frame } from './frame.js'

/** The question an answer is ranked for: the last turn of the user's, or the last of all. */
export function queryOf(turns: readonly ChatMessage[]): string {
  const asked = turns.findLast(({ role }) => role === 'user') ?? turns.at(-1)
  return (asked?.content ?? '').trim()
}

/** The end of a text, of at most so many tokens. */
export async function endOf(model: NativeModel, text: string, most: number): Promise<string> {
  const tokens = await model.tokenize(text, false, false)
  if (tokens.length <= most) return text
  for (let kept = most; kept > 0; ) {
    const last = tokens.slice(tokens.length - kept)
    const [rest = ''] = await model.detokenize(last, Int32Array.of(0, last.length), false)
    const end = rest.replace(/^\uFFFD+/, '')
    // A text that begins elsewhere may be cut into other tokens, and more of them.
    const over = (await model.tokenize(end, false, false)).length - most
    if (over <= 0) return end
    kept -= over
  }
  return ''
}

/**
 * Where an answer stands in a reranker's template, which names {query} once and {document} once behind it (llama.cpp's
 * `tokenizer.chat_template.rerank`). Spaces before the document go with it: most vocabularies have them in a word's
 * first token, and such models were trained on prompts cut into tokens as a whole.
 *
 * Throws TEMPLATE_FAILED.
 */
export function rankFrame(template: string, query: string): Frame {
  const around = template.split('{document}')
  const [before = '', suffix = ''] = around
  const asks = before.split('{query}')
  const first = asks[0] as string
  if (around.length !== 2 || asks.length !== 2 || suffix.includes('{query}')) {
    throw expected('TEMPLATE_FAILED', '{query} once and {document} once behind it', 'the reranker template', template)
  }
  const prefix = first + query + asks[1]
  const lead = / *$/.exec(prefix)?.[0] ?? ''
  return { prefix: prefix.slice(0, prefix.length - lead.length), suffix, trimsStart: false, trimsEnd: false, lead }
}
