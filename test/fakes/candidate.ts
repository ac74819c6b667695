import type { Candidate } from '../../src/scorer.js'

/** A candidate whose tokens are the bytes of its text, with nothing known of their probabilities. */
export function candidate(id: number, text: string, state: Candidate['state'] = 'live'): Candidate {
  const none = new Float32Array(0)
  return { id, state, text, tokens: Int32Array.from(Buffer.from(text)), logprobs: none, entropies: none }
}
