import { expected } from './errors.js'
import { known, ofFile, type PolicyName, policyFile, policyNames } from './names.js'

/** A comma, not within double quotes: so many are behind it that all are closed. */
const betweenArms = /,(?=(?:[^"]*"[^"]*")*[^"]*$)/
/** A colon, not there either; before a digit it belongs to a value: `checkpoints=doubling:32`. */
const betweenSettings = /:(?!\d)(?=(?:[^"]*"[^"]*")*[^"]*$)/

const keys = [
  'alpha',
  'margin',
  'right',
  'hopeless',
  'checkpoints',
  'every',
  'doubling',
  'scorer',
  'n',
  'budget',
  'equal-tokens',
  'like',
  'against',
  'name'
] as const
type Key = (typeof keys)[number]

/** An arm as it is written, `policy[:key=value]...`, taken apart. */
export class ArmText {
  readonly text: string
  readonly policy: PolicyName | `policy@${string}`
  readonly #values = new Map<Key, string>()

  /** Throws OPTION_UNKNOWN, OPTION_INVALID. */
  constructor(text: string) {
    checkQuotes(text, `the policy ${text}`)
    const [policy = '', ...settings] = text.split(betweenSettings)
    this.text = text
    this.policy = isOfFile(policy) ? policy : known(policy, policyNames, 'the policy')
    for (const [key, value] of settings.map((setting) => parseSetting(setting, text))) {
      if (this.has(key)) throw expected('OPTION_INVALID', 'each key once', `the policy ${text}`, key)
      this.#values.set(key, value)
    }
  }

  /** Whether one of them is set. */
  has(...keys: readonly Key[]): boolean {
    return keys.some((key) => this.#values.has(key))
  }

  /** Null where it is not set. */
  get(key: Key): string | null {
    return this.#values.get(key) ?? null
  }

  /** Null where it is not set. Throws OPTION_INVALID. */
  number(key: Key): number | null {
    const value = this.get(key)
    if (value === null) return null
    const number = value.trim() === '' ? Number.NaN : Number(value)
    if (Number.isNaN(number)) throw expected('OPTION_INVALID', 'a number', `${key} of ${this.text}`, value)
    return number
  }
}

function isOfFile(policy: string): policy is `policy@${string}` {
  return policy.startsWith(policyFile)
}

function parseSetting(setting: string, text: string): [Key, string] {
  const split = setting.indexOf('=')
  if (split < 1) throw expected('OPTION_INVALID', 'key=value after each colon', `the policy ${text}`, setting)
  return [known(setting.slice(0, split), keys, `a key of the policy ${text}`), setting.slice(split + 1)]
}

/** Arms out of a list with commas between them, those within double quotes excepted. Throws OPTION_INVALID. */
export function splitArms(text: string): string[] {
  checkQuotes(text, '--policies')
  const items = text.split(betweenArms).map((item) => item.trim())
  if (items.every((item) => item !== '')) return items
  throw expected('OPTION_INVALID', 'policies separated by commas', '--policies', text)
}

function checkQuotes(text: string, forWhat: string): void {
  if (text.split('"').length % 2 === 1) return
  throw expected('OPTION_INVALID', 'an end to each double quote', forWhat, text)
}

/** The name of a scorer as an arm has it: a path that would be taken apart goes in double quotes. */
export function quoted(scorer: string): string {
  const path = scorer.startsWith(ofFile) ? scorer.slice(ofFile.length) : ''
  return /[:,]/.test(path) ? `${ofFile}"${path}"` : scorer
}
