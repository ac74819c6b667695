import type { Engine } from '../engine.js'
import { WinnowError } from '../errors.js'
import { toBlock } from '../ladder.js'
import type { BestOfOptions } from '../options.js'
import type { PromptInput } from '../prompt.js'

/** How long what a plan found is believed: memory is taken and freed by others too. Milliseconds. */
const trust = 30_000

/** A template's own tokens, at the most that any known one writes for a message. */
const perMessage = 32

interface Fitting {
  readonly n: number
  readonly cells: number
  readonly until: number
}

/**
 * Refuses what could never be run before it waits. A plan costs milliseconds and reads the model's header, so what is no
 * larger than a race that was planned a moment ago is let in without one.
 */
export class Admission {
  #fitting: Fitting[] = []
  /** One plan at a time. */
  #planning: Promise<unknown> = Promise.resolve()

  /** Throws REQUEST_TOO_LARGE. */
  async admit(engine: Engine, n: number, prompt: PromptInput, options: BestOfOptions): Promise<void> {
    const cells = toBlock(Math.min(engine.model.contextTrain, mostTokens(prompt) + (options.maxTokens ?? 0)))
    if (this.#fits(n, cells)) return
    const plan = this.#planning.then(async () => {
      options.signal?.throwIfAborted()
      return this.#fits(n, cells) ? null : engine.plan(n, prompt, options)
    })
    this.#planning = plan.catch(() => {})
    const found = await plan.catch(() => {
      options.signal?.throwIfAborted()
      // Some scorers cannot be planned for; whatever else is wrong the race finds too.
      return null
    })
    if (found === null) return
    if (!found.admitted) {
      const message = `Expected a request that fits into memory but received ${n} candidates: ${found.why}`
      throw new WinnowError('REQUEST_TOO_LARGE', message, { field: 'best_of' })
    }
    const now = performance.now()
    this.#fitting = [...this.#fitting.filter(({ until }) => until > now), { n, cells, until: now + trust }]
  }

  #fits(n: number, cells: number): boolean {
    const now = performance.now()
    return this.#fitting.some((known) => known.n >= n && known.cells >= cells && known.until > now)
  }
}

/** No token is written with less than a byte. */
function mostTokens(prompt: PromptInput): number {
  if (typeof prompt === 'string') return Buffer.byteLength(prompt) + perMessage
  return prompt.reduce((sum, { role, content }) => sum + Buffer.byteLength(role + content) + perMessage, perMessage)
}
