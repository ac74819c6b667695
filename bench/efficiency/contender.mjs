// A program that takes part: started once, then asked for one round after another (bench/baselines/workload.h has the
// protocol), so that several can take turns without each loading its model again.
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

export class Contender {
  #process
  #lines
  #ended
  #complaint = ''

  /** Resolves when it has loaded its model. `command` is the program, then its arguments. */
  static async start([program, ...args]) {
    const contender = new Contender(spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] }))
    await contender.#answer()
    return contender
  }

  constructor(child) {
    this.#process = child
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
    this.#ended = new Promise((resolve) => {
      child.once('close', (code, signal) => resolve(code ?? signal))
      child.once('error', (error) => resolve(error.message))
    })
    child.stderr.on('data', (text) => {
      this.#complaint = `${this.#complaint}${text}`.slice(-2000)
    })
    // What it has to say about a pipe that broke is in how it ended.
    child.stdin.on('error', () => {})
  }

  /** { tokens, promptTokens, seconds } of one round. */
  async round(length, prompts) {
    this.#process.stdin.write(`${[length, ...prompts, ''].join('\n')}\n`)
    return this.#answer()
  }

  async end() {
    this.#process.stdin.end()
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), 20_000)
    await this.#ended
    clearTimeout(timer)
  }

  async #answer() {
    const { value, done } = await this.#lines.next()
    if (!done) return JSON.parse(value)
    throw new Error(
      `Expected a line of JSON from ${this.#process.spawnfile} but it ended: ${await this.#ended}\n${this.#complaint}`
    )
  }
}
