import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { expected } from '../errors.js'

/** What a routine is given of one candidate: a copy, since it runs in another thread. */
export interface RoutineInput {
  readonly id: number
  readonly state: 'live' | 'finished' | 'killed'
  readonly text: string
  /** The prompt as the model reads it, template included. */
  readonly prompt: string
  /** Generated tokens. */
  readonly tokens: number
}

/** What the exported function looks like. true counts as 1, false as 0; higher is better; NaN is refused. */
export type RoutineFunction = (
  input: RoutineInput,
  settings: unknown
) => number | boolean | Promise<number> | Promise<boolean>

/** A function by the place where it is found, since functions cannot cross threads. */
export interface Routine {
  readonly name: string
  /** URL of a JavaScript module. It is loaded in a worker thread and must not load the addon there. */
  readonly module: string
  /** The name of its export. */
  readonly export: string
  /** Its second argument; what `structuredClone` can copy. */
  readonly settings: unknown
}

/** A function of the caller's own. A path that is not absolute is relative to the working directory. */
export function routine(module: string | URL, exported = 'default', settings: unknown = null): Routine {
  if (!(module instanceof URL) && (typeof module !== 'string' || module === '')) {
    throw expected('OPTION_INVALID', 'the path or URL of a module', 'a routine', module)
  }
  if (typeof exported !== 'string' || exported === '') {
    throw expected('OPTION_INVALID', 'the name of an export', 'a routine', exported)
  }
  const url =
    module instanceof URL ? module.href : module.startsWith('file:') ? module : pathToFileURL(resolve(module)).href
  return {
    name: exported === 'default' ? (url.split('/').at(-1) ?? url) : exported,
    module: url,
    export: exported,
    settings
  }
}
