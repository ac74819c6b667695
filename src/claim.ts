/**
 * A file that one process alone may write. Node has no locks on files, and a lock file of one name cannot be taken from
 * a dead owner without a moment in which two may take it. So whoever wants the file puts down a claim of a name of its
 * own and then looks for the claims of others: of two, one at least sees the other, and whoever sees a live one
 * withdraws. The name says whose it is, so that no moment of dying leaves a claim that cannot be judged.
 */
import { randomBytes } from 'node:crypto'
import { readdir, stat, unlink, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { cannotWrite, WinnowError } from './errors.js'

/** This one, in letters that a file may have in its name. */
const machine = encodeURIComponent(hostname())

/** Two who begin at once both withdraw; then they try again. */
const attempts = 4

export class Claim {
  readonly #file: string

  private constructor(file: string) {
    this.#file = file
  }

  /**
   * Claims the file at `path`, which need not exist, by a file beside it. Claims of processes that have ended are
   * removed; those of other machines are taken to be live. Throws RESULTS_BUSY, WRITE_FAILED.
   */
  static async take(path: string): Promise<Claim> {
    for (let attempt = 1; ; attempt++) {
      const own = `${path}.${process.pid}-${randomBytes(4).toString('hex')}@${machine}.lock`
      await writeFile(own, '', { flag: 'wx' }).catch((error: Error) => {
        throw cannotWrite(own, error)
      })
      const other = await liveClaim(path, own).catch(async (error: Error) => {
        await remove(own).catch(() => {})
        throw cannotWrite(path, error)
      })
      if (other === null) return new Claim(own)
      await remove(own)
      if (attempt === attempts) throw busy(path, other)
      await setTimeout(Math.random() * 50 * attempt)
    }
  }

  /** Idempotent. */
  async release(): Promise<void> {
    await remove(this.#file)
  }
}

interface Found {
  readonly file: string
  readonly pid: number
  readonly host: string
}

/** A claim of somebody else who lives; null without one. */
async function liveClaim(path: string, own: string): Promise<Found | null> {
  const [folder, prefix] = [dirname(path), `${basename(path)}.`]
  for (const name of await readdir(folder)) {
    const file = join(folder, name)
    if (!name.startsWith(prefix) || name === basename(own)) continue
    const [, pid, host] = /^(\d+)-[0-9a-f]{8}@(.+)\.lock$/.exec(name.slice(prefix.length)) ?? []
    if (pid === undefined || host === undefined) continue
    const found = { file, pid: Number(pid), host }
    if (await isLive(found)) return found
    await remove(file)
  }
  return null
}

async function isLive({ file, pid, host }: Found): Promise<boolean> {
  if (host !== machine) return true
  // In a container that was started again this process may have the number of the one that died.
  if (pid === process.pid) return ((await stat(file).catch(() => null))?.mtimeMs ?? 0) >= startedAt()
  try {
    return process.kill(pid, 0)
  } catch (error) {
    // It lives, but is another user's.
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** When this process began, milliseconds since 1970; a second early, for clocks of file systems that are coarse. */
function startedAt(): number {
  return Date.now() - 1000 * process.uptime() - 1000
}

async function remove(file: string): Promise<void> {
  await unlink(file).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
  })
}

function busy(path: string, { file, pid, host }: Found): WinnowError {
  const who = host === machine ? `process ${pid}` : `process ${pid} of ${host}`
  return new WinnowError(
    'RESULTS_BUSY',
    `Expected a file that nobody else writes but received ${path}, which ${who} has open (if that is over, remove ${file})`
  )
}
