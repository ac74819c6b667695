import type { Contender } from './contender.js'

/**
 * Raw scores -> shaped scores, by the lengths of the answers. All live branches of a checkpoint are equally long, so a
 * term in the length alone cannot change which of them is killed; it decides between finished answers, and it can tell
 * that nobody alive will win any more (`undecided`).
 */
export interface Shaper {
  readonly name: string
  /** One number for each contender, in order. Pure; never NaN. */
  shape(contenders: readonly Contender[]): number[]
  /**
   * The highest shaped score that any candidate can have whose raw score is at most `ceiling`, whose length is at least
   * `tokens` and whom no verifier has judged. Only where the shaped score depends on the candidate's own raw score and
   * length: what depends on the others' lengths has no bound.
   */
  bound?(ceiling: number, tokens: number): number
}

/** A finished answer as it competes: its shaped score and its place in ties. */
export interface Best {
  readonly id: number
  readonly shaped: number
}

/**
 * Which live branches may still win, exactly: those whose `bound` is above the best finished shaped score, or equal to
 * it with a lower id, since ties go to the lower id. When there is none, decoding on cannot change the winner. A live
 * branch may end at once, so its bound is taken at the tokens it has. `ceiling` is the highest raw score there is: 1 of
 * a probability, infinity of a logit (which never stops anything).
 */
export function undecided(
  shaper: Pick<Required<Shaper>, 'bound'>,
  ceiling: number,
  best: Best | null,
  live: readonly { readonly id: number; readonly tokens: number }[]
): number[] {
  const mayWin = ({ id, tokens }: { id: number; tokens: number }) => {
    if (best === null) return true
    const bound = shaper.bound(ceiling, tokens)
    return bound > best.shaped || (bound === best.shaped && id < best.id)
  }
  return live.filter(mayWin).map(({ id }) => id)
}
