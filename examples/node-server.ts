// The same endpoints without a framework: on Node's server, and as a function from Request to Response for any other.
import { open } from 'winnow-llm'
import { Service, serverOf } from 'winnow-llm/server'

const engine = await open()
const service = new Service({ engine, name: 'arith', apiKey: 'a-secret-of-yours' })
const server = serverOf(service).listen(0, '127.0.0.1')

const body = JSON.stringify({
  messages: [{ role: 'user', content: 'Tom has 12 coins. In May, he finds 7. How many coins does Tom have now?' }],
  best_of: 16,
  winnow: { policy: 'spec-reject', checkpoints: 'every:16', returnBranches: true }
})
const headers = { 'content-type': 'application/json', authorization: 'Bearer a-secret-of-yours' }
const request = new Request('http://localhost/v1/chat/completions', { method: 'POST', headers, body })
const answer = (await (await service.handle(request)).json()) as {
  winnow: { branches: { text: string; state: string }[] }
}
for (const { text, state } of answer.winnow.branches) console.log(state, text)

await service.drain(1000)
server.close()
await engine.close()
