import { isObject } from '../sources/strict-json.js'
import type { TraceHeader } from '../traces/trace.js'

/** Names and texts of how results were made, out of what their file says of it. What it does not say is left out. */
export function factsOf(source: Readonly<Record<string, unknown>>): (readonly [string, string])[] {
  const { command, versions, hardware, model, head, rewardModel, prompts, seed, options } = source
  const { memoryBytes: _, devices, ...machine } = isObject(hardware) ? hardware : {}
  const named = Array.isArray(devices) ? devices.map(deviceOf) : []
  const told: readonly (readonly [string, string])[] = [
    ['command', textOf(command)],
    ['machine', textOf({ ...machine, ...(named.length > 0 && { devices: named.join(', ') }) })],
    ['versions', textOf(versions)],
    ['model', textOf(model)],
    ['head', textOf(head)],
    ['reward model', textOf(rewardModel)],
    ['prompts', textOf(prompts)],
    ['seed', textOf(seed)],
    ['options', textOf(options)]
  ]
  return told.filter(([, text]) => text !== '')
}

/** Of the conditions of a recording, as `factsOf` reads them. */
export function recordingFacts({ conditions, n, grid, scorers, maxTokens, deterministic }: TraceHeader) {
  const { versions, model, head, seed, identity, ...options } = conditions
  const { machine, rewardModel } = isObject(identity) ? identity : {}
  const looked = scorers.map(({ name }) => name).join(', ')
  const recorded = { recorded: n, grid, scorers: looked, maxTokens, deterministic }
  return { versions, hardware: machine, model, head, rewardModel, seed, options: { ...options, ...recorded } }
}

function deviceOf(device: unknown): string {
  return isObject(device) ? String(device.description ?? device.name) : String(device)
}

/** One line, what is nested in brackets. */
function textOf(value: unknown, nested = false): string {
  if (value === null || value === undefined) return ''
  if (Array.isArray(value)) return value.map((item) => textOf(item, true)).join(' ')
  if (!isObject(value)) return String(value)
  const parts = Object.entries(value).flatMap(([key, item]) => {
    const text = textOf(item, true)
    return text === '' ? [] : [`${key} ${text}`]
  })
  return nested ? `(${parts.join(', ')})` : parts.join(', ')
}
