/**
 * The one error class. `code` is stable and is what programs test; the message is a sentence for people,
 * "Expected X for Y but received Z" where a value was at fault. Expected outcomes (memory full, deadline, nothing
 * survived) are not errors: they are reasons in a result.
 */
export const codes = {
  OPTION_INVALID: { retryable: false },
  OPTION_UNKNOWN: { retryable: false },
  PROMPT_EMPTY: { retryable: false },
  PROMPT_INVALID: { retryable: false },
  PROMPT_TOO_LONG: { retryable: false },
  ANSWERS_INVALID: { retryable: false },
  TEMPLATE_MISSING: { retryable: false },
  TEMPLATE_FAILED: { retryable: false },
  NO_TOKENIZER: { retryable: false },
  TOKEN_INVALID: { retryable: false },
  MODEL_NOT_FOUND: { retryable: false },
  MODEL_CORRUPT: { retryable: false },
  MODEL_UNSUPPORTED: { retryable: false },
  LOAD_CANCELLED: { retryable: true },
  DOWNLOAD_FAILED: { retryable: true },
  DOWNLOAD_CORRUPT: { retryable: true },
  ADAPTER_NOT_FOUND: { retryable: false },
  ADAPTER_CORRUPT: { retryable: false },
  ADAPTER_MISMATCH: { retryable: false },
  ADAPTER_UNSUPPORTED: { retryable: false },
  HEAD_NOT_FOUND: { retryable: false },
  HEAD_CORRUPT: { retryable: false },
  HEAD_WIDTH: { retryable: false },
  HEAD_MISSING: { retryable: false },
  HEAD_FEATURES: { retryable: false },
  DEVICE_UNKNOWN: { retryable: false },
  BACKEND_LOAD: { retryable: false },
  ADDON_MISSING: { retryable: false },
  ADDON_MISMATCH: { retryable: false },
  VERSION_MISMATCH: { retryable: false },
  VARIANT_LOADED: { retryable: false },
  VARIANT_UNAVAILABLE: { retryable: false },
  SMOKE_FAILED: { retryable: false },
  CLOSED: { retryable: false },
  RACE_UNKNOWN: { retryable: false },
  GRAMMAR_INVALID: { retryable: false },
  OUT_OF_MEMORY: { retryable: true },
  CONTEXT_TOO_LONG: { retryable: false },
  ENGINE_CLOSED: { retryable: false },
  DEADLINE_PASSED: { retryable: true },
  SCORER_FAILED: { retryable: false },
  SCORE_INVALID: { retryable: false },
  SIGNAL_MISSING: { retryable: false },
  SHAPE_INVALID: { retryable: false },
  JUDGE_FAILED: { retryable: false },
  JUDGE_INVALID: { retryable: false },
  SELECTION_INVALID: { retryable: false },
  PIPELINE_FAILED: { retryable: false },
  POLICY_INVALID: { retryable: false },
  PROBLEMS_NOT_FOUND: { retryable: false },
  TRACES_NOT_FOUND: { retryable: false },
  PROBLEMS_INVALID: { retryable: false },
  RESULTS_NOT_FOUND: { retryable: false },
  RESULTS_MISMATCH: { retryable: false },
  RESULTS_CORRUPT: { retryable: false },
  RESULTS_BUSY: { retryable: true },
  CONFIG_INVALID: { retryable: false },
  SOURCE_NOT_FOUND: { retryable: false },
  SOURCE_INVALID: { retryable: false },
  SAFETENSORS_CORRUPT: { retryable: false },
  HEAD_UNSUPPORTED: { retryable: false },
  HUB_FAILED: { retryable: true },
  INTERRUPTED: { retryable: true },
  WRITE_FAILED: { retryable: false },
  REQUEST_INVALID: { retryable: false },
  REQUEST_TOO_LARGE: { retryable: false },
  REQUEST_TOO_SLOW: { retryable: true },
  MEDIA_UNSUPPORTED: { retryable: false },
  ROUTE_UNKNOWN: { retryable: false },
  METHOD_UNKNOWN: { retryable: false },
  KEY_INVALID: { retryable: false },
  MODEL_UNKNOWN: { retryable: false },
  LOADING: { retryable: true },
  DRAINING: { retryable: true },
  QUEUE_FULL: { retryable: true },
  CLIENT_GONE: { retryable: false },
  READER_TOO_SLOW: { retryable: false },
  POOL_BUSY: { retryable: true },
  POOL_DEAD: { retryable: true },
  DECODE_FAILED: { retryable: true },
  NATIVE_ASSERT: { retryable: true },
  NATIVE: { retryable: false }
} as const satisfies Record<string, { readonly retryable: boolean }>

