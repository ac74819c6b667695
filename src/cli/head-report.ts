import type { Quarters } from '../heads/report.js'
import type { Survival } from '../heads/survival.js'
import type { TrainedHead } from '../heads/train-head.js'
import type { Interval } from '../statistics.js'
import { drawTable } from './table.js'

const quarters = ['25%', '50%', '75%', '100%']

/** What `winnow head train` says to people. Everything in it, and more, is in the JSON. */
export function textOf({ path, rows, prompts, epoch, report }: TrainedHead): string {
  const { measure, scores, stateGain, stateHelpsAt, length, calibration, survival } = report
  const helps = stateHelpsAt.map((quarter) => quarters[quarter - 1]).join(', ')
  const gain = stateGain.map(range).join(', ')
  return [
    `${path}: ${rows} looks at the answers to ${prompts.train} prompts, epoch ${epoch.best} of ${epoch.run}`,
    `measured on ${prompts.test} other prompts:`,
    '',
    drawTable([`${measure.within} within prompts`, ...quarters], scores.map(rowOf('within')), 'text'),
    '',
    drawTable([`${measure.pooled} pooled`, ...quarters], scores.slice(0, 3).map(rowOf('pooled')), 'text'),
    '',
    helps === ''
      ? `The state adds nothing measurable to the confidence features (${gain}).`
      : `The state adds to the confidence features at ${helps} (${gain}).`,
    '',
    drawTable(
      ['correlation with length, within prompts', ...quarters],
      [
        ['score', ...length.score.map(range)],
        ['logit, before it was made the score', ...length.logit.map(range)],
        ['label', ...length.label.map(range)]
      ],
      'text'
    ),
    ...(calibration === null ? [] : ['', ...calibrationOf(calibration)]),
    ...(survival === null ? [] : ['', ...survivalLines(survival)]),
    ''
  ].join('\n')
}

function calibrationOf(calibration: NonNullable<TrainedHead['report']['calibration']>): string[] {
  const bins = calibration[0]?.bins ?? []
  const rows = bins.map(({ from, to }, bin) => [
    `${from.toFixed(1)}-${to.toFixed(1)}`,
    ...calibration.map((quarter) => {
      const { count, predicted, observed } = quarter.bins[bin] ?? { count: 0, predicted: null, observed: null }
      return predicted === null ? '-' : `${predicted.toFixed(2)} / ${observed?.toFixed(2)} (${count})`
    })
  ])
  const errors = ['expected calibration error', ...calibration.map(({ error }) => three(error))]
  const before = ['before calibration', ...calibration.map((quarter) => three(quarter.before))]
  return [drawTable(['predicted / observed (answers)', ...quarters], [...rows, errors, before], 'text')]
}

function survivalLines({ samePick, blindPick, verified }: Survival): string[] {
  const rows = [["head's pick is the best-labelled", ...samePick.map(range)]]
  if (verified !== null) {
    const { head, teacher, rightPicks } = verified
    const whole = (value: Interval) => ['', '', '', range(value)]
    rows.push(
      ["head's AUROC against right answers, within", ...head.map(({ within }) => range(within))],
      ["labels' AUROC against right answers, within", ...whole(teacher.within)],
      ["head's pick is right", ...rightPicks.head.map(range)],
      ['best-labelled is right', ...whole(rightPicks.teacher)]
    )
  }
  const blind = [`A blind pick is the best-labelled in ${three(blindPick)} of the prompts`]
  if (verified !== null) blind.push(`, and right in ${three(verified.rightPicks.blind)}`)
  return [drawTable(['what of the labels survives', ...quarters], rows, 'text'), `${blind.join('')}.`]
}

const rowOf =
  (measure: 'within' | 'pooled') =>
  ({ score, quarters }: Quarters): string[] => [score, ...quarters.map((quarter) => range(quarter[measure]))]

const three = (value: number) => (Number.isNaN(value) ? '-' : value.toFixed(3))
const range = ({ mean, low, high }: Interval) => `${three(mean)} [${three(low)}, ${three(high)}]`
