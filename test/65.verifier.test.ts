import { expect, it } from 'vitest'
import { answerOf, isRight } from '../src/verifier.js'

it.each([
  ['In May: 3 + 4 = 7. The answer is 7.', 7],
  ['The answer is 7. No. The answer is 8.', 8],
  ['The answer is -12', -12],
  ['The answer is 1,250.', 1250],
  ['The answer is 2.5.', 2.5],
  ['The answer is 7', 7],
  ['the number is 7', null],
  ['The answer is', null],
  ['', null]
])('reads %j as %s', (text, number) => {
  expect(answerOf(text)).toBe(number)
})

it('compares numbers, not their spelling', () => {
  expect(isRight('The answer is 1,250.', '1250')).toBe(true)
  expect(isRight('The answer is 12.', '120')).toBe(false)
  expect(isRight('no answer', '0')).toBe(false)
})
