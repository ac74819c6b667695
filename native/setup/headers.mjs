/**
 * The llama.cpp headers that match the prebuilt libraries. node-llama-cpp ships the sources of its release as a git
 * bundle; only include/ and ggml/include/ are taken out of it, once for each release.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('../../', import.meta.url))

/** Folder of node-llama-cpp's `llama/`, wherever npm put the package. */
function llamaFolder() {
  const require = createRequire(join(root, 'package.json'))
  // node-llama-cpp is ESM with no "require" condition, so its folder is found by walking, not by require.resolve.
  for (const folder of require.resolve.paths('node-llama-cpp') ?? []) {
    const candidate = join(folder, 'node-llama-cpp', 'llama')
    if (existsSync(join(candidate, 'gitRelease.bundle'))) return candidate
  }
  throw new Error(
    'Expected node-llama-cpp with its llama/gitRelease.bundle to be installed but found none. Run npm ci.'
  )
}

/** Release as node-llama-cpp names it ("v0.5.0"); the prebuilt libraries carry the same text. */
export function llamaRelease() {
  return JSON.parse(readFileSync(join(llamaFolder(), 'binariesGithubRelease.json'), 'utf8')).release
}

function git(args) {
  try {
    execFileSync('git', args, { stdio: ['ignore', 'ignore', 'pipe'] })
  } catch (error) {
    if (error.code === 'ENOENT')
      throw new Error('Expected git on the PATH (to read the llama.cpp headers out of a git bundle) but found none.')
    throw new Error(`Could not read the llama.cpp headers: git ${args[0]} said ${error.stderr}`)
  }
}

/** Folder with include/ and ggml/include/; extracted on the first call for a release. */
export function llamaHeaders() {
  const folder = join(root, 'build', 'llama', llamaRelease())
  if (existsSync(join(folder, 'include', 'llama.h'))) return folder
  const part = `${folder}.part-${process.pid}`
  const repository = join(part, 'git')
  mkdirSync(part, { recursive: true })
  try {
    git(['clone', '--quiet', '--bare', join(llamaFolder(), 'gitRelease.bundle'), repository])
    const at = [`--git-dir=${repository}`, `--work-tree=${part}`]
    git([...at, 'checkout', '--quiet', 'HEAD', '--', 'include', 'ggml/include', 'LICENSE'])
    rmSync(repository, { recursive: true, force: true })
    mkdirSync(dirname(folder), { recursive: true })
    rmSync(folder, { recursive: true, force: true })
    renameSync(part, folder)
  } finally {
    rmSync(part, { recursive: true, force: true })
  }
  return folder
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.stdout.write(`${llamaHeaders()}\n`)