/** The codes that condemn one prompt of many; what fails otherwise would fail with the next prompt too. */
export const ofOnePrompt = [
  'PROMPT_EMPTY',
  'PROMPT_INVALID',
  'PROMPT_TOO_LONG',
  'CONTEXT_TOO_LONG',
  'TEMPLATE_FAILED',
  'TEMPLATE_MISSING',
  'DECODE_FAILED',
  'LOGITS_INVALID'
] as const

/** A code of the table above, or one the addon added since. */
export type Code = keyof typeof codes | (string & {})

// A symbol of the registry rather than `instanceof`, so that two copies of the package know each other's errors.
const mark = Symbol.for('winnow-llm.error')

export class WinnowError extends Error {
  override readonly name = 'WinnowError'
  readonly code: Code
  /** Whether the same call may succeed later (memory freed, another pool). */
  readonly retryable: boolean
  /** The option at fault, by its place, such as `sampling.topP`; null where none was. */
  readonly field: string | null
  readonly [mark] = true

  constructor(code: Code, message: string, options?: { readonly cause?: unknown; readonly field?: string }) {
    super(message, options)
    this.code = code
    this.field = options?.field ?? null
    this.retryable = (codes as Record<string, { retryable: boolean }>)[code]?.retryable ?? false
  }

  static is(value: unknown): value is WinnowError {
    return typeof value === 'object' && value !== null && mark in value
  }

  /**
   * The error an operation of the addon rejected with, on a stack that leads to the caller: the promise worker has
   * no JavaScript stack, so its error becomes `cause`. Errors that already are ours pass unchanged.
   */
  static from(error: unknown): WinnowError {
    if (WinnowError.is(error)) return error
    const code = (error as { code?: unknown } | null)?.code
    const message = error instanceof Error ? error.message : String(error)
    return new WinnowError(typeof code === 'string' ? code : 'NATIVE', message, { cause: error })
  }
}

/** What an operation of the addon comes to; what it fails with is a WinnowError. */
export async function fromAddon<T>(operation: () => Promise<T>): Promise<T> {
  try {
    return await operation()
  } catch (error) {
    throw WinnowError.from(error)
  }
}

/** The sentence every refusal is made of. */
export function expected(
  code: Code,
  what: string,
  forWhat: string,
  received: unknown,
  options?: { readonly field?: string }
): WinnowError {
  return new WinnowError(code, `Expected ${what} for ${forWhat} but received ${describe(received)}`, options)
}

/** WRITE_FAILED with what the file system said. */
export function cannotWrite(path: string, error: unknown): WinnowError {
  const message = error instanceof Error ? error.message : String(error)
  return new WinnowError('WRITE_FAILED', `Expected to write ${path} but received ${message}`, { cause: error })
}

/** A value as it appears in a sentence: numbers and short texts verbatim, everything else by its kind. */
export function describe(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${value.slice(0, 57)}...` : value)
  if (typeof value === 'bigint') return `${value}n`
  if (value === undefined) return 'nothing'
  if (typeof value === 'function') return 'a function'
  if (Array.isArray(value)) return `an array of ${value.length}`
  if (typeof value === 'object' && value !== null) return 'an object'
  return String(value)
}
