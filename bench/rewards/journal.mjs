// What a part has measured, one JSON object a line behind a first line that says under what conditions. Everything up to an
// interruption is taken up again; a last line that a crash cut off is dropped. Each command that measures stands there once.
import { appendFileSync, existsSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'

export class Journal {
  #path
  /** By what they measure. */
  #entries = new Map()

  /**
   * `command` is what measures from here on. Throws where the file was written under other conditions, or a line before the
   * last cannot be read.
   */
  constructor(path, conditions, command) {
    this.#path = path
    const header = `${JSON.stringify({ type: 'conditions', ...conditions })}\n`
    mkdirSync(dirname(path), { recursive: true })
    const bytes = existsSync(path) ? readFileSync(path) : Buffer.of()
    const whole = bytes.subarray(0, bytes.lastIndexOf('\n') + 1)
    if (whole.length === 0) {
      writeFileSync(path, header)
      this.#write({ type: 'command', command })
      return
    }
    const { conditions: before, commands, entries } = entriesOf(whole.toString(), path)
    const others = differing(before, conditions)
    if (others.length > 0) {
      const received = `one that differs in ${others.join(', ')}`
      throw new Error(`Expected a journal of the same files and options for ${path} but received ${received}`)
    }
    if (whole.length < bytes.length) truncateSync(path, whole.length)
    for (const entry of entries) this.#keep(entry)
    if (!commands.includes(command)) this.#write({ type: 'command', command })
  }

  get entries() {
    return [...this.#entries.values()]
  }

  has(entry) {
    return this.#entries.has(keyOf(entry))
  }

  find(entry) {
    return this.#entries.get(keyOf(entry))
  }

  append(entry) {
    this.#write(entry)
    this.#keep(entry)
  }

  #write(line) {
    appendFileSync(this.#path, `${JSON.stringify(line)}\n`)
  }

  #keep(entry) {
    this.#entries.set(keyOf(entry), entry)
  }
}

/** A journal's text -> { conditions, commands, entries }; what follows the last line break is left out. */
export function entriesOf(text, path) {
  const lines = text.split('\n').slice(0, -1)
  const [first, ...others] = lines.map((line, i) => entryOf(line, `line ${i + 1} of ${path}`))
  const { type, ...conditions } = first ?? {}
  if (type !== 'conditions') throw new Error(`Expected a journal for ${path} but received another file`)
  return {
    conditions,
    commands: others.filter((line) => line.type === 'command').map(({ command }) => command),
    entries: others.filter((line) => line.type !== 'command')
  }
}

/** The entries of all parts, in the order of the problems, whoever measured them; each once. */
export function merge(journals) {
  const found = new Map(journals.flatMap(({ entries }) => entries.map((entry) => [keyOf(entry), entry])))
  return [...found.values()].sort((a, b) => a.prompt - b.prompt)
}

/** What makes an entry the same measurement as another. */
function keyOf({ type, prompt, arm = '' }) {
  return `${type} ${prompt} ${arm}`
}

function entryOf(line, where) {
  try {
    return JSON.parse(line)
  } catch {
    throw new Error(`Expected an entry of a journal for ${where} but received ${line.slice(0, 80)}`)
  }
}

function differing(before, now) {
  const keys = [...new Set([...Object.keys(before), ...Object.keys(now)])]
  return keys.filter((key) => JSON.stringify(before[key]) !== JSON.stringify(now[key]))
}
