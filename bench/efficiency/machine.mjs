// The machine: what it is, and whether it is idle.
import { cpus, totalmem } from 'node:os'

export function machine() {
  const [first] = cpus()
  return { cpu: first?.model.trim() ?? '', cores: cpus().length, memoryBytes: totalmem(), platform: process.platform }
}

/** Share of all cores that was busy for so many seconds, 0..1, this process included. */
export async function busyShare(seconds) {
  const before = times()
  await new Promise((resolve) => setTimeout(resolve, 1000 * seconds))
  const after = times()
  return 1 - (after.idle - before.idle) / (after.all - before.all)
}

function times() {
  const each = cpus().map(({ times }) => times)
  const idle = each.reduce((sum, time) => sum + time.idle, 0)
  const all = each.reduce((sum, { user, nice, sys, idle, irq }) => sum + user + nice + sys + idle + irq, 0)
  return { idle, all }
}
