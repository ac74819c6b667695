import { expected, WinnowError } from '../errors.js'

/** Names of the tensors of one linear layer. */
export interface LayerTensors {
  readonly weight: string
  /** Null where the layer has none. */
  readonly bias: string | null
}

/** The tensors that make a reward head. */
export interface HeadTensors {
  /** The name before `.weight` or `.0.weight`, such as `score`. */
  readonly name: string
  /** Null for a linear head. */
  readonly inner: LayerTensors | null
  readonly outer: LayerTensors
}

/**
 * What reward heads are called, each as the code that writes it says: `score` by transformers'
 * *ForSequenceClassification and OpenRLHF, `v_head.summary` by TRL and LLaMA-Factory, `v_head` by InternLM2's reward
 * models, `value_head` by OpenRLHF, `regression_head` by UltraRM; the others are customary.
 */
const names = ['score', 'v_head.summary', 'v_head', 'value_head', 'regression_head', 'reward_head', 'score_head']
/** Also transformers', but of encoders, whose head reads a pooled state: taken only where nothing is pooled. */
const classifier = 'classifier'
const pooled = /(^|\.)(pooler|pre_classifier|head|classification_head|sequence_summary)\./

/**
 * Finds the head among a model's tensors. Numbered layers (`score.0`, `score.2`) are linear layers with something
 * without weights between them; more than two of them, or anything else below the name, is not a head we can apply.
 *
 * Throws HEAD_UNSUPPORTED: none, several, or one of another make.
 */
export function findHead(tensors: Iterable<string>, wanted?: string): HeadTensors {
  const all = [...tensors]
  const has = new Set(all)
  const layers = (name: string) => all.filter((tensor) => isLayerOf(tensor, name))
  if (wanted !== undefined) {
    if (layers(wanted).length === 0)
      throw expected('HEAD_UNSUPPORTED', `tensors called ${wanted}.weight or ${wanted}.0.weight`, 'the head', 'none')
    return headCalled(wanted, layers(wanted), all, has)
  }
  const found = [...names, classifier].filter((name) => layers(name).length > 0)
  const [name, another] = found
  if (name === undefined) {
    const known = [...names, classifier].map((known) => `${known}.weight`).join(', ')
    throw unsupported(`a reward head (${known})`, `${all.length} tensors without one; the name of another can be given`)
  }
  if (another !== undefined)
    throw unsupported('one reward head', `${found.join(' and ')}; the name of the one wanted can be given`)
  const pooling = name === classifier ? all.find((tensor) => pooled.test(tensor)) : undefined
  if (pooling !== undefined)
    throw unsupported(
      'a head on the state of the last token',
      `a classifier behind ${pooling}; llama.cpp itself runs such rerankers, with their head in the GGUF`
    )
  return headCalled(name, layers(name), all, has)
}

function isLayerOf(tensor: string, name: string): boolean {
  return (
    tensor === `${name}.weight` ||
    (tensor.startsWith(`${name}.`) && /^\d+\.weight$/.test(tensor.slice(name.length + 1)))
  )
}

function headCalled(
  name: string,
  weights: readonly string[],
  all: readonly string[],
  has: ReadonlySet<string>
): HeadTensors {
  const layers = weights
    .map((weight) => weight.slice(0, -'.weight'.length))
    .sort((a, b) => layerNumber(a, name) - layerNumber(b, name))
    .map((layer) => ({ weight: `${layer}.weight`, bias: has.has(`${layer}.bias`) ? `${layer}.bias` : null }))
  const known = new Set(layers.flatMap(({ weight, bias }) => [weight, bias]))
  const other = all.find((tensor) => tensor.startsWith(`${name}.`) && !known.has(tensor))
  const [first, second, third] = layers
  const mixed = second !== undefined && has.has(`${name}.weight`)
  if (first === undefined || third !== undefined || mixed || other !== undefined)
    throw unsupported('one or two linear layers', `${name} with ${other ?? `${layers.length} layers`}`)
  return second === undefined ? { name, inner: null, outer: first } : { name, inner: first, outer: second }
}

/** -1 for `score` itself beside `score.0`. */
function layerNumber(layer: string, name: string): number {
  return layer === name ? -1 : Number(layer.slice(name.length + 1))
}

function unsupported(what: string, received: string): WinnowError {
  return new WinnowError('HEAD_UNSUPPORTED', `Expected ${what} among the model's tensors but received ${received}`)
}
