// OpenAI's own client, unchanged: sixteen candidates race, and the best one's text streams as soon as it is decided.
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import OpenAI from 'openai'
import { open } from 'winnow-llm'
import { Service, serverOf } from 'winnow-llm/server'

const engine = await open()
const server = serverOf(new Service({ engine, bestOf: 16 })).listen(0, '127.0.0.1')
await once(server, 'listening')

const { port } = server.address() as AddressInfo
const client = new OpenAI({ baseURL: `http://127.0.0.1:${port}/v1`, apiKey: 'none' })
const problem = 'Tom has 12 coins. In May, he finds 7. How many coins does Tom have now?'
const messages = [{ role: 'user' as const, content: problem }]
const stream = await client.chat.completions.create({ model: 'default', messages, seed: 7, stream: true })
let text = ''
for await (const { choices } of stream) text += choices[0]?.delta.content ?? ''
console.log(text)

server.closeAllConnections()
server.close()
await engine.close()
