import type { Conditions } from '../trial.js'
import type { provenanceOf } from './provenance.js'
import type { computeOf } from './settings.js'

/** Everything that must be the same for rows to belong together. */
export type Identity = Readonly<Record<string, unknown>>

/** Everything that changes a row, whatever its arm. What an arm has set for itself stands in its rows. */
export function identityOf(
  { schemaVersion, versions, hardware, model, head }: Awaited<ReturnType<typeof provenanceOf>>,
  prompts: string,
  { seed, lora: _, ...conditions }: Conditions,
  compute: ReturnType<typeof computeOf>
): Identity {
  // Memory changes neither what is written nor how fast, and may be counted otherwise after a restart.
  const { memoryBytes: __, devices, ...machine } = hardware
  return {
    schemaVersion,
    versions,
    hardware: { ...machine, devices: devices.map(({ name, description }) => `${name} ${description}`) },
    model: model.sha256,
    head: head?.sha256 ?? null,
    prompts,
    seed: String(seed),
    ...conditions,
    ...compute
  }
}
