import { describe, expect, it } from 'vitest'
import { withThreads } from '../src/cli/threads.js'
import { fakeTerminal } from './fakes/terminal.js'

describe('threads on the command line', () => {
  it.each([
    [0, 4],
    [1, 1],
    [4, 4]
  ])('%i on 4 cores are %i, without a word', (threads, computing) => {
    const terminal = fakeTerminal()
    expect(withThreads({ gpu: 'cpu', threads }, terminal, false, 4)).toEqual({ gpu: 'cpu', threads: computing })
    expect(terminal.err()).toBe('')
  })

  it('are cut down to the cores with one note, which --quiet leaves out', () => {
    const [terminal, quiet] = [fakeTerminal(), fakeTerminal()]
    expect(withThreads({ threads: 512 }, terminal, false, 4).threads).toBe(4)
    expect(terminal.err()).toBe('Using 4 of the 512 threads asked for: one a core.\n')
    expect(withThreads({ threads: 512 }, quiet, true, 4).threads).toBe(4)
    expect(quiet.err()).toBe('')
  })
})
