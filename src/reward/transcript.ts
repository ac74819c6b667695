import { continued } from '../answers.js'
import type { NativeModel } from '../binding.js'
import type { Candidate } from '../scorer.js'
import type { Frame } from './frame.js'
import type { Seam } from './seam.js'

/** An answer as a reward model reads it. */
export interface Transcript {
  readonly tokens: Int32Array
  /** 1 where a step has ended and its score is read; empty where only the whole is scored. */
  readonly marks: Uint8Array
  /** Whether the closing tokens end something new: not so where the last step had ended already. */
  readonly open: boolean
}

/** How answers become transcripts. `needsText` says whether candidates must come with their text. */
export interface Transcriber {
  readonly needsText: boolean
  of(candidate: Candidate): Promise<Transcript>
}

const none = new Uint8Array(0)

/** Generator and reward model share their vocabulary: tokens pass straight through. */
export const sameTokens: Transcriber = {
  needsText: false,
  of: async ({ tokens }) => ({ tokens, marks: none, open: true })
}

/**
 * The vocabularies differ, or the template trims: the text is cut into the reward model's own tokens, together with the
 * seams before and after it, as whoever tokenised the whole text at once would have cut it.
 */
export function retokenised(model: NativeModel, frame: Frame, before: Seam, after: Seam): Transcriber {
  return {
    needsText: true,
    async of(candidate) {
      const answer = (frame.lead ?? '') + written(candidate, frame)
      const tokens = await continued(model, before.text + answer + after.text, false)
      return { tokens, marks: none, open: true }
    }
  }
}

/**
 * For process reward models: after each step that has ended comes the marker, and a score is read there. What follows
 * the last delimiter is a step that still grows. The first step is cut together with the seam before it. `marker` is one
 * token.
 */
export function stepwise(
  model: NativeModel,
  frame: Frame,
  delimiter: string,
  marker: Int32Array,
  before: Seam
): Transcriber {
  return {
    needsText: true,
    async of(candidate) {
      const steps = written(candidate, frame).split(delimiter)
      const rest = steps.pop() as string
      const [tokens, marks]: [number[], number[]] = [[], []]
      const add = (part: Int32Array, mark: 0 | 1) => {
        for (const token of part) {
          tokens.push(token)
          marks.push(mark)
        }
      }
      const cut = (step: string) => continued(model, (tokens.length === 0 ? before.text : '') + step, false)
      for (const step of steps) {
        if (step.trim() === '') continue
        add(await cut(step), 0)
        add(marker, 1)
      }
      const growing = rest.trim() !== ''
      const open = growing || tokens.length === 0
      if (open) add(await cut(growing ? rest : ''), 0)
      return { tokens: Int32Array.from(tokens), marks: Uint8Array.from(marks), open }
    }
  }
}

/** The text so far, without the half of a character that is still being written. */
export function settledText({ text, state }: Candidate): string {
  return state === 'live' ? text.replace(/\uFFFD+$/, '') : text
}

/** The same as the template would hand it on. */
function written(candidate: Candidate, { trimsStart, trimsEnd }: Frame): string {
  const whole = settledText(candidate)
  const started = trimsStart ? whole.trimStart() : whole
  return trimsEnd ? started.trimEnd() : started
}
