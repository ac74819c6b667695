import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Command, Option } from 'commander'
import { describe, expected, WinnowError } from '../errors.js'
import { nearest } from '../nearest.js'
import { isSwitch } from './flag.js'
import { jsonFlags } from './rules.js'
import type { Terminal } from './terminal.js'

export const configName = 'winnow.config.json'

/**
 * Puts what the project's winnow.config.json says below flags and environment of the command that runs. Its keys are the
 * long names of flags of any of `commands`, in camel case (`"maxTokens": 256`). Throws CONFIG_INVALID, and what parsing the
 * flag does.
 */
export function applyConfig(running: Command, commands: readonly Command[], { cwd }: Terminal): void {
  const path = join(cwd, configName)
  if (!existsSync(path)) return
  for (const [key, value] of Object.entries(readConfig(path))) {
    if (key === '$schema') continue
    const named = ({ options }: Command) => options.find((option) => option.attributeName() === key)
    if (!commands.some(named)) throw unknownKey(key, path, commands)
    const option = named(running)
    const source = running.getOptionValueSource(key)
    if (option === undefined || source === 'cli' || source === 'env') continue
    running.setOptionValueWithSource(key, configValue(option, value, `${key} in ${path}`), 'config')
  }
}

function readConfig(path: string): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(readFileSync(path, 'utf8'))
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    throw new WinnowError('CONFIG_INVALID', `Expected a JSON object in ${path} but received ${message}`, {
      cause: error
    })
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  throw expected('CONFIG_INVALID', 'a JSON object', path, value)
}

function configValue(option: Option, value: unknown, where: string): unknown {
  if (isSwitch(option)) {
    if (typeof value === 'boolean') return value
    throw expected('CONFIG_INVALID', 'true or false', where, value)
  }
  const isJson = jsonFlags[option.attributeName()]?.(value) === true
  if (!isJson && typeof value !== 'string' && typeof value !== 'number') {
    throw expected('CONFIG_INVALID', 'text or a number', where, value)
  }
  const text = isJson ? JSON.stringify(value) : String(value)
  return option.parseArg === undefined ? text : option.parseArg(text, undefined)
}

function unknownKey(key: string, path: string, commands: readonly Command[]): WinnowError {
  const known = commands.flatMap((command) => command.options.map((option) => option.attributeName()))
  const near = nearest(key, known)
  const hint = near === null ? '' : `; did you mean "${near}"?`
  return new WinnowError(
    'CONFIG_INVALID',
    `Expected the name of a flag in ${path} but received ${describe(key)}${hint}`
  )
}
