import { describe, expected, WinnowError } from '../errors.js'
import { isObject } from '../sources/strict-json.js'

/** Where config.json says how wide the state before the head is; the first that is there counts (OPT has two). */
const widthKeys = ['word_embed_proj_dim', 'hidden_size', 'n_embd', 'd_model']
/** Where models of text and something else keep what concerns the text. */
const nested = ['text_config', 'llm_config']
const maxWidth = 2 ** 20
/** Their heads are Linear, ReLU, Linear (modeling_qwen2_rm.py of Qwen/Qwen2.5-Math-RM-72B). */
const withRelu: readonly unknown[] = ['Qwen2ForRewardModel', 'Qwen2ForProcessRewardModel']
/** Labels a message lists. */
const listed = 20

/** What the config.json of a reward model says about its head. */
export class RewardConfig {
  /** Width of the state, 1 to 2^20. */
  readonly width: number
  readonly architecture: string | null
  readonly #source: string
  readonly #names: ReadonlyMap<number, string>

  /** Throws SOURCE_INVALID. */
  constructor(content: Readonly<Record<string, unknown>>, source: string) {
    this.#source = source
    this.width = this.#widthIn(content)
    const [architecture] = Array.isArray(content.architectures) ? content.architectures : []
    this.architecture = typeof architecture === 'string' ? architecture : null
    const names = isObject(content.id2label) ? Object.entries(content.id2label) : []
    this.#names = new Map(names.flatMap(([id, name]) => (typeof name === 'string' ? [[Number(id), name]] : [])))
  }

  /** The number of a label, given by number or name. Throws OPTION_INVALID, which lists them. */
  labelOf(wanted: number | string | undefined, labels: number, option: string): number {
    if (wanted === undefined && labels === 1) return 0
    const named = [...this.#names].find(([id, name]) => name === wanted && id < labels)
    const number = typeof wanted === 'string' && /^\d+$/.test(wanted) ? Number(wanted) : wanted
    const label = named?.[0] ?? number
    if (typeof label === 'number' && Number.isInteger(label) && label >= 0 && label < labels) return label
    const known = Array.from({ length: Math.min(labels, listed) }, (_, id) => {
      const name = this.#names.get(id)
      return name === undefined ? String(id) : `${id} (${describe(name)})`
    })
    const more = labels > listed ? ` or another up to ${labels - 1}` : ''
    throw expected(
      'OPTION_INVALID',
      `one of the labels ${known.join(', ')}${more}`,
      `${option} of ${this.#source}`,
      wanted
    )
  }

  /** Throws OPTION_INVALID where it must be said. */
  activationOf(head: string): 'relu' {
    if (withRelu.includes(this.architecture)) return 'relu'
    throw expected('OPTION_INVALID', '"relu" or "silu"', `the activation between the layers of ${head}`, undefined)
  }

  #widthIn(content: Readonly<Record<string, unknown>>): number {
    for (const part of [content, ...nested.map((key) => content[key])]) {
      if (!isObject(part)) continue
      const key = widthKeys.find((candidate) => part[candidate] !== undefined)
      if (key === undefined) continue
      const width = part[key]
      if (Number.isInteger(width) && (width as number) >= 1 && (width as number) <= maxWidth) return width as number
      throw expected(
        'SOURCE_INVALID',
        `a whole number from 1 to ${maxWidth}`,
        `${key} in config.json of ${this.#source}`,
        width
      )
    }
    throw new WinnowError(
      'SOURCE_INVALID',
      `Expected the width of the state (${widthKeys.join(', ')}) in config.json of ${this.#source} but received none`
    )
  }
}
