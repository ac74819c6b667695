// A scorer is a function from texts to numbers; here the texts with the most equations that add up win.
import { every, open, specReject } from 'winnow-llm'

const engine = await open(undefined, { head: null })
const problem = 'Mia has 20 pens. In May, she buys 15 more. In June, she loses 4. How many pens does Mia have now?'

const right = (text: string) =>
  [...text.matchAll(/(\d+) ([+-]) (\d+) = (\d+)/g)].filter(([, a, sign, b, result]) => {
    return Number(a) + (sign === '+' ? 1 : -1) * Number(b) === Number(result)
  }).length

const best = await engine.bestOf(16, problem, {
  policy: specReject({ checkpoints: every(24) }),
  scorer: (candidates) => candidates.map(({ text }) => right(text)),
  onCheckpoint: ({ tokens, killed }) => console.log(`${tokens} tokens deep: ${killed.length} killed`)
})

console.log(best.text)
await engine.close()
