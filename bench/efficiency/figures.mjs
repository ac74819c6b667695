// What a cell's rounds say.

/** { min, median, max }. */
export function spread(list) {
  const sorted = [...list].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const median = sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
  return { min: sorted[0], median, max: sorted.at(-1) }
}

/**
 * Of each contender: seconds a round; tokens of candidates and whole candidates a second, in which the prompt's decoding is
 * counted; and by how much `first` is faster: the ratio of the medians, between the least and the greatest ratio of two
 * rounds that came one after the other. `rounds`: by contender, in the order in which they were measured, `candidates` each.
 */
export function figuresOf(rounds, first, candidates) {
  const reference = rounds[first]
  return Object.entries(rounds).map(([contender, taken]) => {
    const seconds = spread(taken.map((round) => round.seconds))
    const rates = taken.map(({ tokens, seconds }) => tokens / seconds)
    return {
      contender,
      rounds: taken.length,
      seconds,
      tokensPerSecond: spread(rates),
      candidatesPerSecond: spread(taken.map(({ seconds }) => candidates / seconds)),
      ratio: reference === undefined ? null : ratioOf(reference, taken)
    }
  })
}

function ratioOf(reference, taken) {
  const pairs = taken.slice(0, reference.length).map((round, i) => rate(reference[i]) / rate(round))
  const { min, max } = spread(pairs)
  return { min, median: spread(reference.map(rate)).median / spread(taken.map(rate)).median, max }
}

function rate({ tokens, seconds }) {
  return tokens / seconds
}
