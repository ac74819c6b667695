import { describe, expect, it } from 'vitest'
import { readPrompt } from '../src/prompt.js'
import { FakeModel } from './fakes/model.js'

const template =
  "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}{% endfor %}{% if add_generation_prompt %} >{% endif %}"
const text = (tokens: Int32Array) => String.fromCharCode(...tokens)

describe('a prompt', () => {
  it('of text goes to a model without a template as it is, after BOS', async () => {
    const prompt = await readPrompt(new FakeModel(), 'hi', false)
    expect(prompt).toEqual({
      text: 'hi',
      tokens: Int32Array.of(1, 104, 105),
      turns: [{ role: 'user', content: 'hi' }]
    })
  })

  it('of text is one message of the user where there is a template', async () => {
    const prompt = await readPrompt(new FakeModel({ chatTemplate: template }), 'hi', false)
    expect(prompt.text).toBe('<s>[user] hi >')
  })

  it('of messages keeps their turns', async () => {
    const messages = [
      { role: 'system', content: 'be brief' },
      { role: 'user', content: 'hi' }
    ]
    const prompt = await readPrompt(new FakeModel({ chatTemplate: template }), messages, false)
    expect(prompt.text).toBe('<s>[system] be brief[user] hi >')
  })

  it('has BOS once, whether the template, the tokenizer or both write it', async () => {
    for (const addBos of [true, false]) {
      const { tokens } = await readPrompt(new FakeModel({ chatTemplate: template, addBos }), 'hi', false)
      expect(tokens[0]).toBe(1)
      expect(text(tokens.subarray(1))).toBe('[user] hi >')
    }
    const { tokens } = await readPrompt(new FakeModel({ chatTemplate: '{{ messages[0].content }}' }), 'hi', false)
    expect(tokens).toEqual(Int32Array.of(1, 104, 105))
  })

  it('that is raw skips the template and may name special tokens', async () => {
    const prompt = await readPrompt(new FakeModel({ chatTemplate: template }), 'a<s>b', true)
    expect(prompt.tokens).toEqual(Int32Array.of(1, 97, 1, 98))
  })

  it('of text cannot name special tokens', async () => {
    const { tokens } = await readPrompt(new FakeModel(), 'a<s>b', false)
    expect(text(tokens.subarray(1))).toBe('a<s>b')
  })

  it('of messages cannot name special tokens either: only the template can', async () => {
    const messages = [
      { role: 'user', content: 'a<s>b' },
      { role: 'assistant', content: 'c' },
      { role: 'user', content: '<s>' }
    ]
    const { tokens, text: rendered } = await readPrompt(new FakeModel({ chatTemplate: template }), messages, false)
    expect(rendered).toBe('<s>[user] a<s>b[assistant] c[user] <s> >')
    expect([...tokens].filter((token) => token === 1)).toHaveLength(1)
    expect(text(tokens.subarray(1))).toBe('[user] a<s>b[assistant] c[user] <s> >')
  })

  it('keeps what a template does to a message that names special tokens', async () => {
    const twice = "{{ bos_token }}{{ messages[0]['content'] | trim }}|{{ messages[0]['content'] }}"
    const { tokens } = await readPrompt(new FakeModel({ chatTemplate: twice }), '$&<s>', false)
    expect(text(tokens.subarray(1))).toBe('$&<s>|$&<s>')
  })

  it.each([
    ['', 'PROMPT_EMPTY', 'Expected text for the prompt but received ""'],
    [[], 'PROMPT_EMPTY', 'Expected at least one message for the prompt but received an array of 0'],
    [7, 'PROMPT_INVALID', 'Expected text or chat messages for the prompt but received 7'],
    [[{ role: 'user' }], 'PROMPT_INVALID', 'Expected { role, content } as text for message 0 of the prompt'],
    [[{ role: '<s>user', content: 'x' }], 'PROMPT_INVALID', 'Expected a word for the role for message 0 of the prompt'],
    [[{ role: 'user', content: 'x' }], 'TEMPLATE_MISSING', 'Expected text for a model without a chat template']
  ])('of %j is refused', async (input, code, sentence) => {
    const promise = readPrompt(new FakeModel(), input as never, false)
    await expect(promise).rejects.toMatchObject({ code, message: expect.stringContaining(sentence) })
  })

  it('of messages is refused when raw', async () => {
    const promise = readPrompt(new FakeModel({ chatTemplate: template }), [{ role: 'user', content: 'x' }], true)
    await expect(promise).rejects.toMatchObject({ code: 'TEMPLATE_MISSING' })
  })

  it('that the template refuses is an error that says why', async () => {
    const model = new FakeModel({ chatTemplate: "{{ raise_exception('no system turns') }}" })
    await expect(readPrompt(model, 'x', false)).rejects.toMatchObject({
      code: 'TEMPLATE_FAILED',
      message: expect.stringContaining('no system turns')
    })
  })
})
