// Appends results to a journal, several at a time, and says which are acknowledged, until it is killed.
// Arguments: the compiled journal.js, the journal, how many results there are.
import { writeSync } from 'node:fs'

const [script, path, count] = process.argv.slice(2)
const { Journal, contentKey } = await import(script)
const journal = await Journal.open(path, { seed: 1 })
writeSync(1, 'open\n')

const append = async (i) => {
  const key = contentKey(i)
  if (journal.has(key)) return
  // From a few bytes to several pages.
  await journal.append(key, { i, text: 'é'.repeat((i * 7919) % 9000) })
  writeSync(1, `ack ${i}\n`)
}
for (let i = 0; i < Number(count); i += 4) await Promise.all([0, 1, 2, 3].map((j) => append(i + j)))
// Done early: its journal stays open until it is killed.
setInterval(() => {}, 1000)
