/**
 * Bodies that no client would send. With WINNOW_FUZZ_RUNS=100000 so many go to each endpoint of the embedded model;
 * otherwise a few, and more to a scripted one.
 */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { open } from '../src/engine.js'
import { Service } from '../src/server/index.js'
import { bodiesOf } from './fakes/bodies.js'
import { fakeEngine } from './fakes/engine.js'

interface Refused {
  readonly error: { readonly code: string }
}

const long = process.env.WINNOW_FUZZ_RUNS
const scripted = async () =>
  fakeEngine({ length: (id) => 1 + (id % 5) }, { facts: { chatTemplate: '{{ messages }}' } }).engine
const engines = [
  { on: 'a scripted engine', opened: scripted, runs: 1000 },
  { on: 'the embedded model', opened: () => open(undefined, { threads: 1 }), runs: Number(long ?? 60) }
]

describe.each(engines)('$on', ({ opened, runs }) => {
  it.each(['completions', 'chat/completions', 'score'] as const)(
    'answers, refuses or is busy, whatever is sent to /v1/%s',
    async (path) => {
      await using engine = await opened()
      const { handle } = new Service({ engine, limits: { defaultTokens: 8, deadlineMs: 10_000 } })
      const seen = new Set<number>()
      await fc.assert(
        fc.asyncProperty(bodiesOf(path), async (body) => {
          const headers = { 'content-type': 'application/json' }
          const response = await handle(new Request(`http://x/v1/${path}`, { method: 'POST', headers, body }))
          const text = await response.text()
          const { status } = response
          seen.add(status)
          expect(status < 500 || status === 503, `${status}: ${text}`).toBe(true)
          if (status === 503) expect(response.headers.get('retry-after')).toMatch(/^\d+$/)
          if (status >= 400) expect((JSON.parse(text) as Refused).error.code).toMatch(/^[A-Z_]+$/)
        }),
        { numRuns: runs }
      )
      // It is not all refused, nor all taken.
      expect(seen).toContain(400)
      expect(seen).toContain(200)
    },
    long === undefined ? 120_000 : 86_400_000
  )
})
