import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import {
  loadBinding,
  type NativeAdvance,
  type NativeBinding,
  type NativeForkParams,
  type NativeHead,
  type NativeModel,
  type NativeOccupancy,
  type NativePool,
  type NativePrefill
} from '../../src/binding.js'
import { type RandomModelOptions, writeRandomModel } from '../../src/random-model.js'

/** Milliseconds to load, thousands of tokens a second. */
export const tiny: RandomModelOptions = {}

/** Tens of milliseconds a step at 64 branches: a decode that can be caught in the middle. */
export const slow: RandomModelOptions = { width: 512, layers: 8, heads: 8, headsKv: 8, feedForward: 1536 }

/** Writes a random model that is removed after the file's tests. */
export async function modelFile(options: RandomModelOptions): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'winnow-test-'))
  afterAll(() => rm(folder, { recursive: true, force: true }))
  const path = join(folder, 'random.gguf')
  await writeRandomModel(path, options)
  return path
}

export const binding: NativeBinding = loadBinding().binding

export function load(path: string): Promise<NativeModel> {
  return binding.loadModel({
    path,
    gpuLayers: 0,
    devices: [],
    split: 'layer',
    mainGpu: 0,
    tensorSplit: [],
    mmap: true,
    mlock: false,
    checkTensors: false
  })
}

export const poolParams = {
  streams: 8,
  cellsPerStream: 256,
  threads: 1,
  batch: 64,
  kvType: 'f16',
  flashAttention: 'auto',
  states: true,
  deterministic: false
} as const

export const forkParams = {
  count: 8,
  seed: 1n,
  firstCandidate: 0,
  maxTokens: 200,
  temperature: 1,
  topK: 0,
  topP: 1,
  minP: 0,
  stopTokens: new Int32Array()
} as const

/** A pool with one race, which each prefill begins anew; its steps are counted from where it is. */
export class Solo {
  readonly pool: NativePool
  race = 0
  #tokens = 0

  constructor(pool: NativePool) {
    this.pool = pool
  }

  async prefill(prompt: Int32Array, deadlineSeconds = 0): Promise<NativePrefill> {
    await this.pool.end(this.race)
    const done = await this.pool.prefill(prompt, deadlineSeconds)
    this.race = done.race
    this.#tokens = 0
    return done
  }

  fork(params: NativeForkParams): Promise<void> {
    return this.pool.fork(this.race, params)
  }

  async advance(steps: number, deadlineSeconds = 0): Promise<NativeAdvance> {
    const [moved] = await this.pool.advance(Int32Array.of(this.race, this.#tokens + steps), deadlineSeconds)
    this.#tokens += (moved as NativeAdvance).steps
    return moved as NativeAdvance
  }

  kill(ids: Int32Array): Promise<void> {
    return this.pool.kill(this.race, ids)
  }

  score(head: NativeHead, ids: Int32Array): Promise<Float32Array> {
    return this.pool.score(head, this.race, ids)
  }

  states(ids: Int32Array): Promise<Float32Array> {
    return this.pool.states(this.race, ids)
  }

  confidence(ids: Int32Array): Promise<Float32Array> {
    return this.pool.confidence(this.race, ids)
  }

  occupancy(): NativeOccupancy {
    return this.pool.occupancy()
  }

  abort(): void {
    this.pool.abort()
  }

  close(): Promise<void> {
    return this.pool.close()
  }
}

/** A pool whose branches have the prompt behind them. */
export async function startedPool(model: NativeModel, streams = 8, cellsPerStream = 256): Promise<Solo> {
  const pool = new Solo(await binding.createPool(model, { ...poolParams, streams, cellsPerStream }))
  await pool.prefill(Int32Array.of(1, 70, 80, 90))
  await pool.fork({ ...forkParams, count: streams, maxTokens: cellsPerStream })
  return pool
}
