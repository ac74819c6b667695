import { expect, it } from 'vitest'
import { describe as describeValue, expected, WinnowError } from '../src/errors.js'

it('is a sentence with a code', () => {
  const error = expected('OPTION_INVALID', 'a number from 0 to below 1', 'alpha', 1.5)
  expect(error).toBeInstanceOf(Error)
  expect(error.message).toBe('Expected a number from 0 to below 1 for alpha but received 1.5')
  expect(error).toMatchObject({ name: 'WinnowError', code: 'OPTION_INVALID', retryable: false })
})

it('says what was received in a few words', () => {
  const values = [undefined, null, Number.NaN, 'x', 'y'.repeat(100), [1, 2], {}, () => 1, 3n, true]
  expect(values.map(describeValue)).toEqual([
    'nothing',
    'null',
    'NaN',
    '"x"',
    `"${'y'.repeat(57)}..."`,
    'an array of 2',
    'an object',
    'a function',
    '3n',
    'true'
  ])
})

it('keeps the code of a native error and knows whether trying again may help', () => {
  const native = Object.assign(new Error('no cells'), { code: 'OUT_OF_MEMORY' })
  const error = WinnowError.from(native)
  expect(error).toMatchObject({ code: 'OUT_OF_MEMORY', message: 'no cells', retryable: true, cause: native })
  expect(WinnowError.from(error)).toBe(error)
})

it('has a code even where the addon gave none, or one that is new', () => {
  expect(WinnowError.from('boom')).toMatchObject({ code: 'NATIVE', message: 'boom' })
  expect(WinnowError.from(Object.assign(new Error('x'), { code: 'NEW' }))).toMatchObject({
    code: 'NEW',
    retryable: false
  })
})

it('is known by its mark, not by its class, so that two copies of the package understand each other', () => {
  const stranger = Object.assign(new Error('from another copy'), { [Symbol.for('winnow-llm.error')]: true })
  expect(WinnowError.is(stranger)).toBe(true)
  expect(WinnowError.is(new Error('x'))).toBe(false)
  expect(WinnowError.is(null)).toBe(false)
})
