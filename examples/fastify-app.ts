// OpenAI's endpoints with best_of in an app that has routes of its own.
import Fastify from 'fastify'
import { open } from 'winnow-llm'
import winnow from 'winnow-llm/fastify'

const engine = await open()
const app = Fastify({ requestTimeout: 30_000 })
app.get('/', async () => 'mine')
await app.register(winnow, { engine, name: 'arith', limits: { candidates: 32 } })
const address = await app.listen({ port: 0 })

const problem = 'Mia has 20 pens. In May, she buys 15 more. In June, she loses 4. How many pens does Mia have now?'
const response = await fetch(`${address}/v1/chat/completions`, {
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify({ model: 'arith', messages: [{ role: 'user', content: problem }], best_of: 16, seed: 7 })
})
const { choices } = (await response.json()) as { choices: { message: { content: string } }[] }
console.log(choices[0]?.message.content)

await app.close()
await engine.close()
