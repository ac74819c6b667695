import { WinnowError } from '../errors.js'

/**
 * Server-sent events with a bound on what a slow reader leaves unread. Beyond it, or when the reader goes away, `gone` is
 * called and nothing more is sent.
 */
export class EventStream {
  readonly body: ReadableStream<Uint8Array>
  readonly #encoder = new TextEncoder()
  readonly #gone: (reason: WinnowError) => void
  #controller!: ReadableStreamDefaultController<Uint8Array>
  #open = true

  /** `buffer`: bytes. */
  constructor(buffer: number, gone: (reason: WinnowError) => void) {
    this.#gone = gone
    this.body = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller
        },
        cancel: () => this.#leave(new WinnowError('CLIENT_GONE', 'Expected a reader for the stream but it went away'))
      },
      new ByteLengthQueuingStrategy({ highWaterMark: buffer })
    )
  }

  /** One event; `name` is for events beside OpenAI's. */
  send(data: object, name?: string): void {
    this.#write(`${name === undefined ? '' : `event: ${name}\n`}data: ${JSON.stringify(data)}\n\n`)
  }

  /** A comment, which readers pass over: Node sends headers with the first bytes, and the text may take long. */
  begin(): void {
    this.#write(': writing\n\n')
  }

  /** The end as OpenAI's clients expect it. */
  end(): void {
    this.#write('data: [DONE]\n\n')
    if (!this.#open) return
    this.#open = false
    this.#controller.close()
  }

  #write(text: string): void {
    if (!this.#open) return
    this.#controller.enqueue(this.#encoder.encode(text))
    if ((this.#controller.desiredSize ?? 0) >= 0) return
    const reason = new WinnowError(
      'READER_TOO_SLOW',
      'Expected the stream to be read but too much of it was left unread'
    )
    this.#leave(reason)
    this.#controller.error(reason)
  }

  #leave(reason: WinnowError): void {
    if (!this.#open) return
    this.#open = false
    this.#gone(reason)
  }
}
