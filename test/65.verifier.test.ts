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

it.each([
  ['It lies on the Seine.\nThe answer is Paris.', true],
  ['the answer is:  paris', true],
  ['The answer is Paris. I am sure.', true],
  ['The answer is Lyon. No. The answer is Paris!', true],
  ['So it must be\n Paris. \n', true],
  ['PARIS', true],
  ['The answer is Paris. No. The answer is Lyon.', false],
  ['The answer is Parish.', false],
  ['The answer is Paris, Texas.', false],
  ['Paris is what I would say', false],
  ['Paris\nor not', false],
  ['The answer is', false],
  ['', false]
])('a right answer in words: %j is right: %s', (text, right) => {
  expect(isRight(text, 'Paris')).toBe(right)
})

it('compares words whatever their spacing, composition and inner stops', () => {
  expect(isRight('The answer is  St.  Petersburg.', 'St. Petersburg')).toBe(true)
  expect(isRight('The answer is cafe\u0301.', 'Caf\u00e9 ')).toBe(true)
  expect(isRight('The answer is 12 apples.', '12 apples')).toBe(true)
  expect(isRight('The answer is 12 pears.', '12 apples')).toBe(false)
})

it('takes an empty right answer for no number and for nobody', () => {
  expect(isRight('The answer is 0.', '')).toBe(false)
  expect(isRight('', ' ')).toBe(false)
})

it('compares numbers, not their spelling', () => {
  expect(isRight('The answer is 1,250.', '1250')).toBe(true)
  expect(isRight('The answer is 12.', '120')).toBe(false)
  expect(isRight('no answer', '0')).toBe(false)
})
