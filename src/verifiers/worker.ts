/**
 * What runs in a crew's thread: loads the module of a routine, tells the crew that the clock may start, calls. This file
 * and what it imports are all that is loaded besides; the addon never is, because a call that hangs ends its thread.
 */
import { parentPort } from 'node:worker_threads'
import { describe } from '../errors.js'
import type { Routine, RoutineFunction, RoutineInput } from './routine.js'

export interface Task {
  /** Of the crew's calls, to tell who has started. */
  readonly call: number
  readonly routine: Routine
  readonly input: RoutineInput
}

/** Told when the module is loaded and the function is about to be called. */
export interface Started {
  readonly started: number
}

export type Report =
  | { readonly kind: 'value'; readonly value: number }
  | { readonly kind: 'unloadable' | 'failed'; readonly message: string }

export default async function work({ call, routine, input }: Task): Promise<Report> {
  let run: unknown
  try {
    run = (await import(routine.module))[routine.export]
  } catch (error) {
    return { kind: 'unloadable', message: messageOf(error) }
  }
  if (typeof run !== 'function') {
    return { kind: 'unloadable', message: `Expected a function for the export but received ${describe(run)}` }
  }
  const started: Started = { started: call }
  parentPort?.postMessage(started)
  try {
    const value = await (run as RoutineFunction)(input, routine.settings)
    if (typeof value === 'boolean') return { kind: 'value', value: Number(value) }
    if (typeof value === 'number' && !Number.isNaN(value)) return { kind: 'value', value }
    return { kind: 'failed', message: `Expected a number, true or false but received ${describe(value)}` }
  } catch (error) {
    return { kind: 'failed', message: messageOf(error) }
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : describe(error)
}
