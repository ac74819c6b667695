import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import OpenAI from 'openai'
import { listener, Service, type ServiceOptions } from '../../src/server/index.js'

/** A service that listens, and a client that talks to it. */
export interface Serving extends AsyncDisposable {
  readonly service: Service
  readonly url: string
  readonly client: OpenAI
}

export async function serving(options: ServiceOptions, apiKey = 'none'): Promise<Serving> {
  const service = new Service(options)
  const server = createServer(listener(service))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    service,
    url,
    client: new OpenAI({ apiKey, baseURL: `${url}/v1`, maxRetries: 0 }),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    }
  }
}
