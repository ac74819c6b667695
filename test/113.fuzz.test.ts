/** Bodies that no client would send. `bench/load/fuzz.mjs` does this for longer. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Service } from '../src/server/index.js'
import { bodiesOf } from './fakes/bodies.js'
import { fakeEngine } from './fakes/engine.js'

const runs = 1000

describe.each(['completions', 'chat/completions', 'score'] as const)('/v1/%s', (path) => {
  it('answers, refuses or is busy, whatever it is sent', async () => {
    const { engine } = fakeEngine({ length: (id) => 1 + (id % 5) }, { facts: { chatTemplate: '{{ messages }}' } })
    const { handle } = new Service({ engine, limits: { defaultTokens: 8, deadlineMs: 10_000 } })
    const seen = new Set<number>()
    await fc.assert(
      fc.asyncProperty(bodiesOf(path), async (body) => {
        const headers = { 'content-type': 'application/json' }
        const response = await handle(new Request(`http://x/v1/${path}`, { method: 'POST', headers, body }))
        const text = await response.text()
        seen.add(response.status)
        expect(response.status).toBeLessThanOrEqual(503)
        expect(response.status >= 500 && response.status !== 503).toBe(false)
        if (response.status === 503) expect(response.headers.get('retry-after')).toMatch(/^\d+$/)
        if (response.status >= 400)
          expect((JSON.parse(text) as { error: { code: string } }).error.code).toMatch(/^[A-Z_]+$/)
      }),
      { numRuns: runs }
    )
    // It is not all refused for the same reason.
    expect(seen).toContain(400)
    expect(seen).toContain(200)
  })
})
