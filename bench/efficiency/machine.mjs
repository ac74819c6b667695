// The machine: what it is, and whether it is idle.
import { cpus, totalmem } from 'node:os'

export function machine() {
  const [first] = cpus()
  return { cpu: first?.model.trim() ?? '', cores: cpus().length, memoryBytes: totalmem(), platform: process.platform }
}

/** Of all cores; more is somebody else's work. */
const idle = 0.05

/** Share of all cores that was busy for a second, 0..1. Throws where that is not next to nothing, unless `allowed`. */
export async function busyShare(allowed) {
  const before = times()
  await new Promise((resolve) => setTimeout(resolve, 1000))
  const after = times()
  const share = 1 - (after.idle - before.idle) / (after.all - before.all)
  if (share <= idle || allowed) return Number(share.toFixed(3))
  const received = `one with ${(100 * share).toFixed(0)}% of its cores at work; the same command goes on from here`
  throw new Error(`Expected an idle machine but received ${received}`)
}

function times() {
  const each = cpus().map(({ times }) => times)
  const idle = each.reduce((sum, time) => sum + time.idle, 0)
  const all = each.reduce((sum, { user, nice, sys, idle, irq }) => sum + user + nice + sys + idle + irq, 0)
  return { idle, all }
}
