import type { ModelFacts, NativeBinding, NativePoolParams } from '../../src/binding.js'
import { Engine } from '../../src/engine.js'
import { resolveOpen } from '../../src/options.js'
import { FakeAdapter } from './adapter.js'
import { FakeHead, FakeModel } from './model.js'
import { FakePool, type Script } from './pool.js'

/** An engine on scripted pools, and everything a test may want to look at. */
export interface FakeEngine {
  readonly engine: Engine
  readonly model: FakeModel
  readonly head: FakeHead | null
  /** Every pool that was made, oldest first. */
  readonly pools: FakePool[]
}

export function fakeEngine(script: Script, options: { head?: boolean; facts?: Partial<ModelFacts> } = {}): FakeEngine {
  const pools: FakePool[] = []
  const model = new FakeModel(options.facts)
  const head = options.head === false ? null : new FakeHead()
  const binding = {
    addonVersion: '0.0.0-fake',
    llamaVersion: () => 'none',
    devices: () => [],
    loadAdapter: async (_model: unknown, path: string) => new FakeAdapter(path),
    async createPool(_model: unknown, params: NativePoolParams) {
      const pool = new FakePool(params, script)
      pools.push(pool)
      return pool
    }
  } as unknown as NativeBinding
  return { engine: new Engine(binding, model, head, resolveOpen({})), model, head, pools }
}
