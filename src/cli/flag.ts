import { type Command, Option } from 'commander'
import { expected } from '../errors.js'

/**
 * One flag, also settable as an environment variable: `--max-tokens` is WINNOW_MAX_TOKENS. `parse` is told what the flag was
 * given before, for those that may be repeated.
 */
export function add(
  command: Command,
  flags: string,
  help: string,
  fallback?: unknown,
  parse?: (text: string, flag: string, before: unknown) => unknown,
  shown?: string
): void {
  const option = new Option(flags, help)
  if (fallback !== undefined) option.default(fallback, shown)
  if (parse !== undefined) option.argParser((text, before) => parse(text, option.long ?? flags, before))
  option.env(`WINNOW_${option.name().replaceAll('-', '_').toUpperCase()}`)
  command.addOption(option)
}

export function number(text: string, flag: string): number {
  const value = text.trim() === '' ? Number.NaN : Number(text)
  if (Number.isNaN(value)) throw expected('OPTION_INVALID', 'a number', flag, text)
  return value
}

/** The path a flag was given. Throws OPTION_INVALID where it was given none. */
export function requiredPath(value: string | undefined, flag: string): string {
  if (value !== undefined && value !== '') return value
  throw expected('OPTION_INVALID', 'a path', flag, value)
}

/** Seconds of a time limit. */
export function seconds(text: string, flag: string): number {
  const value = Number(text)
  if (text.trim() !== '' && value > 0 && value <= 2_000_000) return value
  throw expected('OPTION_INVALID', 'a number of seconds above 0 and at most 2000000', flag, text)
}

/**
 * Reads the environment variables of flags without a value: true or 1, false or 0. The parser has taken any text for
 * "given". Throws OPTION_INVALID.
 */
export function applySwitches(command: Command): void {
  for (const option of command.options) {
    const { envVar: name } = option
    if (!isSwitch(option) || name === undefined) continue
    if (command.getOptionValueSource(option.attributeName()) !== 'env') continue
    const text = process.env[name] ?? ''
    const on = /^(true|1)$/i.test(text)
    if (!on && !/^(false|0)$/i.test(text)) throw expected('OPTION_INVALID', 'true, false, 1 or 0', name, text)
    command.setOptionValueWithSource(option.attributeName(), on !== option.negate, 'env')
  }
}

/** A flag without a value, `--no-` ones included. */
export function isSwitch(option: Option): boolean {
  return option.isBoolean() || option.negate
}
