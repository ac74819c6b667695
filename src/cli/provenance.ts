import { availableParallelism, cpus, totalmem } from 'node:os'
import { basename } from 'node:path'
import { withoutSecrets } from '../address.js'
import type { Engine } from '../engine.js'
import { sha256 } from '../model.js'
import { version } from '../version.js'

export const schemaVersion = 1

/** The command as it was typed, without what nobody else should read. */
export function invocationOf(argv: readonly string[]): string {
  return `winnow ${argv.map(withoutSecrets).join(' ')}`
}

/** With what, and on what machine, something was made. */
export function machineOf({ addon, llama, devices }: Engine['runtime']) {
  return {
    schemaVersion,
    versions: { winnow: version, addon, llama, node: process.versions.node },
    hardware: {
      cpu: cpus()[0]?.model.trim() ?? 'unknown',
      cores: availableParallelism(),
      memoryBytes: totalmem(),
      platform: `${process.platform}-${process.arch}`,
      devices: devices.map(({ name, description, type, memoryTotal }) => ({ name, description, type, memoryTotal }))
    }
  }
}

/** What a result needs beside it to be made again: versions, machine, model and head. */
export async function provenanceOf(engine: Engine) {
  const { path, architecture, parameters } = engine.model
  const head = engine.head
  return {
    ...machineOf(engine.runtime),
    model: { file: basename(path), sha256: await sha256(path), architecture, parameters },
    head: head === null ? null : { file: basename(head.path), sha256: await sha256(head.path), kind: head.kind }
  }
}
