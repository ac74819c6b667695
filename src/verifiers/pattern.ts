import type { RoutineInput } from './routine.js'

export interface PatternSettings {
  readonly pattern: string
  readonly flags: string
}

/**
 * Whether the text matches a regular expression. There are expressions and texts for which that takes longer than
 * anybody lives; nothing but the crew's time limit ends them.
 */
export function verify({ text }: Pick<RoutineInput, 'text'>, { pattern, flags }: PatternSettings): boolean {
  return new RegExp(pattern, flags).test(text)
}
