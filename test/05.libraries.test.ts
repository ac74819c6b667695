import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { loadBinding } from '../src/binding.js'
import {
  type Installed,
  installedVariants,
  type Loader,
  openLibraries,
  releaseNumber,
  type Variant
} from '../src/libraries.js'

let root: string
const installed: Installed[] = []

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'winnow-libraries-'))
  for (const [variant, suffix] of [
    ['cuda', '.cuda'],
    ['vulkan', '.vulkan'],
    ['cpu', '']
  ] as const) {
    const folder = join(root, variant)
    await mkdir(folder)
    await writeFile(join(folder, `libllama${suffix}.v0.5.0.so`), '')
    await writeFile(join(folder, 'libllama-common.so'), '')
    const metadata = { buildOptions: { llamaCpp: { release: 'v0.5.0' } } }
    await writeFile(join(folder, '_nlcBuildMetadata.json'), JSON.stringify(metadata))
    installed.push({ variant, folder, release: 'v0.5.0', fallback: variant === 'cuda' ? join(root, 'ext') : null })
  }
})

afterAll(() => rm(root, { recursive: true, force: true }))

/** A machine that has some of the system's libraries and nothing else. */
function machine(has: readonly string[], loaded: readonly string[] = []): Loader & { readonly opened: string[] } {
  const opened: string[] = []
  return {
    opened,
    compiledLlamaVersion: 'v0.5.0',
    loaded: () => [...loaded],
    loadBackend: () => true,
    open(path, global) {
      const here = path.startsWith(root) || has.includes(path)
      if (here && global) opened.push(path)
      return here ? null : `${path}: cannot open shared object file`
    }
  }
}

const cuda13 = ['libcuda.so.1', 'libcudart.so.13', 'libcublas.so.13']
const cuda12 = ['libcuda.so.1', 'libcudart.so.12', 'libcublas.so.12']
const vulkan = ['libvulkan.so.1']
const outcome = (loader: Loader, gpu: 'auto' | Variant) => {
  const { variant, tried } = openLibraries(loader, gpu, installed)
  return [variant, tried.map((attempt) => `${attempt.variant} ${attempt.ok}`)]
}

describe.runIf(process.platform === 'linux')('auto', () => {
  test('takes CUDA where its runtime is', () => {
    expect(outcome(machine([...cuda13, ...vulkan]), 'auto')).toEqual(['cuda', ['cuda true']])
  })

  test('takes the build for CUDA 12 where only that runtime is', () => {
    const { variant, backends } = openLibraries(machine(cuda12), 'auto', installed)
    expect(variant).toBe('cuda')
    expect(backends).toEqual([join(root, 'ext', 'libggml-cuda.so')])
  })

  test('falls back to Vulkan, then to the CPU, and keeps the reasons', () => {
    expect(outcome(machine(vulkan), 'auto')).toEqual(['vulkan', ['cuda false', 'vulkan true']])
    expect(outcome(machine([]), 'auto')).toEqual(['cpu', ['cuda false', 'vulkan false', 'cpu true']])
    const { tried } = openLibraries(machine([]), 'auto', installed)
    expect(tried[0]?.reason).toContain('libcuda.so.1')
    expect(tried[1]?.reason).toContain('libvulkan.so.1')
  })

  test('opens the libraries of one variant only, and not libllama-common', () => {
    const loader = machine([])
    openLibraries(loader, 'auto', installed)
    expect(loader.opened).toEqual([join(root, 'cpu', 'libllama.v0.5.0.so')])
  })

  test('shares what the process already has', () => {
    const loader = machine([...cuda13], [join(root, 'vulkan', 'libllama.vulkan.v0.5.0.so')])
    const { variant, shared } = openLibraries(loader, 'auto', installed)
    expect([variant, shared]).toEqual(['vulkan', true])
  })

  test('recognises a variant that npm did not install here', () => {
    const elsewhere = installed.filter(({ variant }) => variant === 'cpu')
    const loader = machine([], [join(root, 'cuda', 'libllama.cuda.v0.5.0.so')])
    expect(openLibraries(loader, 'auto', elsewhere).variant).toBe('cuda')
  })
})

describe('a variant asked for by name', () => {
  test('is never replaced by another', () => {
    expect(() => openLibraries(machine([]), 'cuda', installed)).toThrow(
      expect.objectContaining({ code: 'VARIANT_UNAVAILABLE', message: expect.stringContaining('libcuda.so.1') })
    )
  })

  test('that npm did not install is an error that says what it did install', () => {
    expect(() => openLibraries(machine([]), 'metal', installed)).toThrow(
      expect.objectContaining({
        code: 'VARIANT_UNAVAILABLE',
        message: expect.stringContaining('only cuda, vulkan, cpu')
      })
    )
  })

  test('is an error where the process has another', () => {
    const loader = machine([], [join(root, 'cpu', 'libllama.v0.5.0.so')])
    expect(() => openLibraries(loader, 'cuda', installed)).toThrow(expect.objectContaining({ code: 'VARIANT_LOADED' }))
    expect(openLibraries(loader, 'cpu', installed).variant).toBe('cpu')
  })
})

describe('libraries of another llama.cpp', () => {
  test.each(['v0.4.9', null])('(%s) are refused before anything is opened', (release) => {
    const loader = machine([])
    const other = installed.map((candidate) => ({ ...candidate, release }))
    expect(() => openLibraries(loader, 'cpu', other)).toThrow(expect.objectContaining({ code: 'VERSION_MISMATCH' }))
    expect(loader.opened).toEqual([])
  })

  test('are refused too where the process already has them', async () => {
    const folder = join(root, 'old')
    await mkdir(folder)
    await writeFile(join(folder, 'libllama.v0.4.9.so'), '')
    const loader = machine([], [join(folder, 'libllama.v0.4.9.so')])
    expect(() => openLibraries(loader, 'auto', installed)).toThrow(
      expect.objectContaining({ code: 'VERSION_MISMATCH' })
    )
  })

  test('are told from the same release under its other name', () => {
    expect(releaseNumber('v0.5.0')).toBe(releaseNumber('0.5.0-dev'))
    expect(releaseNumber('v0.5.1')).not.toBe(releaseNumber('0.5.0-dev'))
  })
})

describe('this machine', () => {
  test('has a variant that serves the CPU, of the release the addon was compiled for', () => {
    const { binding, libraries } = loadBinding()
    expect(installedVariants().map(({ folder }) => folder)).toContain(libraries.folder)
    expect(libraries.tried.at(-1)?.ok).toBe(true)
    expect(binding.devices().map(({ type }) => type)).toContain('cpu')
    expect(releaseNumber(binding.llamaVersion())).toBe(releaseNumber(binding.compiledLlamaVersion))
  })

  test('gives the same binding again, and refuses another variant', () => {
    const { binding, libraries } = loadBinding()
    expect(loadBinding().binding).toBe(binding)
    expect(loadBinding({ gpu: libraries.variant }).binding).toBe(binding)
    const other = libraries.variant === 'cpu' ? 'vulkan' : 'cpu'
    expect(() => loadBinding({ gpu: other })).toThrow(expect.objectContaining({ code: 'VARIANT_LOADED' }))
    expect(() => binding.loadBackends('/nowhere')).toThrow()
  })

  test('refuses a WINNOW_GPU it does not know', () => {
    process.env.WINNOW_GPU = 'abacus'
    expect(() => loadBinding()).toThrow(expect.objectContaining({ code: 'OPTION_INVALID' }))
    delete process.env.WINNOW_GPU
  })
})
