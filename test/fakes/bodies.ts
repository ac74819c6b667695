import fc from 'fast-check'

const hostile = fc.oneof(
  fc.constantFrom(
    null,
    -1,
    0,
    1,
    2,
    1e9,
    1.5,
    -0,
    2 ** 53,
    '',
    'a',
    '8',
    [],
    {},
    true,
    false,
    [[]],
    [null],
    '\ud800',
    '\0'
  ),
  fc.constantFrom('head', 'head@/etc/passwd', 'best-of-n', 'spec-reject', 'every:1', 'doubling:0', 'at:', '__proto__'),
  fc.jsonValue({ maxDepth: 3 })
)
const word = fc.constantFrom('hi', 'one two', '<s>', 'é😀', ' ', 'x'.repeat(3000))
const small = fc.integer({ min: 1, max: 4 })
const message = fc.record({ role: fc.constantFrom('user', 'system', 'developer', 'assistant'), content: word })
const schema = fc.constantFrom(
  { type: 'object' },
  { type: 'string', maxLength: 3 },
  { enum: ['a', 1, null] },
  { $ref: '#/$defs/a', $defs: { a: { $ref: '#/$defs/a' } } },
  { type: 'array', items: {}, maxItems: 2 ** 40 },
  { type: 'string', pattern: '(' }
)

/** What a field may well be, at one endpoint or another. */
const likely = {
  model: fc.constantFrom('default', 'fake'),
  prompt: word,
  messages: fc.array(message, { maxLength: 3 }),
  answers: fc.array(word, { minLength: 1, maxLength: 3 }),
  n: small,
  best_of: small,
  max_tokens: small,
  max_completion_tokens: small,
  temperature: fc.double({ min: 0, max: 2, noNaN: true }),
  top_p: fc.double({ min: 0, max: 1, noNaN: true }),
  logit_bias: fc.dictionary(fc.nat(300).map(String), fc.integer({ min: -100, max: 100 }), { maxKeys: 3 }),
  seed: fc.maxSafeInteger(),
  stop: fc.array(word, { maxLength: 3 }),
  stream: fc.boolean(),
  stream_options: fc.record({ include_usage: fc.boolean() }),
  response_format: fc.record({
    type: fc.constantFrom('text', 'json_object', 'json_schema'),
    json_schema: fc.record({ name: word, schema })
  }),
  logprobs: fc.oneof(fc.boolean(), small),
  user: word,
  tools: fc.constant([]),
  winnow: fc.record(
    {
      policy: fc.constantFrom('best-of-n', 'spec-reject', 'keep-enough', 'random-kill'),
      alpha: fc.double({ min: 0, max: 0.9, noNaN: true }),
      checkpoints: fc.constantFrom('every:1', 'doubling:2', '1,2,3'),
      scorer: fc.constantFrom('head', 'mean-logprob', 'self-certainty'),
      deadlineMs: fc.integer({ min: 1, max: 10_000 }),
      tokenBudget: fc.integer({ min: 1, max: 50 }),
      returnBranches: fc.boolean(),
      events: fc.boolean()
    },
    { requiredKeys: [] }
  )
}
const own = { score: ['answers'], completions: ['prompt'], 'chat/completions': ['messages'] } as const
const shared = ['model', 'user'] as const
const written = [
  'n',
  'best_of',
  'max_tokens',
  'temperature',
  'top_p',
  'logit_bias',
  'seed',
  'stop',
  'stream',
  'stream_options',
  'response_format',
  'winnow'
] as const

type Name = keyof typeof likely
export type Endpoint = keyof typeof own

const record = (names: readonly Name[], required: readonly Name[] = []) =>
  fc.record(Object.fromEntries(names.map((name) => [name, likely[name]])) as Record<string, fc.Arbitrary<unknown>>, {
    requiredKeys: [...required]
  })

/** A request with nothing wrong, or a field or two that are, or no request at all; as text. */
export function bodiesOf(endpoint: Endpoint): fc.Arbitrary<string> {
  const required: readonly Name[] = own[endpoint]
  const optional: readonly Name[] = endpoint === 'score' ? ['prompt', 'messages', ...shared] : [...shared, ...written]
  const right = record([...required, ...optional], required)
  const names = Object.keys(likely) as Name[]
  const wrong = fc.array(fc.tuple(fc.constantFrom<string>(...names, 'suffix', 'tools', 'x'), hostile), { maxLength: 2 })
  const half = fc.tuple(right, wrong).map(([fields, changes]) => ({ ...fields, ...Object.fromEntries(changes) }))
  return fc.oneof(
    { weight: 4, arbitrary: right.map((body) => JSON.stringify(body)) },
    { weight: 8, arbitrary: half.map((body) => JSON.stringify(body)) },
    { weight: 2, arbitrary: record(names).map((body) => JSON.stringify(body)) },
    fc.json({ maxDepth: 8 }),
    fc.string({ unit: 'binary' }),
    fc.constantFrom(
      '',
      '{',
      '{"prompt":"hi","__proto__":{"n":4}}',
      '{"constructor":1}',
      '['.repeat(5000),
      '{"n":1e999}'
    )
  )
}
