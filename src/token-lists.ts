import type { TokenLists } from './binding.js'

/** Lists of tokens as the addon takes them, one behind the other. */
export function tokenLists(lists: readonly ArrayLike<number>[]): TokenLists {
  const offsets = new Int32Array(lists.length + 1)
  for (const [i, list] of lists.entries()) offsets[i + 1] = (offsets[i] as number) + list.length
  const tokens = new Int32Array(offsets[lists.length] as number)
  for (const [i, list] of lists.entries()) tokens.set(list, offsets[i])
  return { tokens, offsets }
}
