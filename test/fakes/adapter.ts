import { readFile, writeFile } from 'node:fs/promises'
import { gguf as parseGguf } from '@huggingface/gguf'
import type { AdapterFacts, NativeAdapter } from '../../src/binding.js'
import { type FakeValue, float, floats, gguf, text } from './gguf.js'

/** A pair of matrices of a LoRA adapter, row by row. */
export interface FakePair {
  /** Name of the model's tensor, `in` wide and `out` high. */
  readonly base: string
  readonly in: number
  readonly out: number
  readonly rank: number
  /** rank x in. */
  readonly a: readonly number[]
  /** out x rank. */
  readonly b: readonly number[]
}

/** Of the small random model (src/random-model.ts): all matrices of its first layer, and its output. */
export function fakePairs(seed: number, rank = 4): FakePair[] {
  const shapes: [string, number, number][] = [
    ['blk.0.attn_q.weight', 128, 128],
    ['blk.0.attn_k.weight', 128, 64],
    ['blk.0.attn_v.weight', 128, 64],
    ['blk.0.attn_output.weight', 128, 128],
    ['blk.0.ffn_gate.weight', 128, 256],
    ['blk.0.ffn_up.weight', 128, 256],
    ['blk.0.ffn_down.weight', 256, 128],
    ['output.weight', 128, 512]
  ]
  let state = seed
  // Park and Miller (1988), as a number from -0.2 to 0.2.
  const next = () => {
    state = (state * 48271) % 2147483647
    return (state / 2147483647 - 0.5) * 0.4
  }
  return shapes.map(([base, width, out]) => {
    const a = Array.from({ length: rank * width }, next)
    return { base, in: width, out, rank, a, b: Array.from({ length: out * rank }, next) }
  })
}

/** The file of an adapter. `changes` replaces values of its metadata, or takes them out. */
export function fakeAdapter(
  pairs: readonly FakePair[],
  alpha: number,
  changes: Readonly<Record<string, FakeValue | undefined>> = {}
): Buffer {
  const values: Record<string, FakeValue | undefined> = {
    'general.type': text('adapter'),
    'general.architecture': text('llama'),
    'general.name': text('a random one'),
    'adapter.type': text('lora'),
    'adapter.lora.alpha': float(alpha),
    ...changes
  }
  const tensors = pairs.flatMap(({ base, in: width, out, rank, a, b }) => [
    { name: `${base}.lora_a`, shape: [width, rank], data: floats(a) },
    { name: `${base}.lora_b`, shape: [rank, out], data: floats(b) }
  ])
  const present = Object.entries(values).filter((entry): entry is [string, FakeValue] => entry[1] !== undefined)
  return gguf({ magic: 'GGUF', version: 3, values: present, tensors })
}

/** Writes a model of F32 weights to which these adapters have been added, each at its scale. */
export async function writeMerged(
  path: string,
  model: string,
  adapters: readonly { readonly pairs: readonly FakePair[]; readonly alpha: number; readonly scale: number }[]
): Promise<void> {
  const bytes = await readFile(model)
  const { tensorInfos, tensorDataOffset } = await parseGguf(model, { allowLocalFile: true })
  for (const { pairs, alpha, scale } of adapters) {
    for (const { base, in: width, out, rank, a, b } of pairs) {
      const { offset } = tensorInfos.find(({ name }) => name === base) as (typeof tensorInfos)[number]
      for (let row = 0; row < out; row++) {
        for (let column = 0; column < width; column++) {
          let sum = 0
          for (let r = 0; r < rank; r++) sum += (b[row * rank + r] as number) * (a[r * width + column] as number)
          const at = Number(tensorDataOffset + offset) + 4 * (row * width + column)
          bytes.writeFloatLE(bytes.readFloatLE(at) + ((scale * alpha) / rank) * sum, at)
        }
      }
    }
  }
  await writeFile(path, bytes)
}

/** NativeAdapter that computes nothing. */
export class FakeAdapter implements NativeAdapter {
  readonly facts: AdapterFacts
  closed = false

  constructor(path: string) {
    this.facts = { path, name: '', task: '', alpha: 1, tensors: 1, ignored: 0, devices: [] }
  }

  close(): void {
    this.closed = true
  }
}
