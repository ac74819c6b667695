// Builds decode_loop and advance_loop into build/baselines, against the CPU libraries that npm installed.
import { execFileSync } from 'node:child_process'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { installedVariants } from '../../dist/libraries.js'
import { llamaRelease } from '../../native/setup/headers.mjs'

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..')
const run = (command, args) => execFileSync(command, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] })
const headers = execFileSync(process.execPath, ['native/setup/headers.mjs'], { cwd: root, encoding: 'utf8' }).trim()
const libraries = installedVariants().find((installed) => installed.variant === 'cpu')?.folder
if (!libraries) throw new Error('Expected the CPU libraries of node-llama-cpp but found none: run npm ci')

run('cmake', [
  '-S',
  'native',
  '-B',
  'build/baselines',
  '-DCMAKE_BUILD_TYPE=Release',
  '-DWINNOW_BASELINES=ON',
  `-DWINNOW_LLAMA_HEADERS=${headers}`,
  `-DWINNOW_LLAMA_LIBS=${libraries}`,
  `-DWINNOW_LLAMA_VERSION=${llamaRelease()}`
])
run('cmake', ['--build', 'build/baselines', '--parallel', '2'])
