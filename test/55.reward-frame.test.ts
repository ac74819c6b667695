import { describe, expect, it } from 'vitest'
import { frameOf } from '../src/reward/frame.js'

const specials = { bos: '<s>', eos: '</s>' }
const turns = [
  { role: 'system', content: 'be brief' },
  { role: 'user', content: 'why?' }
]

describe('the frame of an answer', () => {
  it('is what the chat template writes before and after it', () => {
    const template =
      "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}{{ eos_token }}"
    expect(frameOf(template, turns, specials)).toEqual({
      prefix: '<s><|system|>be brief<|end|><|user|>why?<|end|><|assistant|>',
      suffix: '<|end|></s>',
      trimsStart: false,
      trimsEnd: false
    })
  })

  it('knows whether the template trims the answer', () => {
    const template = (filter: string) =>
      `{% for m in messages %}[{{ m['role'] }}] {{ m['content'] | ${filter} }} {% endfor %}`
    expect(frameOf(template('trim'), turns, specials)).toMatchObject({
      prefix: '[system] be brief [user] why? [assistant] ',
      suffix: ' ',
      trimsStart: true,
      trimsEnd: true
    })
    expect(frameOf(template('lower'), turns, specials)).toMatchObject({ trimsStart: false, trimsEnd: false })
  })

  it('without a template is the text of the turns, and nothing after', () => {
    const bare = { prefix: 'be brief\nwhy?', suffix: '', trimsStart: false, trimsEnd: false }
    expect(frameOf(null, turns, specials)).toEqual(bare)
    expect(frameOf('', turns, specials)).toEqual(bare)
  })

  it.each([
    ["{{ raise_exception('no system turns') }}", 'no system turns'],
    ['{% for m in messages %}', 'refused the prompt'],
    ['{{ messages[0].content }}', 'Expected the answer once for a rendered reward template but received 0'],
    ['{% for m in messages %}{{ m.content }}{{ m.content }}{% endfor %}', 'but received 2']
  ])('of %j is refused with a reason', (template, reason) => {
    expect(() => frameOf(template, turns, specials)).toThrow(
      expect.objectContaining({ code: 'TEMPLATE_FAILED', message: expect.stringContaining(reason) })
    )
  })
})
