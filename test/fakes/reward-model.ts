import { type FakeTensor, f32, safetensors } from './safetensors.js'

/** Files of a reward model of width 4; its backbone is one tensor of 400 kB. */
export function rewardModel(
  head: Readonly<Record<string, FakeTensor>> = { 'score.weight': f32([1, 4], [1, 2, 3, 4]) },
  config: Readonly<Record<string, unknown>> = {}
): Record<string, Uint8Array> {
  return {
    'config.json': Buffer.from(
      JSON.stringify({ architectures: ['LlamaForSequenceClassification'], hidden_size: 4, ...config })
    ),
    'model.safetensors': safetensors({ ...backbone, ...head })
  }
}

/** The same with a shard for the backbone and one for the head. */
export function shardedRewardModel(): Record<string, Uint8Array> {
  const head = { 'score.weight': f32([1, 4], [1, 2, 3, 4]), 'score.bias': f32([1], [5]) }
  const [first, second] = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors']
  const map = { 'model.embed_tokens.weight': first, 'score.weight': second, 'score.bias': second }
  const { 'config.json': config = Buffer.alloc(0) } = rewardModel()
  return {
    'config.json': config,
    'model.safetensors.index.json': Buffer.from(JSON.stringify({ metadata: { total_size: 400_020 }, weight_map: map })),
    [first]: safetensors(backbone),
    [second]: safetensors(head)
  }
}

const backbone = { 'model.embed_tokens.weight': f32([25_000, 4], Array(100_000).fill(0.5)) }

/** A state of width 4. */
export const ones = [1, 1, 1, 1]
/** A linear head with a bias. */
export const linear = (name: string) => ({
  [`${name}.weight`]: f32([1, 4], [1, 2, 3, 4]),
  [`${name}.bias`]: f32([1], [5])
})
/** A head of two units; `second` is the number of its second layer. */
export const mlp = (name: string, second = 2) => ({
  [`${name}.0.weight`]: f32([2, 4], [1, 1, 1, 1, -1, -1, -1, -1]),
  [`${name}.0.bias`]: f32([2], [0, 1]),
  [`${name}.${second}.weight`]: f32([1, 2], [2, 10]),
  [`${name}.${second}.bias`]: f32([1], [-1])
})
/** A linear head of two outputs. */
export const twoLabels = { 'score.weight': f32([2, 4], [1, 2, 3, 4, 1, 1, 1, 1]), 'score.bias': f32([2], [10, 20]) }
