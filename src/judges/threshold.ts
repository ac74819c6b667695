import { endedItself } from '../contender.js'
import { expected } from '../errors.js'
import { type Judge, judgeOf } from '../judge.js'
import { countKnob, readKnobs } from '../knob.js'

/** Accepts answers whose raw score is at least `least`. */
export function scoreAtLeast(least: number): Judge {
  if (typeof least !== 'number' || Number.isNaN(least)) {
    throw expected('OPTION_INVALID', 'a number', 'scoreAtLeast', least)
  }
  return judgeOf(({ raw }) => raw >= least, `score-at-least(${least})`)
}

/** Accepts answers of at most `most` tokens. */
export function tokensAtMost(most: number): Judge {
  readKnobs('tokensAtMost', { most: countKnob(undefined, 0, 'tokens') }, { most })
  return judgeOf(({ tokens }) => tokens <= most, `tokens-at-most(${most})`)
}

/** Accepts answers that wrote their own end, by an end or a stop token. */
export function ended(): Judge {
  return judgeOf(endedItself, 'ended')
}
