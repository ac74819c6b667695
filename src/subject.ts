import type { Settings, Timing } from './timing.js'

/** The race that settings are measured for. */
export interface Shape {
  /** Candidates. */
  readonly n: number
  readonly promptTokens: number
  /** That a candidate writes. */
  readonly tokens: number
}

/** The time that is compared, seconds. */
export type Cost = (timing: Timing) => number

/** One setting: what is tried in place of what is in force, and by which time that is judged. */
export interface Subject {
  readonly setting: keyof Settings
  /** Whether it always counts as moving log-probabilities. */
  readonly numeric: boolean
  values(inForce: Settings, promptTokens: number, cores: number): readonly Settings[keyof Settings][]
  cost(shape: Shape): Cost
}

const ofRace = ({ tokens }: Shape): Cost => {
  return ({ promptSeconds, stepSeconds }) => promptSeconds + tokens * stepSeconds
}

/** In the order in which they are searched: what matters most has the time first. */
export const subjects: readonly Subject[] = [
  {
    setting: 'threads',
    numeric: false,
    // From the most down: who is far too slow comes last.
    values({ threads }, _, cores) {
      const doubled = Array.from({ length: Math.floor(Math.log2(cores)) + 1 }, (_, i) => 2 ** i)
      const counts = new Set([...doubled, cores, Math.max(1, cores - 1)])
      return [...counts].filter((count) => count !== threads).sort((a, b) => b - a)
    },
    cost: ofRace
  },
  {
    setting: 'batch',
    numeric: false,
    // The prompt's last token is decoded alone; batches that hold all others are one and the same.
    values({ batch }, promptTokens) {
      const rows = Math.max(1, promptTokens - 1)
      const sizes = [64, 128, 256, 512, 1024, 2048]
      return sizes.filter((size, i) => {
        const same = Math.min(size, rows) === Math.min(batch, rows)
        return !same && (i === 0 || (sizes[i - 1] as number) < rows)
      })
    },
    cost:
      () =>
      ({ promptSeconds }) =>
        promptSeconds
  },
  {
    setting: 'flashAttention',
    numeric: true,
    // "auto" is on wherever llama.cpp can do it.
    values: ({ flashAttention }) => (flashAttention === 'off' ? ['auto'] : ['off']),
    cost: ofRace
  },
  {
    setting: 'kvType',
    numeric: true,
    // Quantised cells need flash attention; with it, cells of 32 bits are rounded to 16 at every step, for nothing. Four
    // bits lose more than a choice by speed should.
    values({ kvType, flashAttention }) {
      const types = flashAttention === 'off' ? (['f16', 'f32'] as const) : (['f16', 'q8_0'] as const)
      return types.filter((type) => type !== kvType)
    },
    cost: ofRace
  },
  {
    setting: 'drawing',
    // The graph's sums round otherwise.
    numeric: true,
    values: ({ drawing }) => (drawing === 'graph' ? ['host'] : ['graph']),
    cost: ofRace
  }
]
