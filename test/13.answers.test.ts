import { describe, expect, it } from 'vitest'
import { continued, readAnswers } from '../src/answers.js'
import { FakeModel } from './fakes/model.js'

/** A SentencePiece vocabulary: a space (here an underscore) before whatever it is given, and a token for a new line. */
class SentencePieces extends FakeModel {
  override async tokenize(text: string): Promise<Int32Array> {
    return Int32Array.from(text === '' ? [] : [95, ...Buffer.from(text)])
  }
}

describe('answers', () => {
  it('are texts or tokens, side by side', async () => {
    const { tokens, offsets } = await readAnswers(new FakeModel(), ['ab', Int32Array.of(7), ''])
    expect([...tokens]).toEqual([97, 98, 7])
    expect([...offsets]).toEqual([0, 2, 3, 3])
  })

  it('cannot name special tokens', async () => {
    const { tokens } = await readAnswers(new FakeModel(), ['a<s>b'])
    expect(String.fromCharCode(...tokens)).toBe('a<s>b')
  })

  it('go on behind other text, without the space that a vocabulary would put before them', async () => {
    expect([...(await continued(new SentencePieces(), 'ab', false))]).toEqual([97, 98])
    expect([...(await continued(new SentencePieces(), '', false))]).toEqual([])
    expect([...(await continued(new FakeModel(), 'ab', false))]).toEqual([97, 98])
  })
})
