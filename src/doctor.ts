/** What this machine has of what winnow needs, each lack with its remedy, and a decode to prove it. */
import { mkdtemp, rm } from 'node:fs/promises'
import { arch, availableParallelism, cpus, freemem, platform, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import {
  type Loaded,
  loadBinding,
  type NativeAdvance,
  type NativeBinding,
  type NativeDevice,
  type NativeModel
} from './binding.js'
import { WinnowError } from './errors.js'
import { type Gpu, type Installed, installedVariants, type Libraries } from './libraries.js'
import { randomModelDefaults } from './random-model.js'
import { atLeast, nodeRequired, version } from './version.js'

export interface Problem {
  readonly code: string
  readonly problem: string
  readonly remedy: string
}

export interface Smoke {
  readonly branches: number
  readonly tokens: number
  /** Of decoding and sampling; a tiny model on one thread, so a sign of life and not a benchmark. */
  readonly tokensPerSecond: number
  readonly seconds: number
}

export interface Examination {
  readonly schemaVersion: 1
  readonly ok: boolean
  readonly versions: {
    readonly winnow: string
    readonly node: string
    readonly nodeRequired: string
    /** Null where the addon is missing. */
    readonly addon: string | null
    readonly llamaCompiled: string | null
    readonly llamaLoaded: string | null
  }
  readonly hardware: {
    readonly platform: string
    readonly cpu: string
    readonly cores: number
    /** Bytes. */
    readonly memoryTotal: number
    readonly memoryFree: number
  }
  /** What npm installed, in the order `auto` prefers. */
  readonly installed: readonly Installed[]
  readonly libraries: Libraries | null
  readonly devices: readonly NativeDevice[]
  /** CPU instructions the loaded backend uses. */
  readonly features: string | null
  readonly smoke: Smoke | null
  readonly problems: readonly Problem[]
}

/** Needs a tenth of a second and a megabyte; loads the libraries, so it settles the process's variant. */
export async function examine(gpu: Gpu = 'auto'): Promise<Examination> {
  const problems: Problem[] = []
  const installed = installedVariants()
  if (!atLeast(process.version, nodeRequired)) problems.push(oldNode())
  const loaded = attempt(() => loadBinding({ gpu }), problems)
  const smoke = loaded === null ? null : await smokeTest(loaded.binding, problems)
  return {
    schemaVersion: 1,
    ok: problems.length === 0,
    versions: {
      winnow: version,
      node: process.version,
      nodeRequired,
      addon: loaded?.binding.addonVersion ?? null,
      llamaCompiled: loaded?.binding.compiledLlamaVersion ?? null,
      llamaLoaded: loaded?.binding.llamaVersion() ?? null
    },
    hardware: hardware(),
    installed,
    libraries: loaded?.libraries ?? null,
    devices: loaded?.binding.devices() ?? [],
    features: loaded?.binding.systemInfo().trim() ?? null,
    smoke,
    problems
  }
}

function hardware(): Examination['hardware'] {
  return {
    platform: `${platform()}-${arch()}`,
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memoryTotal: totalmem(),
    memoryFree: freemem()
  }
}

function attempt(load: () => Loaded, problems: Problem[]): Loaded | null {
  try {
    return load()
  } catch (error) {
    problems.push(problemOf(error))
    return null
  }
}

async function smokeTest(binding: NativeBinding, problems: Problem[]): Promise<Smoke | null> {
  const folder = await mkdtemp(join(tmpdir(), 'winnow-doctor-'))
  try {
    return await smokeDecode(binding, join(folder, 'random.gguf'))
  } catch (error) {
    problems.push(problemOf(error))
    return null
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** Writes a tiny model to `path` and decodes a few tokens with it. Rejects with what the binding rejects with, SMOKE_FAILED. */
export async function smokeDecode(binding: NativeBinding, path: string): Promise<Smoke> {
  await binding.writeRandomModel({ ...randomModelDefaults, path })
  const model = await binding.loadModel({
    path,
    gpuLayers: -1,
    devices: [],
    split: 'layer',
    mainGpu: 0,
    tensorSplit: [],
    mmap: true,
    mlock: false,
    checkTensors: false
  })
  try {
    return await decode(binding, model)
  } finally {
    model.close()
  }
}

async function decode(binding: NativeBinding, model: NativeModel): Promise<Smoke> {
  const branches = 8
  const pool = await binding.createPool(model, {
    streams: branches,
    cellsPerStream: 256,
    threads: 1,
    batch: 64,
    kvType: 'f16',
    flashAttention: 'auto',
    states: true,
    deterministic: false
  })
  try {
    const { race } = await pool.prefill(await model.tokenize('Is anybody there?', true, false), 0)
    await pool.fork(race, {
      count: branches,
      seed: 1n,
      firstCandidate: 0,
      maxTokens: 32,
      temperature: 1,
      topK: 0,
      topP: 1,
      minP: 0,
      stopTokens: new Int32Array()
    })
    const [moved] = await pool.advance(Int32Array.of(race, 32), 20)
    const { tokens, decodeSeconds, sampleSeconds } = moved as NativeAdvance
    const seconds = decodeSeconds + sampleSeconds
    if (tokens.length === 0) throw new WinnowError('SMOKE_FAILED', 'Expected tokens of a tiny model but received none')
    return { branches, tokens: tokens.length, seconds, tokensPerSecond: Math.round(tokens.length / seconds) }
  } finally {
    await pool.close()
  }
}

function oldNode(): Problem {
  return {
    code: 'NODE_TOO_OLD',
    problem: `Expected Node ${nodeRequired} or later but received ${process.version}`,
    remedy: `Install Node ${nodeRequired} or later.`
  }
}

const remedies: Record<string, string> = {
  ADDON_MISSING:
    'Install a C++20 compiler, cmake 3.20 and git, then run npm rebuild winnow-llm (npm ci in the repository).',
  ADDON_MISMATCH: 'Run npm rebuild winnow-llm (npm ci in the repository) with the Node that runs it.',
  VERSION_MISMATCH:
    'Run npm ci: it installs the node-llama-cpp that this version is pinned to, and rebuilds the addon.',
  VARIANT_UNAVAILABLE: 'Install the runtime that the reason names, or let WINNOW_GPU=auto fall back to the CPU.',
  BACKEND_LOAD: 'Run npm ci without --omit=optional: the prebuilt llama.cpp libraries are optional dependencies.',
  OUT_OF_MEMORY: 'Free some memory: the smoke decode needs a few megabytes.'
}

function problemOf(error: unknown): Problem {
  const { code, message } = WinnowError.from(error)
  return { code, problem: message, remedy: remedies[code] ?? 'Report this with the output of winnow doctor --json.' }
}
