import { type Code, WinnowError } from '../errors.js'

/** A refused request, as it is answered. */
export interface Refusal {
  readonly status: number
  readonly error: {
    readonly message: string
    readonly type: string
    /** The field at fault; null where there is none. */
    readonly param: string | null
    readonly code: Code
  }
}

const statuses: Readonly<Record<string, number>> = {
  OPTION_INVALID: 400,
  OPTION_UNKNOWN: 400,
  PROMPT_EMPTY: 400,
  PROMPT_INVALID: 400,
  PROMPT_TOO_LONG: 400,
  ANSWERS_INVALID: 400,
  TEMPLATE_MISSING: 400,
  TEMPLATE_FAILED: 400,
  TOKEN_INVALID: 400,
  GRAMMAR_INVALID: 400,
  HEAD_MISSING: 400,
  CONTEXT_TOO_LONG: 400,
  REQUEST_INVALID: 400,
  KEY_INVALID: 401,
  ROUTE_UNKNOWN: 404,
  MODEL_UNKNOWN: 404,
  METHOD_UNKNOWN: 405,
  REQUEST_TOO_SLOW: 408,
  REQUEST_TOO_LARGE: 413,
  MEDIA_UNSUPPORTED: 415,
  // Nobody reads it; nginx's number, for the log.
  CLIENT_GONE: 499,
  // It is on its way down or already closed: another instance may answer.
  ENGINE_CLOSED: 503
}

const types: Readonly<Record<number, string>> = {
  401: 'authentication_error',
  404: 'not_found_error',
  499: 'client_error',
  500: 'server_error',
  503: 'unavailable_error'
}

/** OpenAI's shape with our codes. What is none of the caller's business is said as little about as possible. */
export function refusalOf(failure: unknown): Refusal {
  const error = WinnowError.from(failure)
  const status = statuses[error.code] ?? (error.retryable ? 503 : 500)
  const message = WinnowError.is(failure) ? error.message : 'Expected an answer but something failed'
  const type = types[status] ?? 'invalid_request_error'
  return { status, error: { message, type, param: error.field, code: WinnowError.is(failure) ? error.code : 'NATIVE' } }
}
