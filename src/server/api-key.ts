import { createHash, timingSafeEqual } from 'node:crypto'
import { WinnowError } from '../errors.js'
import type { Call } from './call.js'

/** Keys that open a service, kept as digests: these compare in constant time whatever the keys' lengths. */
export class ApiKeys {
  readonly #digests: readonly Buffer[]

  constructor(keys: readonly string[]) {
    this.#digests = keys.map(digest)
  }

  /** Throws KEY_INVALID, which never says what was sent. */
  check(call: Call): void {
    if (this.#digests.length === 0) return
    const [, sent = ''] = /^Bearer\s+(\S+)\s*$/i.exec(call.header('authorization') ?? '') ?? []
    const given = digest(sent)
    // Every key is looked at, whichever fits.
    const fits = this.#digests.filter((known) => timingSafeEqual(known, given))
    if (fits.length > 0) return
    const received = sent === '' ? 'none' : 'another one'
    throw new WinnowError(
      'KEY_INVALID',
      `Expected the API key for authorization as "Bearer KEY" but received ${received}`
    )
  }
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
