import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { main } from '../../src/cli/main.js'
import type { open } from '../../src/engine.js'
import { fakeEngine } from './engine.js'
import type { Script } from './pool.js'
import { fakeTerminal } from './terminal.js'

// Candidate 5 is right; candidate 7 has the highest score until its end, then 5 has.
const answer = (id: number) => `The answer is ${id === 5 ? 7 : 1}${id < 3 ? '' : ', as is plain to see'}.`
const script: Script = {
  length: (id) => answer(id).length,
  token: (id, position) => answer(id).charCodeAt(position),
  score: (id, tokens) => (id === 5 && tokens > 10 ? 20 : id + tokens / 10)
}

/** The command line over a scripted model, in a folder of its own. */
export class FakeWorkplace {
  readonly folder: string
  readonly problems: string
  readonly traces: string

  constructor(folder: string) {
    this.folder = folder
    this.problems = join(folder, 'problems.jsonl')
    this.traces = join(folder, 'traces.jsonl')
  }

  async winnow(...argv: readonly string[]) {
    const terminal = fakeTerminal()
    const code = await main([...argv], terminal, this.#open)
    return { code, out: terminal.out(), err: terminal.err() }
  }

  /** Writes problems and a recording of them: 8 candidates each, looked at every 4 tokens by two scorers. */
  async record(problems = 3): Promise<void> {
    await writeFile(join(this.folder, 'model.gguf'), 'GGUF')
    const lines = Array.from({ length: problems }, (_, i) => JSON.stringify({ id: i, prompt: `${i}?`, answer: 7 }))
    await writeFile(this.problems, lines.join('\n'))
    const by = ['--scorer', 'head', '--scorer', 'min-logprob']
    const where = ['--prompts', this.problems, '--out', this.traces]
    const { code, err } = await this.winnow('record', ...where, '-n', '8', '--grid', '4', ...by, '--quiet')
    if (code !== 0) throw new Error(err)
  }

  readonly #open: typeof open = (async () => {
    const path = join(this.folder, 'model.gguf')
    const { engine, head } = fakeEngine(script, { facts: { path } })
    Object.assign(head?.facts ?? {}, { path })
    return engine
  }) as typeof open
}
