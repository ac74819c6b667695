import { highestBy, type Selection } from '../selection.js'

/** The highest shaped score, ties to the lower id. */
export function argmax(): Selection {
  return {
    name: 'argmax',
    select: (contenders) => ({ id: highestBy(contenders, ({ shaped }) => shaped)?.id ?? null, why: 'highest score' })
  }
}
