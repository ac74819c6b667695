import { randomUUID } from 'node:crypto'
import { Template } from '@huggingface/jinja'
import { expected, WinnowError } from '../errors.js'
import type { ChatMessage } from '../prompt.js'

/** The text a reward model reads before an answer and after it. */
export interface Frame {
  readonly prefix: string
  /** What closes the answer: the model was trained to be read at its last token. */
  readonly suffix: string
  /** The template drops white space at the answer's start; its end. */
  readonly trimsStart: boolean
  readonly trimsEnd: boolean
  /** Spaces before the answer that belong to its first token, not to the prefix. Default none. */
  readonly lead?: string | undefined
}

/** Special texts a template may ask for. */
interface Specials {
  readonly bos: string
  readonly eos: string
}

/**
 * Where an answer stands in a reward model's chat template. The template is rendered once, with a mark in the
 * answer's place; what stands before and after the mark is the frame. Without a template (null) the answer follows
 * the turns' text with nothing between.
 *
 * Throws TEMPLATE_FAILED where the template does not render, or does not repeat the answer exactly once.
 */
export function frameOf(template: string | null, turns: readonly ChatMessage[], specials: Specials): Frame {
  if (template === null || template === '') {
    const prefix = turns.map(({ content }) => content).join('\n')
    return { prefix, suffix: '', trimsStart: false, trimsEnd: false }
  }
  const mark = randomUUID()
  const answer = (content: string): ChatMessage => ({ role: 'assistant', content })
  const parts = render(template, [...turns, answer(` ${mark} `)], specials).split(mark)
  if (parts.length !== 2) {
    throw expected('TEMPLATE_FAILED', 'the answer once', 'a rendered reward template', parts.length - 1)
  }
  const [before, after] = parts as [string, string]
  // Rendered once more without the spaces: whether they were the template's own cannot be seen otherwise.
  const [prefix = '', suffix = ''] = render(template, [...turns, answer(mark)], specials).split(mark)
  return { prefix, suffix, trimsStart: before === prefix, trimsEnd: after === suffix }
}

function render(template: string, messages: readonly ChatMessage[], { bos, eos }: Specials): string {
  try {
    const plain = messages.map(({ role, content }) => ({ role, content }))
    return new Template(template).render({
      messages: plain,
      add_generation_prompt: false,
      bos_token: bos,
      eos_token: eos
    })
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    throw new WinnowError('TEMPLATE_FAILED', `The reward model's chat template refused the prompt: ${message}`, {
      cause: error
    })
  }
}
