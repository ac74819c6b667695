// The same made-up prompt for every driver: ordinary ids spread over the vocabulary, none of the special ones
// that tokenizers put first.
export function promptTokens(length, vocabulary) {
  const first = Math.min(300, Math.floor(vocabulary / 2))
  return Array.from({ length }, (_, index) => first + ((index * 7919) % (vocabulary - first)))
}
