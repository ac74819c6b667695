/** What a race did, in the terms that its time depends on. */
export interface Work {
  /** Tokens of the prompt, decoded once. */
  promptTokens: number
  /** Decode steps. */
  steps: number
  /** Rows decoded in them, the prompt's not among them. */
  rows: number
  /** The sum over these rows of the tokens each attended to. */
  attended: number
  /** Of all candidates. */
  generatedTokens: number
  /** Calls of the scorer. */
  looks: number
  /** Candidates scored, over all looks. */
  scored: number
  /** Tokens that were new to the scorer, over all looks. */
  freshTokens: number
  /** The most KV cells in use at once, each candidate in a stream of its own and all of them there. */
  peakCells: number
  /** Steps of a single row. */
  loneSteps: number
}

export function noWork(promptTokens: number, n: number): Work {
  const none = { steps: 0, rows: 0, attended: 0, generatedTokens: 0, looks: 0, scored: 0, freshTokens: 0, loneSteps: 0 }
  return { promptTokens, ...none, peakCells: n * promptTokens }
}

/**
 * Counts what it takes to write candidates from `from` tokens on, the i-th to `ends[i]` tokens, of which `decoded[i]` are
 * decoded (a token that completes a stop text is not). `count` of both are read. Their score is counted with it.
 */
export function count(work: Work, from: number, ends: Int32Array, decoded: Int32Array, live: number): void {
  let longest = from
  for (let i = 0; i < live; i++) longest = Math.max(longest, decoded[i] as number)
  const ending = new Int32Array(longest - from + 1)
  for (let i = 0; i < live; i++) {
    const rows = (decoded[i] as number) - from
    ending[rows] = (ending[rows] as number) + 1
    const taken = (ends[i] as number) - from
    work.generatedTokens += taken
    work.freshTokens += taken
  }
  let width = live - (ending[0] as number)
  for (let step = 1; width > 0; step++) {
    const cells = width * (work.promptTokens + from + step)
    work.steps++
    work.rows += width
    work.attended += cells
    if (width === 1) work.loneSteps++
    if (cells > work.peakCells) work.peakCells = cells
    width -= ending[step] as number
  }
  work.looks++
  work.scored += live
}
