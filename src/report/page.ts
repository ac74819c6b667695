import { calibrationSection } from './calibration-section.js'
import { costSection } from './cost-section.js'
import { memorySection } from './memory-section.js'
import { qualitySection } from './quality-section.js'
import { ribbonSection } from './ribbon-section.js'
import type { Section } from './section.js'
import { referenceIn, type Study } from './study.js'
import { survivalSection } from './survival-section.js'
import { trajectorySection } from './trajectory-section.js'
import { type Verdict, verdictsOf } from './verdict.js'
import { decimal, percent, within } from './wording.js'

/** What both forms of a report say of one study. */
export interface Chapter {
  readonly title: string
  /** The first is the chapter's headline. */
  readonly verdicts: readonly Verdict[]
  readonly columns: readonly string[]
  readonly rows: readonly (readonly string[])[]
  readonly sections: readonly Section[]
  /** Of charts for which these results have no figures. */
  readonly missing: readonly string[]
  readonly facts: Study['facts']
}

/** `place`: of the study in the report, from 0. */
export function chapterOf(study: Study, place: number): Chapter {
  const id = (name: string) => `s${place}-${name}`
  const wanted: readonly (readonly [string, Section | null])[] = [
    ['quality against tokens', qualitySection(study, id('tokens'), 'tokens')],
    ['quality against wall time', qualitySection(study, id('time'), 'time')],
    ['where tokens went', ribbonSection(study, id('ribbon'))],
    ['survival by round', survivalSection(study, id('survival'))],
    ['scores of one prompt', trajectorySection(study, id('scores'))],
    ['what a score means', calibrationSection(study, id('calibration'))],
    ['memory over time', memorySection(study, id('memory'))],
    ['where time went', costSection(study, id('cost'))]
  ]
  return {
    title: titleOf(study),
    verdicts: verdictsOf(study),
    ...tableOf(study),
    sections: wanted.flatMap(([, section]) => section ?? []),
    missing: wanted.flatMap(([name, section]) => (section === null ? [name] : [])),
    facts: study.facts
  }
}

function titleOf(study: Study): string {
  const { arms, what, files } = study
  const prompts = `${arms[0]?.prompts ?? 0} ${arms[0]?.prompts === 1 ? 'prompt' : 'prompts'}`
  const n = referenceIn(study)?.n ?? Math.max(...arms.map((arm) => arm.n))
  const how = what === 'bench' ? 'measured' : 'replayed'
  return `${decimal(n, 0)} candidates, ${prompts}, ${how}: ${files.join(', ')}`
}

function tableOf({ arms }: Study): Pick<Chapter, 'columns' | 'rows'> {
  const columns = ['policy', 'N', 'right', 'tokens', 'seconds', 'peak cells', 'survival', 'regret']
  const rows = arms.map((arm) => [
    arm.policy,
    String(Number(arm.n.toFixed(1))),
    within(arm.accuracy, percent),
    within(arm.generatedTokens, (value) => decimal(value, 0)),
    within(arm.wallSeconds, (value) => decimal(value, 2)),
    decimal(arm.peakCells, 0),
    within(arm.survival, percent),
    within(arm.regret, percent)
  ])
  return { columns, rows }
}
