import type { Engine } from '../engine.js'
import type { ResultBranch } from '../result.js'

/** A token of an answer with its log-probability, nats. */
export interface TokenLogprob {
  readonly text: string
  readonly logprob: number
  /** Characters of the answer before it. */
  readonly offset: number
}

/** Those of an answer's tokens that are in its text: a stop text's own are not, the last one may be in it in part. */
export async function tokenLogprobs(engine: Engine, branches: readonly ResultBranch[]): Promise<TokenLogprob[][]> {
  const texts = await engine.texts(branches.flatMap(({ tokens }) => Array.from(tokens, (token) => [token])))
  let place = 0
  return branches.map(({ tokens, logprobs, text }) => {
    const all: TokenLogprob[] = []
    let offset = 0
    for (const logprob of logprobs) {
      const piece = texts[place++] ?? ''
      if (offset < text.length || piece === '')
        all.push({ text: piece.slice(0, text.length - offset), logprob, offset })
      offset += piece.length
    }
    return tokens.length === 0 ? [] : all
  })
}

/** As the completions endpoint has them: there are no other tokens than the one that was drawn. */
export function completionLogprobs(tokens: readonly TokenLogprob[]) {
  return {
    tokens: tokens.map(({ text }) => text),
    token_logprobs: tokens.map(({ logprob }) => logprob),
    top_logprobs: tokens.map(({ text, logprob }) => ({ [text]: logprob })),
    text_offset: tokens.map(({ offset }) => offset)
  }
}

/** As the chat endpoint has them. A part of a character has no bytes that its text could say. */
export function chatLogprobs(tokens: readonly TokenLogprob[]) {
  const content = tokens.map(({ text, logprob }) => ({
    token: text,
    logprob,
    bytes: text.includes('\ufffd') ? null : [...Buffer.from(text)],
    top_logprobs: []
  }))
  return { content, refusal: null }
}
