import { createRequire } from 'node:module'
import { WinnowError } from './errors.js'
import { type Gpu, installedVariants, type Libraries, type Loader, openLibraries, releaseNumber } from './libraries.js'
import type { NativeAdapter, NativeAdapters } from './native/adapter.js'
import type { NativeEpoch, NativeFit, NativeFitParams, NativeFitRows } from './native/fit.js'
import type { NativeHead } from './native/head.js'
import type { NativeMirror, NativeMirrorParams } from './native/mirror.js'
import type { NativeDevice, NativeModel, NativeModelParams, NativeSizes } from './native/model.js'
import type { NativePool, NativePoolParams } from './native/pool.js'
import type { NativeRandomModelParams } from './native/random-model.js'
import type { NativeRanker, NativeRankerParams } from './native/ranker.js'
import { version } from './version.js'

export type * from './native/adapter.js'
export type * from './native/fit.js'
export type * from './native/fork.js'
export type * from './native/head.js'
export type * from './native/mirror.js'
export type * from './native/model.js'
export type * from './native/pool.js'
export { BranchCode } from './native/pool.js'
export type * from './native/random-model.js'
export type * from './native/ranker.js'

/**
 * The whole native surface, and the only file that loads the addon. Every operation is a promise on a native
 * worker; arrays cross flat, once per checkpoint. A pool has one job in flight: a second one is rejected with
 * `POOL_BUSY` (the engine queues, the addon only refuses).
 */
export interface NativeBinding {
  readonly addonVersion: string
  /** What the headers said at build time. */
  readonly compiledLlamaVersion: string
  readonly featureNames: readonly string[]
  /** What the loaded library says of itself. */
  llamaVersion(): string
  loadBackends(folder: string): void
  devices(): NativeDevice[]
  systemInfo(): string
  setLogger(logger: ((level: number, text: string) => void) | null): void
  loadModel(params: NativeModelParams, onProgress?: (share: number) => void): Promise<NativeModel>
  /** Of a model without weights it serves for sizes. */
  loadAdapter(model: NativeModel, path: string): Promise<NativeAdapter>
  loadHead(path: string): Promise<NativeHead>
  createPool(model: NativeModel, params: NativePoolParams): Promise<NativePool>
  createMirror(model: NativeModel, params: NativeMirrorParams): Promise<NativeMirror>
  /** Takes an encoder opened as a ranker. */
  createRanker(model: NativeModel, params: NativeRankerParams): Promise<NativeRanker>
  /**
   * Of a decoder opened as a ranker: its one output for the last token's state, or that of yes less that of no. No
   * softmax, which llama.cpp's own rank pooling applies and which makes 1.0 of any text where there is one label.
   */
  rankHead(model: NativeModel): NativeHead
  /**
   * What such a pool would take that computes with these adapters (default: none), without making it. Takes models opened
   * without weights only, and adapters of them, whose own bytes it leaves out.
   */
  poolSizes(model: NativeModel, params: NativePoolParams, adapters?: NativeAdapters): Promise<NativeSizes>
  /** Likewise for a mirror. */
  mirrorSizes(model: NativeModel, params: NativeMirrorParams): Promise<NativeSizes>
  fitHead(
    train: NativeFitRows,
    validation: NativeFitRows,
    params: NativeFitParams,
    onEpoch: ((epoch: NativeEpoch) => void) | null
  ): { readonly done: Promise<NativeFit>; stop(): void }
  writeRandomModel(params: NativeRandomModelParams): Promise<void>
}

export interface Loaded {
  readonly binding: NativeBinding
  readonly libraries: Libraries
}

const require = createRequire(import.meta.url)
const addonFolder = '../build/addon/Release'
let loaded: Loaded | null = null

/**
 * Opens the libraries of a variant and the addon on top of them; later calls return the same. `auto` (the default)
 * follows the environment variable WINNOW_GPU where it is set.
 *
 * Throws ADDON_MISSING, ADDON_MISMATCH, VERSION_MISMATCH, VARIANT_LOADED, VARIANT_UNAVAILABLE, BACKEND_LOAD.
 */
export function loadBinding(options: { readonly gpu?: Gpu | undefined } = {}): Loaded {
  const gpu = wantedGpu(options.gpu ?? 'auto')
  if (loaded !== null && (gpu === 'auto' || gpu === loaded.libraries.variant)) return loaded
  const loader = requireAddon<Loader>('loader.node')
  const { backends, ...libraries } = openLibraries(loader, gpu, installedVariants())
  const binding = requireAddon<NativeBinding>('winnow.node')
  checkVersions(binding, libraries)
  for (const path of backends) loader.loadBackend(path)
  try {
    binding.loadBackends(libraries.folder)
  } catch (error) {
    throw WinnowError.from(error)
  }
  loaded = { binding, libraries: explainMissingDevice(libraries, binding) }
  return loaded
}

function wantedGpu(gpu: Gpu): Gpu {
  const fromEnvironment = process.env.WINNOW_GPU
  if (gpu !== 'auto' || fromEnvironment === undefined || fromEnvironment === '') return gpu
  const known: readonly string[] = ['auto', 'cuda', 'vulkan', 'metal', 'cpu']
  if (known.includes(fromEnvironment)) return fromEnvironment as Gpu
  throw new WinnowError(
    'OPTION_INVALID',
    `Expected auto, cuda, vulkan, metal or cpu for WINNOW_GPU but received "${fromEnvironment}"`
  )
}

function requireAddon<Module>(name: string): Module {
  try {
    return require(`${addonFolder}/${name}`) as Module
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND')
      throw new WinnowError('ADDON_MISMATCH', `Expected to load ${name} but received "${(cause as Error).message}"`, {
        cause
      })
    throw new WinnowError(
      'ADDON_MISSING',
      `Expected the compiled addon ${name} but found none: it is built when the package is installed, by cmake and a C++ compiler. Run npm rebuild winnow-llm (npm 12 first wants npm install-scripts approve winnow-llm), or npm run build:addon in the repository`,
      { cause }
    )
  }
}

function checkVersions(binding: NativeBinding, libraries: Libraries): void {
  if (binding.addonVersion !== version) {
    throw new WinnowError(
      'ADDON_MISMATCH',
      `Expected the addon of winnow-llm ${version} but received one of ${binding.addonVersion}. Run npm rebuild winnow-llm`
    )
  }
  if (releaseNumber(binding.llamaVersion()) !== releaseNumber(binding.compiledLlamaVersion)) {
    throw new WinnowError(
      'VERSION_MISMATCH',
      `Expected llama.cpp ${binding.compiledLlamaVersion}, which the addon was compiled for, but the libraries in ${libraries.folder} say ${binding.llamaVersion()}`
    )
  }
}

/** A GPU variant without a GPU works, on the CPU; the reason should say so. */
function explainMissingDevice(libraries: Libraries, binding: NativeBinding): Libraries {
  if (libraries.variant === 'cpu' || binding.devices().some(({ type }) => type !== 'cpu')) return libraries
  const tried = libraries.tried.map((attempt) =>
    attempt.ok ? { ...attempt, reason: `no ${attempt.variant} device found; runs on the CPU` } : attempt
  )
  return { ...libraries, tried }
}
