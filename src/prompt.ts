import { Template } from '@huggingface/jinja'
import type { NativeModel } from './binding.js'
import { expected, WinnowError } from './errors.js'

export interface ChatMessage {
  readonly role: 'system' | 'user' | 'assistant' | (string & {})
  readonly content: string
}

/** Text, or the turns of a chat. */
export type PromptInput = string | readonly ChatMessage[]

/** What the model is given. */
export interface Prompt {
  /** After the chat template, before tokens. */
  readonly text: string
  readonly tokens: Int32Array
}

/**
 * Text or messages -> the chat template the model carries -> tokens. Text counts as one message of the user's; a
 * model without a template reads it as it is, and so does `raw`. Special tokens written in the text are recognised
 * only where a template or `raw` put them there.
 *
 * Throws PROMPT_EMPTY, PROMPT_INVALID, TEMPLATE_MISSING (messages, but no template), TEMPLATE_FAILED, NO_TOKENIZER.
 */
export async function readPrompt(model: NativeModel, input: PromptInput, raw: boolean): Promise<Prompt> {
  const messages = check(input)
  if (!model.facts.hasTokenizer) {
    throw new WinnowError('NO_TOKENIZER', 'Expected a model with a tokenizer for a prompt but this GGUF carries none')
  }
  const template = raw ? null : model.facts.chatTemplate
  const templated = template !== null && template !== ''
  if (!templated && messages !== null) {
    throw new WinnowError(
      'TEMPLATE_MISSING',
      raw
        ? 'Expected text for a raw prompt but received chat messages'
        : 'Expected text for a model without a chat template but received chat messages'
    )
  }
  const text = templated
    ? render(model, template, messages ?? [{ role: 'user', content: input as string }])
    : (input as string)
  const tokens = await tokenize(model, text, templated || raw)
  if (tokens.length === 0)
    throw new WinnowError('PROMPT_EMPTY', 'Expected a prompt of at least one token but received none')
  return { text, tokens }
}

/** Null for text, the messages for a chat. */
function check(input: PromptInput): readonly ChatMessage[] | null {
  if (typeof input === 'string') {
    if (input === '') throw expected('PROMPT_EMPTY', 'text', 'the prompt', input)
    return null
  }
  if (!Array.isArray(input)) throw expected('PROMPT_INVALID', 'text or chat messages', 'the prompt', input)
  if (input.length === 0) throw expected('PROMPT_EMPTY', 'at least one message', 'the prompt', input)
  for (const [index, message] of input.entries()) {
    if (typeof message?.role !== 'string' || typeof message.content !== 'string') {
      throw expected('PROMPT_INVALID', '{ role, content } as text', `message ${index} of the prompt`, message)
    }
  }
  return input
}

function render(model: NativeModel, template: string, messages: readonly ChatMessage[]): string {
  const { bos, eos } = model.facts
  try {
    return new Template(template).render({
      messages: messages.map(({ role, content }) => ({ role, content })),
      add_generation_prompt: true,
      bos_token: bos < 0 ? '' : model.tokenText(bos),
      eos_token: eos < 0 ? '' : model.tokenText(eos)
    })
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    throw new WinnowError('TEMPLATE_FAILED', `The model's chat template refused the prompt: ${message}`, {
      cause: error
    })
  }
}

async function tokenize(model: NativeModel, text: string, parseSpecial: boolean): Promise<Int32Array> {
  const tokens = await model.tokenize(text, true, parseSpecial).catch((error: unknown) => {
    throw WinnowError.from(error)
  })
  // Many templates write the BOS text themselves and the tokenizer adds it again; models are trained on one.
  const { bos } = model.facts
  const twice = bos >= 0 && tokens[0] === bos && tokens[1] === bos
  return twice ? tokens.subarray(1) : tokens
}
