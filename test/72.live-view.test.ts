import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Branch } from '../src/branch.js'
import { LiveView } from '../src/cli/live-view.js'
import { ProgressLine } from '../src/cli/progress-line.js'
import { isWatched, wantsColor } from '../src/cli/terminal.js'
import type { Progress } from '../src/options.js'
import { fakeTerminal } from './fakes/terminal.js'

beforeEach(() => void vi.useFakeTimers({ toFake: ['performance'] }))
afterEach(() => void vi.useRealTimers())

/** Four branches, of which the first ones are killed. */
const progress = (tokens: number, dead: number, killed: readonly number[] = []): Progress => {
  const status = (id: number): Branch['status'] => (id < dead ? { state: 'killed', at: 1, why: '' } : { state: 'live' })
  const branches = [0, 1, 2, 3].map((id) => ({ id, status: status(id), score: id, length: tokens, tokens: [] }))
  return { index: 1, tokens, seconds: 0, branches: branches as unknown as Branch[], killed }
}

const view = (env: Record<string, string> = {}) => {
  const terminal = fakeTerminal({ tty: true, env: { NO_COLOR: '1', ...env } })
  return { terminal, view: new LiveView(terminal, 'title', async () => '') }
}
const depths = (text: string) => [...text.matchAll(/(\d+) tokens deep/g)].map(([, depth]) => Number(depth))

describe('the live view', () => {
  it('draws ten frames a second at most, however many checkpoints come, and the last state at the end', () => {
    const { terminal, view: live } = view()
    for (let tokens = 1; tokens <= 100; tokens++) {
      live.onCheckpoint(progress(tokens, 0))
      live.onProgress(progress(tokens, 0))
      vi.advanceTimersByTime(7)
    }
    // 99 steps of 7 ms; a frame at each first one that is 100 ms after the frame before.
    expect(depths(terminal.err())).toEqual([1, 16, 31, 46, 61, 76, 91])
    live.end()
    live.end()
    expect(depths(terminal.err()).at(-1)).toBe(100)
    expect(depths(terminal.err())).toHaveLength(8)
  })

  it('is no taller than the terminal, and says of how many it has no cell', () => {
    const many = { ...progress(1, 0), branches: Array(1000).fill(progress(1, 0).branches[0]) as Branch[] }
    const terminal = fakeTerminal({ tty: true, rows: 10, env: { NO_COLOR: '1' } })
    new LiveView(terminal, 'title', async () => '').onCheckpoint(many)
    const lines = terminal.err().trimEnd().split('\n')
    expect(lines).toHaveLength(8)
    // Six rows of 64.
    expect(terminal.err()).toContain(`${1000 - 6 * 64} not shown`)
  })

  it('draws nothing at the end that was drawn before', () => {
    const { terminal, view: live } = view()
    live.onCheckpoint(progress(1, 0))
    live.end()
    expect(depths(terminal.err())).toEqual([1])
  })

  it('crosses everybody killed since the frame before, once', () => {
    const { terminal, view: live } = view()
    const rows = () => terminal.err().match(/^ [×·▁▂▃▄▅▆▇█]+$/gm) ?? []
    live.onCheckpoint(progress(1, 1, [0]))
    live.onCheckpoint(progress(2, 2, [1]))
    live.onCheckpoint(progress(3, 3, [2]))
    vi.advanceTimersByTime(100)
    live.onProgress(progress(4, 3))
    expect(rows()).toEqual([' ×▁▅█', ' ·××█'])
    vi.advanceTimersByTime(100)
    live.onCheckpoint(progress(5, 3))
    expect(rows().at(-1)).toBe(' ···█')
  })

  it('is a line every half minute on a build server, whatever its terminal', () => {
    const { terminal, view: live } = view({ CI: 'true' })
    for (let tokens = 1; tokens <= 70; tokens++) {
      live.onCheckpoint(progress(tokens, 0))
      live.onProgress(progress(tokens, 0))
      vi.advanceTimersByTime(1000)
    }
    live.end()
    expect(terminal.err()).toBe(
      [1, 31, 61].map((tokens) => `${tokens} tokens deep: 4 of 4 live, 0 killed now\n`).join('')
    )
  })
})

describe('the progress line', () => {
  it('is drawn over itself where a person watches, and said once a half minute on a build server', () => {
    const [person, server] = [fakeTerminal({ tty: true }), fakeTerminal({ tty: true, env: { CI: '1' } })]
    for (const terminal of [person, server]) {
      const line = new ProgressLine(terminal)
      line.say('a')
      vi.advanceTimersByTime(100)
      line.say('b')
      line.end()
    }
    expect(person.err()).toBe('\r\u001b[Ka\r\u001b[Kb\r\u001b[K')
    expect(server.err()).toBe('a\n')
  })
})

describe('a terminal', () => {
  it.each([
    [true, {}, true],
    [false, {}, false],
    [true, { CI: 'true' }, false],
    [true, { CI: '1' }, false],
    [true, { CI: '' }, true],
    [true, { CI: 'false' }, true],
    [true, { CI: '0' }, true]
  ])('is watched: terminal %s, environment %j, %s', (tty, env, watched) => {
    expect(isWatched(fakeTerminal({ tty, env }))).toBe(watched)
  })

  it.each([
    [true, {}, true],
    [false, {}, false],
    [true, { CI: 'true' }, false],
    [true, { NO_COLOR: '1' }, false],
    [true, { NO_COLOR: '' }, true],
    [false, { FORCE_COLOR: '1', NO_COLOR: '1', CI: 'true' }, true],
    [false, { FORCE_COLOR: '0' }, false]
  ])('is coloured: terminal %s, environment %j, %s', (tty, env, colored) => {
    expect(wantsColor(fakeTerminal({ tty, env }))).toBe(colored)
  })
})
