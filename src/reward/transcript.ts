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
 * the last delimiter is a step that still grows. The first step is cut together with the seam before it.
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
      const add = (part: Int32Array, isMarker: boolean) => {
        for (const [i, token] of part.entries()) {
          tokens.push(token)
          marks.push(isMarker && i === part.length - 1 ? 1 : 0)
        }
      }
      let [seam, ended] = [before.text, false]
      for (const step of steps) {
        if (step.trim() === '') continue
        add(await continued(model, seam + step, false), false)
        add(marker, true)
        ;[seam, ended] = ['', true]
      }
      const growing = rest.trim() !== ''
      const open = growing || !ended
      if (open) add(await continued(model, growing ? seam + rest : seam, false), false)
      return { tokens: Int32Array.from(tokens), marks: Uint8Array.from(marks), open }
    }
  }
}

/** The text as the template would hand it on, without the half of a character that is still being written. */
function written({ text, state }: Candidate, { trimsStart, trimsEnd }: Frame): string {
  const whole = state === 'live' ? text.replace(/\uFFFD+$/, '') : text
  const started = trimsStart ? whole.trimStart() : whole
  return trimsEnd ? started.trimEnd() : started
}
