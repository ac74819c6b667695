import type { NativeAdvance, NativeBinding, NativePool, NativePoolParams } from '../../src/binding.js'
import type { Settings } from '../../src/timing.js'
import { FakeModel } from './model.js'

/** How long a scripted machine says that things took, seconds, and how it computes. */
export interface Machine {
  step(settings: Settings, run: number): number
  prompt(settings: Settings, run: number): number
  /** Of every token. Default -1. */
  logprob?(settings: Settings, run: number): number
  /** Real milliseconds a prompt takes; a deadline before that cuts it short. Default 0. */
  realMs?(settings: Settings): number
  /** The code of what making a pool fails with; null for nothing. */
  fails?(settings: Settings): string | null
}

/** A binding whose pools take the time that is written; what was made and freed, in order. */
export function fakeMachine(machine: Machine) {
  const diary: string[] = []
  const model = new FakeModel()
  let run = -1
  const binding = {
    async loadModel() {
      return model
    },
    async createPool(_model: unknown, params: NativePoolParams & Settings) {
      run++
      const code = machine.fails?.(params) ?? null
      if (code !== null) throw Object.assign(new Error(`Expected memory but received ${code}`), { code })
      diary.push(`made ${params.threads}/${params.batch}/${params.flashAttention}/${params.kvType}`)
      return pool(params, run)
    }
  } as unknown as NativeBinding

  function pool(params: NativePoolParams & Settings, own: number): NativePool {
    let [count, generated, wake] = [0, 0, () => {}]
    const fake: Partial<NativePool> = {
      async prefill(prompt, deadlineSeconds) {
        const real = machine.realMs?.(params) ?? 0
        const cut = Math.min(real, deadlineSeconds * 1000)
        let aborted = false
        await new Promise<void>((resolve) => {
          setTimeout(resolve, cut)
          wake = () => {
            aborted = true
            resolve()
          }
        })
        const reason = aborted ? 'aborted' : cut < real ? 'deadline' : 'reached'
        const seconds = machine.prompt(params, own)
        return { reason, race: 1, tokens: prompt.length, decoded: prompt.length, seconds }
      },
      async fork(_race, fork) {
        count = fork.count
      },
      async advance([, until = 0]) {
        const steps = until - generated
        generated = until
        const logprobs = new Float32Array(count * steps).fill(machine.logprob?.(params, own) ?? -1)
        const seconds = { decodeSeconds: steps * machine.step(params, own), sampleSeconds: 0 }
        return [{ reason: 'reached', steps, logprobs, ...seconds } as NativeAdvance]
      },
      occupancy: () => ({ kvBytes: params.streams * params.cellsPerStream }) as ReturnType<NativePool['occupancy']>,
      abort: () => wake(),
      async close() {
        diary.push('freed')
      }
    }
    return fake as NativePool
  }

  return { binding, model, diary }
}
