// Builds llama.cpp's own server into build/llama-server, of the sources that node-llama-cpp ships and its libraries were
// built of.
//
//   npm run build && nice node bench/baselines/server.mjs [--jobs 2]      # 5 to 15 minutes
//
// The CPU kernels are not built: the server loads the library of node-llama-cpp's that fits this processor best, the very
// file that Winnow loads. So what is measured beside it is the server, not a compiler or its flags. That library asks for a
// libggml-base.so without a version in its name: there must be one in the process, not two.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { installedVariants } from '../../dist/libraries.js'
import { llamaRelease } from '../../native/setup/headers.mjs'

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..')
const { values } = parseArgs({ options: { jobs: { type: 'string', default: '2' } } })
const folder = join(root, 'build', 'llama-server', llamaRelease())
const source = join(folder, 'source')
const run = (command, args, options = {}) =>
  execFileSync(command, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'], ...options })

const libraries = installedVariants().find((installed) => installed.variant === 'cpu')?.folder
if (!libraries) throw new Error('Expected the CPU libraries of node-llama-cpp but found none: run npm ci')
if (!existsSync(source)) {
  const bundle = fileURLToPath(new URL('../llama/gitRelease.bundle', import.meta.resolve('node-llama-cpp')))
  // Whole or not at all: whoever was interrupted begins again.
  const part = join(folder, 'part')
  rmSync(part, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  run('git', ['-c', 'advice.detachedHead=false', 'clone', '--quiet', bundle, part])
  rmSync(join(part, '.git'), { recursive: true })
  renameSync(part, source)
}
run('cmake', [
  ...['-S', source, '-B', join(folder, 'build'), '-DCMAKE_BUILD_TYPE=Release'],
  '-DCMAKE_PLATFORM_NO_VERSIONED_SONAME=ON',
  ...['-DGGML_BACKEND_DL=ON', '-DGGML_CPU=OFF', '-DGGML_NATIVE=OFF', `-DGGML_BACKEND_DIR=${libraries}`],
  ...['-DLLAMA_USE_PREBUILT_UI=OFF', '-DLLAMA_OPENSSL=OFF', '-DLLAMA_BUILD_TESTS=OFF'],
  ...['-DLLAMA_BUILD_EXAMPLES=OFF', '-DLLAMA_BUILD_APP=OFF', `-DLLAMA_BUILD_COMMIT=${llamaRelease()}`]
])
run('cmake', ['--build', join(folder, 'build'), '--target', 'llama-server', '--parallel', values.jobs])
