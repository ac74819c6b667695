/**
 * Which of node-llama-cpp's prebuilt llama.cpp libraries to use, and opening them.
 *
 * The addon's llama.cpp symbols are undefined until one variant's libraries are opened into the process, so a process
 * has one variant for good: every thread and every copy of the package shares it, node-llama-cpp too.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, dirname, join } from 'node:path'
import { WinnowError } from './errors.js'

export type Variant = 'cuda' | 'vulkan' | 'metal' | 'cpu'
export type Gpu = 'auto' | Variant

/** loader.node: see native/addon/loader.cc. */
export interface Loader {
  /** llama.cpp release of the headers the addon was compiled against. */
  readonly compiledLlamaVersion: string
  /** Opens a library, for the whole process if `global`; null, or the linker's reason. */
  open(path: string, global: boolean): string | null
  /** Paths of every library in the process. */
  loaded(): string[]
  /** Registers one ggml backend library; needs the libraries opened. */
  loadBackend(path: string): boolean
}

export interface Installed {
  readonly variant: Variant
  readonly folder: string
  /** llama.cpp release of the prebuilt libraries, null where their metadata cannot be read. */
  readonly release: string | null
  /** Backend libraries in another folder that stand in when the ones here lack a system library. */
  readonly fallback: string | null
}

export interface Tried {
  readonly variant: Variant
  readonly ok: boolean
  /** Why it was passed over, or what is worth knowing although it loaded. */
  readonly reason: string | null
}

export interface Libraries {
  readonly variant: Variant
  readonly folder: string
  readonly release: string
  /** Whether something else in the process had opened them before. */
  readonly shared: boolean
  readonly tried: readonly Tried[]
}

/** Packages by platform, in the order `auto` prefers. Apple silicon has one, which also serves the CPU. */
const packages: Record<string, readonly (readonly [Variant, string])[]> = {
  'linux-x64': [
    ['cuda', 'linux-x64-cuda'],
    ['vulkan', 'linux-x64-vulkan'],
    ['cpu', 'linux-x64']
  ],
  'linux-arm64': [['cpu', 'linux-arm64']],
  'linux-arm': [['cpu', 'linux-armv7l']],
  'linux-riscv64': [['cpu', 'linux-riscv64']],
  'darwin-arm64': [['metal', 'mac-arm64-metal']],
  'darwin-x64': [['cpu', 'mac-x64']],
  'win32-x64': [
    ['cuda', 'win-x64-cuda'],
    ['vulkan', 'win-x64-vulkan'],
    ['cpu', 'win-x64']
  ],
  'win32-arm64': [['cpu', 'win-arm64']]
}

/** System libraries a variant's backend needs, by the release of the system's own runtime. */
const cudaLibraries = (major: number) => ['libcuda.so.1', `libcudart.so.${major}`, `libcublas.so.${major}`]
const vulkanLibraries = ['libvulkan.so.1']

/** The variants that npm installed for this machine, in order of preference. */
export function installedVariants(platform: string = process.platform, arch: string = process.arch): Installed[] {
  const found: Installed[] = []
  for (const [variant, name] of packages[`${platform}-${arch}`] ?? []) {
    const folder = packageFolder(name, name)
    if (folder === null) continue
    const fallback = variant === 'cuda' ? packageFolder(`${name}-ext`, join(name, 'fallback')) : null
    found.push({ variant, folder, release: releaseOf(folder), fallback })
  }
  return found
}

/**
 * Opens the libraries of the variant asked for, or for `auto` of the first that loads.
 *
 * Throws VARIANT_LOADED (another one is in the process), VARIANT_UNAVAILABLE, VERSION_MISMATCH.
 */
export function openLibraries(loader: Loader, gpu: Gpu, installed: readonly Installed[]): OpenedLibraries {
  const present = loader.loaded().find((path) => isLlama(basename(path)))
  if (present !== undefined) return adopt(loader, dirname(present), gpu, installed)
  const wanted = installed.filter(({ variant }) => serves(variant, gpu, installed))
  const tried: Tried[] = []
  for (const candidate of wanted) {
    const { variant, folder } = candidate
    // Before anything is opened: a library cannot be closed again.
    const release = sameRelease(loader, candidate)
    const { reason, backends } = systemLibraries(loader, candidate)
    const failure = reason ?? loader.open(llamaLibrary(folder), true)
    tried.push({ variant, ok: failure === null, reason: failure })
    if (failure === null) return { variant, folder, release, shared: false, tried, backends }
  }
  throw new WinnowError('VARIANT_UNAVAILABLE', unavailable(gpu, installed, tried))
}

/** Libraries, and the backend libraries outside their folder that are to be registered first. */
export interface OpenedLibraries extends Libraries {
  readonly backends: readonly string[]
}

/** "v0.5.0" and "0.5.0-dev" are the same release: the first is node-llama-cpp's name, the second the library's own. */
export function releaseNumber(text: string): string {
  return text.replace(/^v/, '').replace(/-dev$/, '')
}

