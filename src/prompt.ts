import { randomUUID } from 'node:crypto'
import { Template } from '@huggingface/jinja'
import type { NativeModel } from './binding.js'
import { expected, fromAddon, WinnowError } from './errors.js'

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
  /** Before the chat template; text is one turn of the user's. */
  readonly turns: readonly ChatMessage[]
}

/**
 * Text or messages -> the chat template the model carries -> tokens. Text counts as one message of the user's; a
 * model without a template reads it as it is, and so does `raw`. Special tokens are recognised where a template or
 * `raw` put them; written by whoever wrote the text or the messages they are plain text, so nobody can end a turn and
 * begin another.
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
  const turns = messages ?? [{ role: 'user', content: input as string }]
  const text = templated ? render(model, template, turns) : (input as string)
  const written = templated
    ? await tokenizeTurns(model, turns, text, (slots) => render(model, template, slots))
    : await tokenize(model, text, true, raw)
  const tokens = oneBos(model, written)
  if (tokens.length === 0)
    throw new WinnowError('PROMPT_EMPTY', 'Expected a prompt of at least one token but received none')
  return { text, tokens, turns }
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
    if (!/^[\w-]+$/.test(message.role)) {
      throw expected('PROMPT_INVALID', 'a word for the role', `message ${index} of the prompt`, message.role)
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

/** Tokens of a rendered chat, `rendered(turns)`, which is `text`; its messages cannot name special tokens. */
export async function tokenizeTurns(
  model: NativeModel,
  turns: readonly ChatMessage[],
  text: string,
  rendered: (turns: readonly ChatMessage[]) => string
): Promise<Int32Array> {
  const named = await Promise.all(turns.map(({ content }) => namesSpecials(model, content)))
  // Split only where it must be: tokens then do not join across the edges of a message.
  if (!named.includes(true)) return tokenize(model, text, true, true)
  const nonce = randomUUID()
  const slots = turns.map(({ role, content }, i) => ({ role, content: named[i] ? `${nonce}:${i}:` : content }))
  const parts = rendered(slots).split(new RegExp(`${nonce}:(\\d+):`))
  const pieces: Int32Array[] = []
  for (const [i, part] of parts.entries()) {
    // Of a split by one group, every second part is the group: which message belongs there.
    const turn = i % 2 === 1 ? turns[Number(part)] : undefined
    const written = turn?.content ?? part
    if (i === 0 || written !== '') pieces.push(await tokenize(model, written, i === 0, turn === undefined))
  }
  return Int32Array.from(pieces.flatMap((piece) => [...piece]))
}

async function namesSpecials(model: NativeModel, text: string): Promise<boolean> {
  const [plain, parsed] = [await tokenize(model, text, false, false), await tokenize(model, text, false, true)]
  return plain.length !== parsed.length || plain.some((token, i) => token !== parsed[i])
}

async function tokenize(model: NativeModel, text: string, bos: boolean, specials: boolean): Promise<Int32Array> {
  return fromAddon(() => model.tokenize(text, bos, specials))
}

/** Many templates write the BOS text themselves and the tokenizer adds it again; models are trained on one. */
export function oneBos({ facts: { bos } }: NativeModel, tokens: Int32Array): Int32Array {
  const twice = bos >= 0 && tokens[0] === bos && tokens[1] === bos
  return twice ? tokens.subarray(1) : tokens
}
