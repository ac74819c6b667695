import type { FastifyPluginAsync } from 'fastify'
import { nodeCall } from './node-call.js'
import { routes } from './routes.js'
import { Service } from './service.js'
import type { ServiceOptions } from './service-options.js'

export interface WinnowPluginOptions extends ServiceOptions {
  /** Milliseconds that requests in flight have when the app closes; then they end with the best so far. Default 30,000. */
  readonly drainMs?: number | undefined
}

/**
 * The service's routes in a fastify 5 app, below the `prefix` they are registered with. The app's hooks run for them as for
 * others; bodies are read here, with the limits of the service. Headers and idle connections are the app's to time out
 * (`connectionTimeout`, `requestTimeout`).
 */
const winnow: FastifyPluginAsync<WinnowPluginOptions> = async (app, { drainMs = 30_000, ...options }) => {
  const { prefix: _, ...own } = options as ServiceOptions & { readonly prefix?: string }
  const service = new Service(own)
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (_request, _payload, done) => done(null))
  for (const { method, path } of routes) {
    app.route({
      method,
      url: path,
      handler: async (request, reply) => {
        const { model = '' } = request.params as { readonly model?: string }
        const at = path.replace(':model', () => encodeURIComponent(model))
        return reply.send(await service.answer(nodeCall(request.raw, reply.raw, at)))
      }
    })
  }
  app.addHook('preClose', () => service.drain(drainMs))
}

export default winnow
