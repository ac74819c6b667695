import { expected } from '../errors.js'
import { countKnob, type Knob, numberKnob, readKnobs } from '../knob.js'
import type { Shaper } from '../shaper.js'

export interface CosineLengthOptions {
  /** L_max, tokens. */
  readonly max: number
  /** Reward of a right answer at length `max` and at length 0, the first at most the second. Default [0, 1]. */
  readonly right?: readonly [number, number] | undefined
  /** Reward of a wrong answer at length 0 and at length `max`, the first at most the second. Default [-1, 0]. */
  readonly wrong?: readonly [number, number] | undefined
  /** Reward of any answer longer than `max`. Default -10, as in the authors' example. */
  readonly exceed?: number | undefined
}

const pair = (fallback: readonly [number, number]): Knob<readonly [number, number]> => ({
  text: 'two finite numbers, the lower first,',
  test: (value): value is readonly [number, number] =>
    Array.isArray(value) && value.length === 2 && value.every(Number.isFinite) && value[0] <= value[1],
  fallback
})

/**
 * The cosine reward (Demystifying long chain-of-thought, arXiv 2502.03373; eddycmu/demystify-long-cot,
 * cosine.py): r = min + (max - min) / 2 (1 + cos(pi L / L_max)) for a right answer, the shorter the better; with min and
 * max exchanged for a wrong one, the longer the better; `exceed` beyond L_max.
 *
 * Without a verifier: raw + r of a right answer.
 */
export function cosineLength(options: CosineLengthOptions): Shaper {
  const exceedKnob = numberKnob(-10, -Number.MAX_VALUE, Number.MAX_VALUE, 'a finite number')
  const knobs = {
    max: countKnob(undefined, 1, 'tokens'),
    right: pair([0, 1]),
    wrong: pair([-1, 0]),
    exceed: exceedKnob
  }
  const { max, right, wrong, exceed } = readKnobs('cosineLength', knobs, options)
  if (exceed > right[0]) throw expected('OPTION_INVALID', `at most ${right[0]}`, 'exceed of cosineLength', exceed)
  const reward = (tokens: number, [atMax, atZero]: readonly [number, number]) =>
    tokens > max ? exceed : atMax + ((atZero - atMax) / 2) * (1 + Math.cos((Math.PI * tokens) / max))
  return {
    name: `cosine-length(${max})`,
    shape: (contenders) =>
      contenders.map(({ right: isRight, raw, tokens }) => {
        if (isRight === null) return raw + reward(tokens, right)
        return reward(tokens, isRight ? right : [wrong[1], wrong[0]])
      }),
    bound: (ceiling, tokens) => ceiling + reward(tokens, right)
  }
}
