// Collects what a bare GPU machine is given, in one folder of at most 64 MiB: Node, llama.cpp's source as node-llama-cpp
// brings it (with its patches, and without what is not compiled), and this checkout with what it needs at run time.
//
//   npm run build && node bench/gpu/pack.mjs [--out build/gpu/pack] [--level 6] [--limit-mib 64] [--libs FOLDER]
//
// --libs: llama.cpp's libraries as an earlier `run` built them on such a machine (gpu-work/llama-build/bin), so that the
// next one need not.
// The folder holds its own `run` and a manifest with the size and SHA-256 of every file. --level is xz's. Exit code 1
// where the folder would be too large or something to pack is missing; what was there before is then left as it was.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { llamaRelease } from '../../native/setup/headers.mjs'

const here = dirname(fileURLToPath(import.meta.url))
const root = join(here, '..', '..')
const { values } = parseArgs({
  options: {
    out: { type: 'string', default: join(root, 'build', 'gpu', 'pack') },
    level: { type: 'string', default: '6' },
    'limit-mib': { type: 'string', default: '64' },
    libs: { type: 'string' }
  }
})

/** Of llama.cpp's tree: what its CMake files read when only the libraries are built, for CPU and CUDA. */
const llamaParts = ['CMakeLists.txt', 'LICENSE', 'licenses', 'cmake', 'include', 'src', 'ggml', 'vendor']
const llamaLeftOut = [
  ...[
    'blas',
    'cann',
    'et',
    'hexagon',
    'hip',
    'metal',
    'musa',
    'opencl',
    'openvino',
    'rpc',
    'sycl',
    'virtgpu',
    'vulkan'
  ].map((backend) => `ggml/src/ggml-${backend}`),
  ...['webgpu', 'zdnn', 'zendnn'].map((backend) => `ggml/src/ggml-${backend}`),
  'ggml/tests',
  'ggml/examples',
  'vendor/cpp-httplib'
]
/** What unpacks the rest. */
const scripts = ['run', 'measuring.sh', 'results.sh', 'building.sh', 'stages.sh']
/** Of this checkout, beside node_modules. */
const winnowParts = [
  'package.json',
  'LICENSE',
  'dist',
  'native',
  'bench/gpu',
  'models/winnow-arith.gguf',
  'models/winnow-arith.head.gguf'
]
/** What dist/ imports when it runs, and the headers that the addon is compiled with. */
const packages = [
  ...['@huggingface/gguf', '@huggingface/hub', '@huggingface/jinja', 'ajv', 'commander', 'pino', 'piscina', 'zod'],
  ...['node-addon-api', 'node-api-headers']
]
const unread = ['*.map', '*.d.ts', '*.d.cts', '*.d.mts', 'README.md', 'CHANGELOG.md', 'test', 'tests', '__tests__'].map(
  (name) => `--exclude=${name}`
)

const run = (command, args, options = {}) =>
  execFileSync(command, args, { stdio: ['ignore', 'pipe', 'inherit'], maxBuffer: 2 ** 30, ...options })

/** A .tar.xz of `parts` of `folder`, under one top folder; the same bytes from the same files. */
function archive(path, folder, parts, excluded) {
  const tar = run('tar', [
    ...['-c', '-C', folder, '--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner'],
    ...excluded,
    '--transform=s,^,pack/,',
    ...parts
  ])
  writeFileSync(path, run('xz', [`-${values.level}`, '-c'], { input: tar, stdio: ['pipe', 'pipe', 'inherit'] }))
}

/** Folders of `names` and of everything they depend on, wherever npm put it, as paths below `root`. */
function dependencies(names) {
  const found = new Set()
  const visit = (name, from) => {
    let folder = from
    while (!existsSync(join(folder, 'node_modules', name, 'package.json'))) {
      if (folder === root) throw new Error(`Expected ${name} in node_modules but found none: run npm ci`)
      folder = dirname(folder)
    }
    const path = join(folder, 'node_modules', name)
    if (found.has(path)) return
    found.add(path)
    const { dependencies: needed = {} } = JSON.parse(readFileSync(join(path, 'package.json'), 'utf8'))
    for (const other of Object.keys(needed)) visit(other, path)
  }
  for (const name of names) visit(name, root)
  return [...found].map((path) => relative(root, path)).sort()
}

