import {
  array,
  type FakeGguf,
  type FakeGgufTensor,
  type FakeValue,
  float,
  floats,
  gguf,
  long,
  numbers,
  text,
  texts,
  u32
} from './gguf.js'

/** A correct linear head of width 4 with two features. */
export const goodLinear: FakeGguf = {
  magic: 'GGUF',
  version: 3,
  values: [
    ['general.architecture', text('winnow-head')],
    ['winnow.head.version', u32(1)],
    ['winnow.head.width', u32(4)],
    ['winnow.head.layer', text('final-norm')],
    ['winnow.head.kind', text('linear')],
    ['winnow.head.hidden', u32(0)],
    ['winnow.head.activation', text('silu')],
    ['winnow.head.output', text('logit')],
    ['winnow.head.window', u32(16)],
    ['winnow.head.features', texts(['mean_logprob', 'log_tokens'])],
    ['winnow.head.feature_mean', numbers([0, 1])],
    ['winnow.head.feature_std', numbers([1, 2])],
    ['winnow.head.trained_on', text('a test')],
    ['winnow.head.model_sha256', text('')]
  ],
  tensors: [
    { name: 'head.weight', shape: [6, 1], data: floats([1, 2, 3, 4, 5, 6]) },
    { name: 'head.bias', shape: [1], data: floats([7]) }
  ]
}

/** A correct head of width 2 with three units. */
export const goodMlp: FakeGguf = {
  ...withValues({
    width: u32(2),
    kind: text('mlp'),
    hidden: u32(3),
    features: texts([]),
    feature_mean: numbers([]),
    feature_std: numbers([])
  }),
  tensors: [
    { name: 'head.0.weight', shape: [2, 3], data: floats([1, 2, 3, 4, 5, 6]) },
    { name: 'head.0.bias', shape: [3], data: floats([1, 2, 3]) },
    { name: 'head.1.weight', shape: [3, 1], data: floats([1, -1, 1]) },
    { name: 'head.1.bias', shape: [1], data: floats([0.5]) }
  ]
}

function withValues(changes: Readonly<Record<string, FakeValue | null>>, good = goodLinear): FakeGguf {
  const changed = good.values.flatMap(([key, value]): [string, FakeValue][] => {
    const change = changes[key.replace('winnow.head.', '')]
    return change === null ? [] : [[key, change ?? value]]
  })
  return { ...good, values: changed }
}

function withTensor(name: string, change: Partial<FakeGgufTensor> | null, good = goodLinear): FakeGguf {
  const tensors = good.tensors.flatMap((tensor) => {
    if (tensor.name !== name) return [tensor]
    return change === null ? [] : [{ ...tensor, ...change }]
  })
  return { ...good, tensors }
}

const value = (name: string, changed: FakeValue | null, good = goodLinear) =>
  gguf(withValues({ [name]: changed }, good))
const tensor = (name: string, changed: Partial<FakeGgufTensor> | null, good = goodLinear) =>
  gguf(withTensor(name, changed, good))
/** A head of version 2, which has a line by position. */
function positions(
  at: readonly number[],
  scale: readonly number[],
  bias: readonly number[],
  changes: Readonly<Record<string, FakeValue>> = {}
) {
  const head = withValues({ version: u32(2), ...changes })
  const line: [string, FakeValue][] = [
    ['winnow.head.position_log_tokens', numbers(at)],
    ['winnow.head.position_scale', numbers(scale)],
    ['winnow.head.position_bias', numbers(bias)]
  ]
  return gguf({ ...head, values: [...head.values, ...line] })
}
const added = (key: string, changed: FakeValue) =>
  gguf({ ...goodLinear, values: [...goodLinear.values, [key, changed]] })
const good = gguf(goodLinear)

