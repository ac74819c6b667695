import { mkdir, readdir, rename, rm } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { threadId } from 'node:worker_threads'

/** What of the owner stands in a name. A process of the same number that ended before us has left its own to us. */
const host = encodeURIComponent(hostname())
const owner = `${process.pid}-${threadId}@${host}`

/**
 * The folder of a download that is not done. Who works in it has its name changed to his own, so that no two processes
 * write into one file: a second one that wants the same at the same time fetches it for itself. What a process left that
 * was ended is taken over; those of other machines are taken to live.
 */
export class PartialDownload {
  readonly folder: string
  readonly #idle: string

  private constructor(folder: string, idle: string) {
    this.folder = folder
    this.#idle = idle
  }

  /** `key`: a file name that is the same for the same content. */
  static async claim(root: string, key: string): Promise<PartialDownload> {
    await mkdir(root, { recursive: true })
    const own = join(root, `${key}.${owner}`)
    const partial = new PartialDownload(own, join(root, key))
    const left = (await readdir(root)).filter((name) => {
      if (name === key || name === `${key}.${owner}`) return true
      if (!name.startsWith(`${key}.`)) return false
      const [, pid, at] = /^(\d+)-\d+@(.*)$/.exec(name.slice(key.length + 1)) ?? []
      return at === host && !isAlive(Number(pid))
    })
    for (const name of left) {
      // Another process may have been faster.
      const taken = await rename(join(root, name), own).then(
        () => true,
        () => false
      )
      if (taken) return partial
    }
    await mkdir(own, { recursive: true })
    return partial
  }

  /** For whoever goes on with it. */
  async release(): Promise<void> {
    // There is one already where two processes fetched the same: then this one is left to be taken over.
    await rename(this.folder, this.#idle).catch(() => {})
  }

  async remove(): Promise<void> {
    await rm(this.folder, { recursive: true, force: true })
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
