import type { ExtractOptions } from '../../src/heads/extract.js'
import { linear, mlp, ones, rewardModel, shardedRewardModel } from './reward-model.js'
import { f32, safetensors } from './safetensors.js'

/** What is wrong, the files, the code, what the sentence says, options. */
export const badModels: readonly (readonly [
  string,
  Readonly<Record<string, Uint8Array>>,
  string,
  string,
  ExtractOptions?
])[] = [
  ['no files', {}, 'SOURCE_NOT_FOUND', 'Expected a config.json for judge'],
  ['no config', { 'model.safetensors': safetensors(linear('score')) }, 'SOURCE_NOT_FOUND', 'a config.json'],
  ['no safetensors', { 'config.json': Buffer.from('{"hidden_size":4}') }, 'SOURCE_NOT_FOUND', 'pytorch_model.bin'],
  ['a config that is not JSON', { ...rewardModel(), 'config.json': Buffer.from('{') }, 'SOURCE_INVALID', 'not JSON'],
  [
    'a config that is a list',
    { ...rewardModel(), 'config.json': Buffer.from('[]') },
    'SOURCE_INVALID',
    'an array of 0'
  ],
  [
    'a config that says the width twice',
    { ...rewardModel(), 'config.json': Buffer.from('{"hidden_size":4,"hidden_size":8}') },
    'SOURCE_INVALID',
    '"hidden_size" twice'
  ],
  [
    'a config that is not UTF-8',
    { ...rewardModel(), 'config.json': Buffer.from([0x7b, 0xff]) },
    'SOURCE_INVALID',
    'not UTF-8'
  ],
  [
    'a config nested a million deep',
    { ...rewardModel(), 'config.json': Buffer.from('['.repeat(1e6)) },
    'SOURCE_INVALID',
    'nested more than 64'
  ],
  ['no width', rewardModel(undefined, { hidden_size: undefined }), 'SOURCE_INVALID', 'the width of the state'],
  [
    'a negative width',
    rewardModel(undefined, { hidden_size: -4 }),
    'SOURCE_INVALID',
    'hidden_size in config.json of judge but received -4'
  ],
  ['a width that is a text', rewardModel(undefined, { hidden_size: '4' }), 'SOURCE_INVALID', 'received "4"'],
  [
    'another width than the head has',
    rewardModel(undefined, { hidden_size: 8 }),
    'HEAD_WIDTH',
    'Expected 8 inputs for tensor "score.weight" of judge but received "1 x 4"'
  ],
  ['no head', rewardModel({}), 'HEAD_UNSUPPORTED', '1 tensors without one'],
  ['two heads', rewardModel({ ...linear('score'), ...linear('v_head') }), 'HEAD_UNSUPPORTED', 'score and v_head'],
  [
    'a head with a norm',
    rewardModel({ ...linear('score'), 'score.norm.weight': f32([4], ones) }),
    'HEAD_UNSUPPORTED',
    'score with score.norm.weight'
  ],
  [
    'a head of three layers',
    rewardModel({ ...mlp('score'), 'score.4.weight': f32([1, 1], [1]) }),
    'HEAD_UNSUPPORTED',
    '3 layers'
  ],
  [
    'a head that is a layer and has one',
    rewardModel({ ...linear('score'), 'score.0.weight': f32([1, 1], [1]) }),
    'HEAD_UNSUPPORTED',
    'score with 2 layers'
  ],
  [
    'an encoder that pools',
    rewardModel({ ...linear('classifier'), 'bert.pooler.dense.weight': f32([1, 1], [1]) }),
    'HEAD_UNSUPPORTED',
    'a classifier behind bert.pooler.dense.weight'
  ],
  [
    'an encoder with a dense layer',
    rewardModel({ ...linear('classifier'), 'head.dense.weight': f32([1, 1], [1]) }),
    'HEAD_UNSUPPORTED',
    'behind head.dense.weight'
  ],
  ['a head of one dimension', rewardModel({ 'score.weight': f32([4], ones) }), 'HEAD_UNSUPPORTED', 'received "4"'],
  ['a head without outputs', rewardModel({ 'score.weight': f32([0, 4], []) }), 'HEAD_UNSUPPORTED', 'received "0 x 4"'],
  [
    'a bias of another length',
    rewardModel({ ...linear('score'), 'score.bias': f32([2], [1, 2]) }),
    'HEAD_UNSUPPORTED',
    'Expected 1 numbers for tensor "score.bias"'
  ],
  [
    'layers that do not fit',
    rewardModel({ ...mlp('score'), 'score.2.weight': f32([1, 3], [1, 2, 3]) }),
    'HEAD_WIDTH',
    'Expected 2 inputs',
    { activation: 'relu' }
  ],
  [
    'a weight that is not a number',
    rewardModel({ 'score.weight': f32([1, 4], [1, Number.NaN, 1, 1]) }),
    'HEAD_CORRUPT',
    'NaN at position 1'
  ],
  [
    'an infinite bias',
    rewardModel({ ...linear('score'), 'score.bias': f32([1], [1 / 0]) }),
    'HEAD_CORRUPT',
    '"score.bias"'
  ],
  [
    'a difference beyond 32 bits',
    rewardModel({ 'score.weight': f32([2, 4], [3e38, 0, 0, 0, -3e38, 0, 0, 0]) }),
    'HEAD_CORRUPT',
    'Infinity at position 0',
    { label: 0, minus: 1 }
  ],
  [
    '8-bit weights',
    rewardModel({ 'score.weight': { dtype: 'F8_E4M3', shape: [1, 4], data: Buffer.alloc(4) } }),
    'HEAD_UNSUPPORTED',
    'received F8_E4M3'
  ],
  [
    'an index that is a list',
    { ...shardedRewardModel(), 'model.safetensors.index.json': Buffer.from('[]') },
    'SOURCE_INVALID',
    'an array of 0'
  ],
  [
    'an index without a map',
    { ...shardedRewardModel(), 'model.safetensors.index.json': Buffer.from('{}') },
    'SOURCE_INVALID',
    'a weight_map that is nothing'
  ],
  [
    'an index that leads out of the folder',
    {
      ...shardedRewardModel(),
      'model.safetensors.index.json': Buffer.from('{"weight_map":{"score.weight":"../judge.safetensors"}}')
    },
    'SOURCE_INVALID',
    '"score.weight" in "../judge.safetensors"'
  ],
  [
    'an index that names a number',
    { ...shardedRewardModel(), 'model.safetensors.index.json': Buffer.from('{"weight_map":{"score.weight":7}}') },
    'SOURCE_INVALID',
    '"score.weight" in 7'
  ],
  [
    'an index that names a tensor twice',
    {
      ...shardedRewardModel(),
      'model.safetensors.index.json': Buffer.from('{"weight_map":{"a":"a.safetensors","a":"b.safetensors"}}')
    },
    'SOURCE_INVALID',
    '"a" twice'
  ],
  [
    'a shard that is missing',
    {
      ...shardedRewardModel(),
      'model.safetensors.index.json': Buffer.from('{"weight_map":{"score.weight":"a.safetensors"}}')
    },
    'SOURCE_INVALID',
    'in a.safetensors, which is missing'
  ],
  [
    'a shard without the tensor',
    {
      ...shardedRewardModel(),
      'model.safetensors.index.json': Buffer.from('{"weight_map":{"score.weight":"model-00001-of-00002.safetensors"}}')
    },
    'SOURCE_INVALID',
    'which has no such tensor'
  ],
  [
    'a shard that is cut off',
    { ...shardedRewardModel(), 'model-00002-of-00002.safetensors': Buffer.alloc(20) },
    'SAFETENSORS_CORRUPT',
    'a header of 0 bytes'
  ]
]
