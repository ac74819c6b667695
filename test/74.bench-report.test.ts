import { expect, it } from 'vitest'
import { parseArms } from '../src/arm.js'
import { at } from '../src/checkpoint.js'
import { type BenchStyle, benchReport } from '../src/cli/bench-report.js'
import { summarise } from '../src/summary.js'

const arms = parseArms(['best-of-n', 'spec-reject'], { alpha: 0.5, checkpoints: at([4]) })
const nothing = summarise([], arms, 1)

it.each(['text', 'md', 'csv', 'jsonl'] as BenchStyle[])(
  'a bench that measured nothing has no numbers in %s',
  (style) => {
    const report = benchReport(nothing, style)
    expect(report).not.toContain('NaN')
    expect(report.split('\n').filter((line) => line.includes('spec-reject'))).toHaveLength(1)
  }
)
