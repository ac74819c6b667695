import { readdir, readFile } from 'node:fs/promises'
import { describe, expect, it, vi } from 'vitest'

const folder = new URL('../examples/', import.meta.url)
const names = await readdir(folder)

describe.each(names)('examples/%s', (name) => {
  it('is shorter than 30 lines', async () => {
    const text = await readFile(new URL(name, folder), 'utf8')
    expect(text.trimEnd().split('\n').length).toBeLessThan(30)
  })

  it('runs and prints a solution', async () => {
    const log = vi.spyOn(console, 'log').mockImplementation(() => {})
    try {
      await import(new URL(name, folder).pathname)
      const printed = log.mock.calls.map((call) => call.join(' ')).join('\n')
      expect(printed).toContain('The answer is')
    } finally {
      log.mockRestore()
    }
  })
})
