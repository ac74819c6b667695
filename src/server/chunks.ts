import type { Ask } from './ask.js'
import type { EventStream } from './event-stream.js'
import { type Answer, type choicesOf, type Envelope, ownReport, usageOf } from './reply.js'

type Choices = Awaited<ReturnType<typeof choicesOf>>

/** An answer in pieces: OpenAI's chunks. Until the race is over all n answers begin alike. */
export class Chunks {
  readonly #events: EventStream
  readonly #ask: Ask
  readonly #head: Envelope & { readonly object: string; readonly usage?: null }
  #begun = false

  constructor(events: EventStream, ask: Ask, envelope: Envelope) {
    this.#events = events
    this.#ask = ask
    const object = ask.kind === 'chat' ? 'chat.completion.chunk' : 'text_completion'
    // Where the usage is asked for, every chunk but its own has none.
    this.#head = { ...envelope, object, ...(ask.stream?.usage && { usage: null }) }
  }

  /** Text that all answers go on with. */
  text(text: string): void {
    for (let index = 0; index < this.#ask.n; index++) this.#choice(index, text, null, null)
  }

  /** The rest of each answer behind `sent`, why it ended, and what it cost. */
  finish(answer: Answer, choices: Choices, sent: string): void {
    for (const { index, text, logprobs } of choices) {
      const rest = text.slice(sent.length)
      if (rest !== '' || logprobs !== null) this.#choice(index, rest, logprobs, null)
    }
    const winnow = ownReport(answer, this.#ask)
    for (const { index, finish_reason } of choices) {
      this.#choice(index, null, null, finish_reason, index === choices.length - 1 ? { winnow } : {})
    }
    if (this.#ask.stream?.usage) this.#events.send({ ...this.#head, choices: [], usage: usageOf(answer.result) })
    this.#events.end()
  }

  fail(error: object): void {
    this.#events.send({ error })
    this.#events.end()
  }

  #choice(index: number, text: string | null, logprobs: object | null, finish: string | null, more: object = {}): void {
    const state = { index, logprobs, finish_reason: finish }
    if (this.#ask.kind === 'completion') {
      this.#events.send({ ...this.#head, choices: [{ ...state, text: text ?? '' }], ...more })
      return
    }
    if (!this.#begun) {
      this.#begun = true
      for (let each = 0; each < this.#ask.n; each++) {
        const delta = { role: 'assistant', content: '', refusal: null }
        this.#events.send({
          ...this.#head,
          choices: [{ index: each, delta, logprobs: null, finish_reason: null }]
        })
      }
    }
    this.#events.send({
      ...this.#head,
      choices: [{ ...state, delta: text === null ? {} : { content: text } }],
      ...more
    })
  }
}
