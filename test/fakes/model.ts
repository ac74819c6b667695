import type { HeadFacts, ModelFacts, NativeHead, NativeModel } from '../../src/binding.js'

const facts: ModelFacts = {
  path: 'fake.gguf',
  architecture: 'llama',
  description: 'a scripted model',
  parameters: 1,
  bytes: 1,
  contextTrain: 1024,
  width: 8,
  layers: 1,
  heads: 1,
  headsKv: 1,
  vocabulary: 256,
  bos: 1,
  eos: 2,
  eot: -1,
  addBos: true,
  hasTokenizer: true,
  chatTemplate: null
}

/** NativeModel whose tokens are character codes; "<s>" is BOS wherever special text is parsed. */
export class FakeModel implements NativeModel {
  readonly facts: ModelFacts
  closed = false

  constructor(changes: Partial<ModelFacts> = {}) {
    this.facts = { ...facts, ...changes }
  }

  async tokenize(text: string, addSpecial: boolean, parseSpecial: boolean): Promise<Int32Array> {
    const parts = parseSpecial ? text.split('<s>') : [text]
    const codes = parts.flatMap((part, i) => [...(i > 0 ? [this.facts.bos] : []), ...Buffer.from(part)])
    return Int32Array.from(addSpecial && this.facts.addBos ? [this.facts.bos, ...codes] : codes)
  }

  async detokenize(tokens: Int32Array, offsets: Int32Array): Promise<string[]> {
    return Array.from({ length: offsets.length - 1 }, (_, i) =>
      String.fromCharCode(...tokens.subarray(offsets[i], offsets[i + 1]))
    )
  }

  tokenText(token: number): string {
    return token === this.facts.bos ? '<s>' : token === this.facts.eos ? '</s>' : String.fromCharCode(token)
  }

  close(): void {
    this.closed = true
  }
}

export class FakeHead implements NativeHead {
  readonly facts: HeadFacts
  closed = false

  constructor(width = 8) {
    const [kind, activation, features, trainedOn, modelSha256] = ['linear', '', [], '', ''] as const
    this.facts = { path: 'fake.head.gguf', kind, activation, width, hidden: 0, features, trainedOn, modelSha256 }
  }

  apply(states: Float32Array): Float32Array {
    return new Float32Array(states.length / this.facts.width)
  }

  close(): void {
    this.closed = true
  }
}