function adopt(loader: Loader, folder: string, gpu: Gpu, installed: readonly Installed[]): OpenedLibraries {
  const known = installed.find((candidate) => candidate.folder === folder)
  const variant = known?.variant ?? variantOf(folder)
  if (gpu !== 'auto' && !serves(variant, gpu, installed)) {
    throw new WinnowError(
      'VARIANT_LOADED',
      `Expected the ${gpu} libraries of llama.cpp but the process already has the ${variant} ones from ${folder}. A process holds one variant: choose it at the first open(), or start another process`
    )
  }
  const release = sameRelease(loader, { variant, folder, release: releaseOf(folder), fallback: null })
  // Whoever opened them may have kept the symbols to themselves; opening again shares the same instance with ours.
  const failure = loader.open(llamaLibrary(folder), true)
  if (failure !== null)
    throw new WinnowError('VARIANT_UNAVAILABLE', unavailable(gpu, installed, [{ variant, ok: false, reason: failure }]))
  return {
    variant,
    folder,
    release,
    shared: true,
    tried: [{ variant, ok: true, reason: 'already in the process' }],
    backends: []
  }
}

function serves(variant: Variant, gpu: Gpu, installed: readonly Installed[]): boolean {
  if (gpu === 'auto' || gpu === variant) return true
  return gpu === 'cpu' && variant === 'metal' && installed.every((other) => other.variant === 'metal')
}

function sameRelease(loader: Loader, candidate: Installed): string {
  const { variant, folder, release } = candidate
  if (release === null || releaseNumber(release) !== releaseNumber(loader.compiledLlamaVersion)) {
    throw new WinnowError(
      'VERSION_MISMATCH',
      `Expected llama.cpp ${loader.compiledLlamaVersion}, which the addon was compiled for, but the ${variant} libraries in ${folder} are ${release ?? 'of an unknown release'}. Run npm rebuild winnow-llm`
    )
  }
  return release
}

/** Opens what the backend needs of the system, so that a missing runtime is a reason and not a silent CPU run. */
function systemLibraries(loader: Loader, candidate: Installed): { reason: string | null; backends: string[] } {
  if (process.platform !== 'linux') return { reason: null, backends: [] }
  if (candidate.variant === 'vulkan') return { reason: openAll(loader, vulkanLibraries), backends: [] }
  if (candidate.variant !== 'cuda') return { reason: null, backends: [] }
  const reason = openAll(loader, cudaLibraries(13))
  if (reason === null || candidate.fallback === null) return { reason, backends: [] }
  if (openAll(loader, cudaLibraries(12)) !== null) return { reason, backends: [] }
  return { reason: null, backends: [join(candidate.fallback, 'libggml-cuda.so')] }
}

function openAll(loader: Loader, names: readonly string[]): string | null {
  for (const name of names) {
    let reason = loader.open(name, false)
    for (const folder of cudaFolders()) {
      if (reason === null) break
      const path = join(folder, name)
      if (existsSync(path)) reason = loader.open(path, false)
    }
    if (reason !== null) return reason
  }
  return null
}

/** Where CUDA's installers put libraries without telling the linker. */
function cudaFolders(): string[] {
  const roots = [process.env.CUDA_PATH, '/usr/local/cuda', '/usr/local/cuda-13', '/usr/local/cuda-12']
  return roots.filter((root) => root !== undefined && root !== '').map((root) => join(root as string, 'lib64'))
}

function unavailable(gpu: Gpu, installed: readonly Installed[], tried: readonly Tried[]): string {
  const what = `Expected the ${gpu === 'auto' ? 'prebuilt' : gpu} libraries of llama.cpp`
  if (tried.length > 0) {
    const reasons = tried.map(({ variant, reason }) => `${variant}: ${reason}`).join('; ')
    return `${what} but none could be opened (${reasons})`
  }
  const names = installed.map(({ variant }) => variant).join(', ')
  return `${what} for ${process.platform}-${process.arch} but npm installed ${names === '' ? 'none' : `only ${names}`}. Install winnow-llm without --omit=optional`
}

function packageFolder(name: string, bins: string): string | null {
  const require = createRequire(import.meta.url)
  for (const modules of require.resolve.paths('@node-llama-cpp/x') ?? []) {
    // npm may nest the binaries below node-llama-cpp.
    for (const base of [modules, join(modules, 'node-llama-cpp', 'node_modules')]) {
      const folder = join(base, '@node-llama-cpp', name, 'bins', bins)
      if (existsSync(folder)) return folder
    }
  }
  return null
}

function releaseOf(folder: string): string | null {
  try {
    const metadata = JSON.parse(readFileSync(join(folder, '_nlcBuildMetadata.json'), 'utf8'))
    return String(metadata.buildOptions.llamaCpp.release)
  } catch {
    return null
  }
}

function variantOf(folder: string): Variant {
  const name = basename(llamaLibrary(folder))
  return (['cuda', 'vulkan', 'metal'] as const).find((variant) => name.includes(`.${variant}.`)) ?? 'cpu'
}

function isLlama(name: string): boolean {
  return /^(lib)?llama(\.[\w.]+)?\.(so|dylib|dll)$/.test(name)
}

function llamaLibrary(folder: string): string {
  return join(folder, readdirSync(folder).find(isLlama) ?? 'libllama')
}
