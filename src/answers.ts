import type { NativeModel, TokenLists } from './binding.js'
import { WinnowError } from './errors.js'
import { tokenLists } from './token-lists.js'

/** What a model makes of a new line alone: more than one token where it puts a space before every text. */
const anchors = new WeakMap<NativeModel, Promise<Int32Array>>()

/**
 * Tokens of text that goes on behind other text. A SentencePiece vocabulary puts a space before whatever it is given, as
 * if a sentence began there. Behind a new line, which is a token of its own in these vocabularies, it does not.
 */
export async function continued(model: NativeModel, text: string, specials: boolean): Promise<Int32Array> {
  let found = anchors.get(model)
  if (found === undefined) {
    found = model.tokenize('\n', false, false)
    anchors.set(model, found)
  }
  const anchor = await found
  if (anchor.length < 2 || text === '') return model.tokenize(text, false, specials)
  const tokens = await model.tokenize(`\n${text}`, false, specials)
  const stands = anchor.every((token, i) => token === tokens[i])
  return stands ? tokens.slice(anchor.length) : model.tokenize(text, false, specials)
}

/** Answers as the tokens they would have been written in; special tokens in a text are plain text. */
export async function readAnswers(model: NativeModel, answers: readonly (string | Int32Array)[]): Promise<TokenLists> {
  const lists: Int32Array[] = []
  try {
    for (const answer of answers)
      lists.push(typeof answer === 'string' ? await continued(model, answer, false) : answer)
  } catch (error) {
    throw WinnowError.from(error)
  }
  return tokenLists(lists)
}
