import { expected } from '../errors.js'
import { Hub, type HubOptions } from './hub.js'
import type { HeadSource } from './source.js'

/**
 * Opens a model on the hub. The revision becomes a commit first, so that all files are of one commit whatever is
 * pushed meanwhile. Files are read by HTTP ranges; a server that answers a range with more is cut off.
 *
 * Throws OPTION_INVALID (not `hf:ORG/REPO[@REVISION]`, no URL), SOURCE_NOT_FOUND, HUB_FAILED.
 */
export async function openHub(source: string, options: HubOptions): Promise<HeadSource> {
  const { repository, revision } = parsed(source)
  const hub = new Hub(options)
  const commit = await hub.commitOf(repository, revision)
  return {
    name: `hf:${repository}@${commit}`,
    get bytesRead() {
      return hub.bytesRead
    },
    file: (name) => hub.file(repository, commit, name),
    // Nothing is held between two reads.
    close: async () => {}
  }
}

function parsed(source: string): { repository: string; revision: string } {
  const match = /^hf:((?:\w[\w.-]*\/)?\w[\w.-]*)(?:@([\w./-]+))?$/.exec(source)
  if (match?.[1] === undefined || source.includes('..')) {
    throw expected('OPTION_INVALID', 'hf:ORG/REPO or hf:ORG/REPO@REVISION', 'the reward model', source)
  }
  return { repository: match[1], revision: match[2] ?? 'main' }
}
