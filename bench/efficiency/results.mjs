// The results file, which is the journal too: written after every cell, and gone on with where it was left.
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'

export class Results {
  #path
  #result

  /** Throws where the file is of another machine, other versions or another build. */
  constructor(path, conditions, command) {
    this.#path = path
    this.#result = { schemaVersion: 2, ...conditions, commands: [], cells: [] }
    if (existsSync(path)) {
      const before = JSON.parse(readFileSync(path, 'utf8'))
      const others = Object.keys(conditions).filter(
        (key) => JSON.stringify(before[key]) !== JSON.stringify(conditions[key])
      )
      if (others.length > 0) {
        const received = `one that differs in ${others.join(', ')}; move it away to begin anew`
        throw new Error(`Expected a results file of the same conditions for ${path} but received ${received}`)
      }
      this.#result = before
    }
    if (!this.#result.commands.includes(command)) this.#result.commands.push(command)
  }

  get value() {
    return this.#result
  }

  has(id) {
    return this.#result.cells.some((cell) => cell.id === id)
  }

  /** Whole or not at all: a file that was cut off would lose what was measured before. */
  add(cell) {
    this.#result.cells.push(cell)
    mkdirSync(dirname(this.#path), { recursive: true })
    writeFileSync(`${this.#path}.part`, `${JSON.stringify(this.#result, null, 1)}\n`)
    renameSync(`${this.#path}.part`, this.#path)
  }
}
