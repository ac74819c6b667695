import { rawSafetensors } from './safetensors.js'

const entry = (offsets: string, shape = '[2]', dtype = '"F32"') =>
  `{"dtype":${dtype},"shape":${shape},"data_offsets":${offsets}}`

/** What is wrong, the file, what the sentence says. */
export const badSafetensors: readonly (readonly [string, Uint8Array, string])[] = [
  ['nothing', Buffer.alloc(0), '0 bytes, too few'],
  ['seven bytes', Buffer.alloc(7), '7 bytes, too few'],
  ['a header of no bytes', rawSafetensors('', Buffer.alloc(0)), 'a header of 0 bytes'],
  ['a header that claims 1 GB', rawSafetensors('{}', Buffer.alloc(0), 1n << 30n), 'a header of 1073741824 bytes'],
  ['a header that claims 2^64-1 bytes', rawSafetensors('{}', Buffer.alloc(0), (1n << 64n) - 1n), 'more than 100000000'],
  ['a header longer than the file', rawSafetensors('{}', Buffer.alloc(0), 3n), 'a header of 3 bytes in a file of 10'],
  [
    'a file cut off in its header',
    rawSafetensors(`{"a":${entry('[0,8]')}}`, Buffer.alloc(8)).subarray(0, 30),
    'in a file'
  ],
  ['a file cut off in its data', rawSafetensors(`{"a":${entry('[0,8]')}}`, Buffer.alloc(7)), 'beyond the end'],
  ['a pickle', Buffer.concat([Buffer.from('PK\x03\x04\0\0\0\0'), Buffer.alloc(50)]), 'a header of 67324752 bytes'],
  ['a GGUF', Buffer.concat([Buffer.from('GGUF\x03\0\0\0'), Buffer.alloc(50)]), 'more than 100000000'],
  ['a header that is an array', rawSafetensors('[]', Buffer.alloc(0)), 'does not begin with "{"'],
  ['a header that begins with a space', rawSafetensors(' {}', Buffer.alloc(0)), 'does not begin with "{"'],
  ['a header that is not JSON', rawSafetensors('{oops}', Buffer.alloc(0)), 'text that is not JSON'],
  ['a header that ends in a string', rawSafetensors('{"a', Buffer.alloc(0)), 'text that is not JSON'],
  ['a header of two objects', rawSafetensors('{}{}', Buffer.alloc(0)), 'text that is not JSON'],
  ['a header that is not UTF-8', rawSafetensors(Buffer.from([0x7b, 0xff, 0x7d]), Buffer.alloc(0)), 'not UTF-8'],
  ['nesting', rawSafetensors(`{"a":${'['.repeat(1e6)}`, Buffer.alloc(0)), 'nested more than 4 deep'],
  ['a tensor twice', rawSafetensors(`{"a":${entry('[0,8]')},"a":${entry('[0,8]')}}`, Buffer.alloc(8)), '"a" twice'],
  [
    'a tensor twice, spelt differently',
    rawSafetensors(`{"a":${entry('[0,8]')},"\\u0061" :${entry('[0,8]')}}`, Buffer.alloc(8)),
    '"a" twice'
  ],
  [
    'a key of a tensor twice',
    rawSafetensors('{"a":{"dtype":"F32","dtype":"F16","shape":[2],"data_offsets":[0,8]}}', Buffer.alloc(8)),
    '"dtype" twice'
  ],
  ['a tensor that is a number', rawSafetensors('{"a":1}', Buffer.alloc(0)), 'not described by an object'],
  ['a tensor that is an array', rawSafetensors('{"a":[]}', Buffer.alloc(0)), 'not described by an object'],
  [
    'an unknown key',
    rawSafetensors('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}}', Buffer.alloc(8)),
    'an unknown key "x"'
  ],
  [
    'an unknown type',
    rawSafetensors(`{"a":${entry('[0,8]', '[2]', '"F33"')}}`, Buffer.alloc(8)),
    'of unknown type "F33"'
  ],
  [
    'a type that is a number',
    rawSafetensors(`{"a":${entry('[0,8]', '[2]', '32')}}`, Buffer.alloc(8)),
    'of unknown type 32'
  ],
  [
    'a type called constructor',
    rawSafetensors(`{"a":${entry('[0,8]', '[2]', '"constructor"')}}`, Buffer.alloc(8)),
    'of unknown type'
  ],
  ['no type', rawSafetensors('{"a":{"shape":[2],"data_offsets":[0,8]}}', Buffer.alloc(8)), 'of unknown type nothing'],
  ['a negative length', rawSafetensors(`{"a":${entry('[0,8]', '[-2]')}}`, Buffer.alloc(8)), 'whose shape'],
  ['half a length', rawSafetensors(`{"a":${entry('[0,8]', '[2.5]')}}`, Buffer.alloc(8)), 'whose shape'],
  ['no shape', rawSafetensors('{"a":{"dtype":"F32","data_offsets":[0,8]}}', Buffer.alloc(8)), 'whose shape'],
  [
    'a length beyond 2^53',
    rawSafetensors(`{"a":${entry('[0,8]', '[9007199254740993]')}}`, Buffer.alloc(8)),
    'whose shape'
  ],
  [
    'lengths whose product overflows',
    rawSafetensors(`{"a":${entry('[0,8]', '[4294967296,4294967296]')}}`, Buffer.alloc(8)),
    'impossible size'
  ],
  [
    'lengths that overflow before a zero',
    rawSafetensors(`{"a":${entry('[0,0]', '[4294967296,4294967296,0]')}}`, Buffer.alloc(0)),
    'impossible size'
  ],
  ['one offset', rawSafetensors(`{"a":${entry('[0]')}}`, Buffer.alloc(8)), 'not two whole numbers'],
  ['a negative offset', rawSafetensors(`{"a":${entry('[-8,0]')}}`, Buffer.alloc(8)), 'not two whole numbers'],
  ['an offset that is a text', rawSafetensors(`{"a":${entry('["0",8]')}}`, Buffer.alloc(8)), 'not two whole numbers'],
  ['an end before the beginning', rawSafetensors(`{"a":${entry('[8,0]')}}`, Buffer.alloc(8)), 'ends before it begins'],
  ['offsets beyond the data', rawSafetensors(`{"a":${entry('[8,16]')}}`, Buffer.alloc(8)), 'beyond the end'],
  [
    'offsets near 2^53',
    rawSafetensors(`{"a":${entry('[9007199254740983,9007199254740991]')}}`, Buffer.alloc(8)),
    'beyond the end'
  ],
  [
    'fewer bytes than type and shape need',
    rawSafetensors(`{"a":${entry('[0,8]', '[3]')}}`, Buffer.alloc(8)),
    'of 8 bytes where its type and shape need 12'
  ],
  [
    'more bytes than type and shape need',
    rawSafetensors(`{"a":${entry('[0,8]', '[2]', '"F16"')}}`, Buffer.alloc(8)),
    'of 8 bytes where its type and shape need 4'
  ],
  [
    'two tensors in the same bytes',
    rawSafetensors(`{"a":${entry('[0,8]')},"b":${entry('[0,8]')}}`, Buffer.alloc(8)),
    'in the bytes of another'
  ],
  [
    'tensors that overlap',
    rawSafetensors(`{"a":${entry('[0,8]')},"b":${entry('[4,12]')}}`, Buffer.alloc(12)),
    'tensor "b" in the bytes of another'
  ],
  ['a hole before the first tensor', rawSafetensors(`{"a":${entry('[4,12]')}}`, Buffer.alloc(12)), 'a hole of 4 bytes'],
  [
    'a hole between tensors',
    rawSafetensors(`{"a":${entry('[0,8]')},"b":${entry('[9,17]')}}`, Buffer.alloc(17)),
    'a hole of 1 bytes before tensor "b"'
  ],
  [
    'bytes after the last tensor',
    rawSafetensors(`{"a":${entry('[0,8]')}}`, Buffer.alloc(9)),
    '1 bytes that belong to no tensor'
  ],
  ['bytes and no tensors', rawSafetensors('{}', Buffer.alloc(4)), '4 bytes that belong to no tensor'],
  ['metadata that is a list', rawSafetensors('{"__metadata__":[]}', Buffer.alloc(0)), 'a "__metadata__" that is not'],
  [
    'metadata with a number',
    rawSafetensors('{"__metadata__":{"a":1}}', Buffer.alloc(0)),
    'a "__metadata__" that is not'
  ]
]
