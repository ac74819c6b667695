// The whole of it: open a model (the embedded one), write 16 candidates, stop the weak ones early, read the winner.
import { open, specReject } from 'winnow-llm'

const engine = await open()
const problem = 'Tom has 12 coins. In May, he finds 7. In June, he gives 5 to Anna. How many coins does Tom have now?'
const best = await engine.bestOf(16, problem, { policy: specReject({ alpha: 0.5 }), seed: 7 })

console.log(best.text)
console.log(`candidate ${best.winner?.id} wins with ${best.score?.toFixed(2)} by ${best.scorer}`)
console.log(`${best.usage.generatedTokens} tokens written, about ${best.usage.savedTokens} not`)
for (const { id, killedAt } of best.branches) if (killedAt !== null) console.log(`#${id} killed at ${killedAt} tokens`)

await engine.close()