/** What is wrong, the file, what the sentence says. */
export const badHeads: readonly (readonly [string, Uint8Array, string])[] = [
  ['nothing', Buffer.alloc(0), 'ends inside its header'],
  ['text', Buffer.from('this is not a head at all'), "does not start with 'GGUF'"],
  ['four bytes', Buffer.from('GGUF'), 'ends inside its header'],
  ['zeros', Buffer.alloc(4096), "does not start with 'GGUF'"],
  ['a safetensors file', Buffer.from('\x02\0\0\0\0\0\0\0{}'), "does not start with 'GGUF'"],
  ['GGUF version 1', gguf({ ...goodLinear, version: 1 }), 'GGUF version 1'],
  ['GGUF version 4', gguf({ ...goodLinear, version: 4 }), 'GGUF version 4'],
  ['the bytes of a version the other way round', gguf({ ...goodLinear, version: 3 << 24 }), 'GGUF version 50331648'],
  ['a claim of 2^63 tensors', gguf({ ...goodLinear, tensorCount: 1n << 63n }), 'a list of 9223372036854775808 tensors'],
  ['a claim of 2^40 values', gguf({ ...goodLinear, valueCount: 1n << 40n }), 'a list of 1099511627776 metadata values'],
  ['a claim of one tensor more', gguf({ ...goodLinear, tensorCount: 3n }), 'a tensor name of'],
  ['a claim of one value less', gguf({ ...goodLinear, valueCount: 13n }), 'tensor'],
  [
    'a key of 1 GB',
    Buffer.concat([good.subarray(0, 24), long(1n << 30n), good.subarray(32)]),
    'a metadata key of 1073741824 bytes'
  ],
  [
    'a text of 2^64-1 bytes',
    value('trained_on', { type: 8, bytes: long((1n << 64n) - 1n) }),
    'a metadata string of 18446744073709551615 bytes'
  ],
  ['a key twice', added('winnow.head.width', u32(4)), "metadata key 'winnow.head.width' twice"],
  ['an empty key', added('', u32(4)), 'an empty metadata key'],
  ['a value of unknown type', added('x', { type: 99, bytes: Buffer.alloc(8) }), 'a metadata value of unknown type 99'],
  ['an array of arrays', added('x', array(9, 1, Buffer.alloc(12))), 'an array of arrays'],
  [
    'an array that claims 2^40 elements',
    added('x', array(4, 1n << 40n, Buffer.alloc(0))),
    'a metadata array of 1099511627776 elements'
  ],
  ['an alignment of 3', added('general.alignment', u32(3)), 'a general.alignment of 3'],
  ['an alignment of 0', added('general.alignment', u32(0)), 'a general.alignment of 0'],
  ['an alignment that is a text', added('general.alignment', text('32')), 'a general.alignment that is not a u32'],
  ['no version', value('version', null), 'no winnow.head.version'],
  ['version 2 without positions', value('version', u32(2)), 'no winnow.head.position_log_tokens'],
  ['version 3', value('version', u32(3)), 'winnow.head.version = 3'],
  ['no positions', positions([], [], []), '0 positions with 0 scales and 0 biases'],
  ['fewer scales than positions', positions([1, 2], [1], [0, 0]), '2 positions with 1 scales and 2 biases'],
  ['positions that fall', positions([2, 1], [1, 1], [0, 0]), 'positions that are not finite and ascending'],
  ['a scale of 0', positions([1], [0], [0]), 'a scale by position that is not finite and positive'],
  ['a bias that is not a number', positions([1], [1], [Number.NaN]), 'a bias by position that is not finite'],
  [
    'positions without tokens to go by',
    positions([1], [1], [0], { features: texts(['mean_logprob', 'min_logprob']) }),
    "scales by position without the feature 'log_tokens'"
  ],
  ['no width', value('width', null), 'no winnow.head.width'],
  ['width 0', value('width', u32(0)), 'winnow.head.width = 0'],
  ['width 2^32-1', value('width', u32(2 ** 32 - 1)), 'winnow.head.width = 4294967295'],
  ['a width that is a float', value('width', float(4)), 'winnow.head.width of another type'],
  [
    'a width other than the weights have',
    value('width', u32(5)),
    "tensor 'head.weight' of shape 6 x 1 where 7 x 1 belongs"
  ],
  ['another layer', value('layer', text('embedding')), "winnow.head.layer = 'embedding'"],
  ['an unknown kind', value('kind', text('tree')), "winnow.head.kind = 'tree'"],
  ['an unknown output', value('output', text('probability')), "winnow.head.output = 'probability'"],
  ['another window', value('window', u32(8)), 'winnow.head.window = 8'],
  ['features that are numbers', value('features', numbers([1, 2])), 'winnow.head.features of another type'],
  ['an unknown feature', value('features', texts(['mean_logprob', 'mood'])), "unknown feature 'mood'"],
  ['a feature twice', value('features', texts(['log_tokens', 'log_tokens'])), "feature 'log_tokens' twice"],
  ['a mean too few', value('feature_mean', numbers([0])), '2 features with 1 means and 2 deviations'],
  [
    'a deviation of 0',
    value('feature_std', numbers([1, 0])),
    "deviation of 'log_tokens' that is not finite and positive"
  ],
  ['a negative deviation', value('feature_std', numbers([-1, 1])), "deviation of 'mean_logprob' that is not finite"],
  ['a deviation that is not a number', value('feature_std', numbers([1, Number.NaN])), "deviation of 'log_tokens'"],
  ['an infinite mean', value('feature_mean', numbers([1 / 0, 1])), "deviation of 'mean_logprob'"],
  ['no weights', tensor('head.weight', null), "no tensor 'head.weight'"],
  ['no bias', tensor('head.bias', null), "no tensor 'head.bias'"],
  ['weights of two outputs', tensor('head.weight', { shape: [3, 2] }), 'of shape 3 x 2 where 6 x 1 belongs'],
  ['weights in F16', tensor('head.weight', { type: 1 }), 'of a type other than F32'],
  ['weights of an unknown type', tensor('head.weight', { type: 4000 }), 'of a type other than F32'],
  [
    'a weight that is not a number',
    tensor('head.weight', { data: floats([1, 2, Number.NaN, 4, 5, 6]) }),
    "a value in tensor 'head.weight' that is not finite"
  ],
  [
    'an infinite bias',
    tensor('head.bias', { data: floats([-1 / 0]) }),
    "a value in tensor 'head.bias' that is not finite"
  ],
  ['weights beyond the end', tensor('head.weight', { offset: 64n }), "tensor 'head.weight' that lies outside the file"],
  ['an offset of 2^64-32', tensor('head.weight', { offset: (1n << 64n) - 32n }), 'lies outside the file'],
  ['a file cut off in its weights', good.subarray(0, good.length - 48), 'lies outside the file'],
  [
    'a tensor twice',
    gguf({ ...goodLinear, tensors: [...goodLinear.tensors, ...goodLinear.tensors] }),
    "tensor 'head.weight' twice"
  ],
  ['a tensor of five dimensions', tensor('head.weight', { shape: [6, 1, 1, 1, 1] }), 'of 5 dimensions'],
  ['dimensions whose product overflows', tensor('head.weight', { shape: [1n << 62n, 4] }), 'of impossible size'],
  ['a dimension of 2^64-1', tensor('head.weight', { shape: [(1n << 64n) - 1n] }), 'of impossible size'],
  [
    'a tensor name of 1000 bytes',
    gguf({ ...goodLinear, tensors: [{ name: 'n'.repeat(1000), shape: [1], data: floats([1]) }] }),
    'a tensor name of 1000 bytes'
  ],
  [
    'a head of 2^40 weights',
    gguf(
      withTensor(
        'head.0.weight',
        { shape: [1 << 20, 1 << 20] },
        withValues({ width: u32(1 << 20), hidden: u32(1 << 20) }, goodMlp)
      )
    ),
    'lies outside the file'
  ],
  ['units and no number of them', value('hidden', u32(0), goodMlp), 'winnow.head.hidden = 0'],
  [
    'another number of units',
    value('hidden', u32(4), goodMlp),
    "tensor 'head.0.weight' of shape 2 x 3 where 2 x 4 belongs"
  ],
  ['an activation we do not have', value('activation', text('gelu'), goodMlp), "winnow.head.activation = 'gelu'"],
  ['no second layer', tensor('head.1.weight', null, goodMlp), "no tensor 'head.1.weight'"],
  [
    'a second layer of another width',
    tensor('head.1.weight', { shape: [2, 1], data: floats([1, 2]) }, goodMlp),
    "tensor 'head.1.weight' of shape 2 x 1 where 3 x 1 belongs"
  ]
]