function packLlama(path) {
  const bundle = fileURLToPath(new URL('../llama/gitRelease.bundle', import.meta.resolve('node-llama-cpp')))
  const folder = mkdtempSync(join(tmpdir(), 'winnow-pack-'))
  try {
    const tree = join(folder, 'tree')
    mkdirSync(tree)
    run('git', ['clone', '--quiet', '--bare', bundle, join(folder, 'git')])
    const tar = run('git', ['--git-dir', join(folder, 'git'), 'archive', 'HEAD', ...llamaParts])
    run('tar', ['-x', '-C', tree], { input: tar, stdio: ['pipe', 'inherit', 'inherit'] })
    // Outside any repository, so that git takes the paths for what they are.
    const patches = join(dirname(bundle), 'patches')
    for (const name of readdirSync(patches).sort()) run('git', ['apply', join(patches, name)], { cwd: tree })
    archive(
      path,
      tree,
      llamaParts,
      llamaLeftOut.map((part) => `--exclude=${part}`)
    )
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Compressing Node takes most of a minute and it seldom changes: kept from call to call. */
function packNode(path) {
  const { size, mtimeMs } = statSync(process.execPath)
  const kept = join(
    root,
    'build',
    'gpu',
    'node',
    `${process.version}-${size}-${Math.round(mtimeMs)}-${values.level}.xz`
  )
  if (!existsSync(kept)) {
    mkdirSync(dirname(kept), { recursive: true })
    const part = `${kept}.part-${process.pid}`
    writeFileSync(part, run('xz', [`-${values.level}`, '-c', process.execPath]))
    renameSync(part, kept)
  }
  copyFileSync(kept, path)
}

function pack(folder) {
  if (!existsSync(join(root, 'dist', 'engine.js'))) throw new Error('Expected dist/ but found none: run npm run build')
  packNode(join(folder, 'node.xz'))
  packLlama(join(folder, 'llama.tar.xz'))
  archive(
    join(folder, 'winnow.tar.xz'),
    root,
    [...winnowParts, ...dependencies(packages)],
    [...unread, '--exclude=native/test']
  )
  if (values.libs !== undefined) {
    const libraries = readdirSync(values.libs).filter((name) => name.endsWith('.so'))
    archive(join(folder, 'libs.tar.xz'), values.libs, libraries.sort(), [])
  }
  writeFileSync(join(folder, 'llama-release'), `${llamaRelease()}\n`)
  for (const name of scripts) copyFileSync(join(here, name), join(folder, name))
  const files = readdirSync(folder)
    .sort()
    .map((path) => {
      const bytes = readFileSync(join(folder, path))
      return { path, bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') }
    })
  writeFileSync(join(folder, 'SHA256SUMS'), files.map(({ path, sha256 }) => `${sha256}  ${path}\n`).join(''))
  const manifest = {
    schemaVersion: 1,
    winnow: JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).version,
    llama: llamaRelease(),
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
    bytes: files.reduce((sum, { bytes }) => sum + bytes, 0),
    files
  }
  writeFileSync(join(folder, 'manifest.json'), `${JSON.stringify(manifest, null, 2)}\n`)
  return manifest
}

const part = `${values.out}.part-${process.pid}`
try {
  mkdirSync(part, { recursive: true })
  const { bytes, files } = pack(part)
  const limit = Number(values['limit-mib']) * 2 ** 20
  if (!(bytes <= limit)) throw new Error(`Expected at most ${limit} bytes for the pack but received ${bytes}`)
  rmSync(values.out, { recursive: true, force: true })
  renameSync(part, values.out)
  for (const file of files) process.stderr.write(`${String(file.bytes).padStart(10)}  ${file.path}\n`)
  process.stderr.write(`${String(bytes).padStart(10)}  ${values.out}\n`)
} catch (error) {
  process.stderr.write(`${error.message}\n`)
  process.exitCode = 1
} finally {
  rmSync(part, { recursive: true, force: true })
}
