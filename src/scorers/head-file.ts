import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { loadBinding, type ModelFacts, type NativeHead } from '../binding.js'
import { WinnowError } from '../errors.js'
import { openHead } from '../model.js'
import type { SessionScorer } from '../scorer.js'
import { headSession } from './head.js'

/** A scorer that reads a head file of its own. */
export interface HeadFileScorer extends SessionScorer {
  /** Of the file, hexadecimal: tells apart two heads that were at one path. */
  readonly sha256: string
}

/**
 * A reward head out of a file, on the generator's own state, in place of the one the engine was opened with: as
 * `rewardHead`, so that two heads can be compared on one engine. The file is opened with the first race, if it is still the
 * one that was there; its head is freed with the scorer.
 *
 * Throws HEAD_NOT_FOUND; a race throws HEAD_CORRUPT (another file by now among that), HEAD_WIDTH.
 */
export function headFile(path: string): HeadFileScorer {
  const sha256 = digestOf(path)
  // By the width of the states: an engine of another width than the first must refuse the head too.
  const heads = new Map<number, Promise<NativeHead>>()
  return {
    name: `head@${path}`,
    needs: ['states'],
    sha256,
    async begin({ model }) {
      let opening = heads.get(model.width)
      if (opening === undefined) {
        opening = openSame(path, model, sha256).catch((error: unknown) => {
          heads.delete(model.width)
          throw error
        })
        heads.set(model.width, opening)
      }
      return headSession(await opening)
    }
  }
}

/** What scores must be what its checksum says: the file may have been replaced since that was taken. */
async function openSame(path: string, facts: ModelFacts, sha256: string): Promise<NativeHead> {
  const head = await openHead(loadBinding().binding, path, { facts })
  try {
    const now = digestOf(path)
    if (now !== sha256) {
      const message = `Expected the reward head of SHA-256 ${sha256} in ${path} but received one of ${now}`
      throw new WinnowError('HEAD_CORRUPT', message)
    }
  } catch (error) {
    head.close()
    throw error
  }
  return head
}

// Read at once, and whole: what is not there is refused before a large model is loaded, and heads are small.
function digestOf(path: string): string {
  try {
    return createHash('sha256').update(readFileSync(path)).digest('hex')
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    throw new WinnowError('HEAD_NOT_FOUND', `Expected a reward head in ${path} but received ${message}`, {
      cause: error
    })
  }
}
