/**
 * Builds the addon: the headers out of node-llama-cpp's bundle, then cmake-js. Runs as npm's install script.
 * Downloads nothing: Node's own headers come from the node-api-headers package (native/package.json says so).
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { availableParallelism } from 'node:os'
import { dirname, join } from 'node:path'
import { llamaHeaders, llamaRelease, root } from './headers.mjs'

const require = createRequire(import.meta.url)
const out = join(root, 'build', 'addon')

function run(command, args) {
  return spawnSync(command, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] }).status === 0
}

function has(command) {
  return spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0
}

function build() {
  if (!has('cmake')) throw new Error('Expected cmake 3.20 or later on the PATH (to build the addon) but found none.')
  const cmakeJs = join(dirname(require.resolve('cmake-js/package.json')), 'bin', 'cmake-js')
  const parallel = process.env.CMAKE_BUILD_PARALLEL_LEVEL ?? String(availableParallelism())
  const common = [cmakeJs, '--directory', join(root, 'native'), '--out', out, '--log-level', 'error']
  const configure = [`--CDWINNOW_LLAMA_HEADERS=${llamaHeaders()}`, `--CDWINNOW_LLAMA_VERSION=${llamaRelease()}`]
  const ok =
    run(process.execPath, [...common, ...configure, 'configure']) &&
    run(process.execPath, [...common, ...configure, '--parallel', parallel, 'build'])
  if (!ok) throw new Error('The addon did not build. It needs cmake 3.20 and a C++20 compiler (g++ 10, clang 13).')
  for (const name of ['winnow.node', 'loader.node'])
    if (!existsSync(join(out, 'Release', name)))
      throw new Error(`The build ended without ${join(out, 'Release', name)}.`)
}

try {
  build()
} catch (error) {
  process.stderr.write(`winnow-llm: ${error.message}\n`)
  process.exitCode = 1
}
