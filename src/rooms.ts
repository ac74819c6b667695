import type { AdapterFacts, NativeDevice } from './binding.js'
import { bytesOf, type Room, type Taken } from './memory.js'

/** Weights of a model or an adapter that a race needs. */
export interface Weights {
  /** Of any context of it. */
  readonly sizes: { readonly devices: readonly { readonly device: string; readonly weights: number }[] }
  /** Whether they are in memory already. */
  readonly loaded: boolean
  readonly mmap: boolean
}

/** Bytes of a device that no plan touches: for buffers that grow while they are used, and for everybody else. */
const reserve = (free: number) => Math.max(256 * 2 ** 20, free / 16)

/**
 * Free memory less the reserve and less the weights that are still to come, and what will be given back (`freed`), which
 * was taken once and can be again. On the host, weights of a mapped file count as free once they are loaded, and cells in
 * their place would be paid for by reading them again: they stay counted.
 */
export function roomsOf(devices: readonly NativeDevice[], models: readonly Weights[], freed: readonly Taken[]): Room[] {
  return devices.map(({ name, type, memoryFree }) => {
    const host = type === 'cpu'
    const back = bytesOf(freed.filter(({ device }) => device === name))
    const pending = models.map(({ sizes, loaded, mmap }) => {
      const present = loaded && !(host && mmap)
      return present ? 0 : (sizes.devices.find(({ device }) => device === name)?.weights ?? 0)
    })
    const free = Math.max(0, memoryFree - reserve(memoryFree + back))
    const bytes = back + free - pending.reduce((sum, weights) => sum + weights, 0)
    return { device: name, bytes: Math.max(0, Math.floor(bytes)), host }
  })
}

/** Those of adapters are read, never mapped. */
export function adapterWeights({ devices }: AdapterFacts, loaded: boolean): Weights {
  return { sizes: { devices: devices.map(({ device, bytes }) => ({ device, weights: bytes })) }, loaded, mmap: false }
}
