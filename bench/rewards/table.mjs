// The figures as Markdown.
import { drawTable } from '../../dist/cli/table.js'
import { quarters } from './ranking.mjs'

const labels = {
  head: 'head on its own state',
  'distilled-head': 'teacher-distilled head',
  'reward-model': 'separate reward model'
}

/** The whole page; `result` as the JSON file has it. */
export function pageOf(result) {
  const { figures, options } = result
  const { candidates, scorers, reading } = figures
  const { problems, each } = candidates
  return [
    '# Scorers on the embedded task',
    '',
    ...originOf(result),
    `${machineOf(result)}`,
    '',
    `${problems} held-out problems, ${each} candidates each, the same for every scorer; ${withInterval(candidates.right, percent)} of them are right, ` +
      `and ${withInterval(candidates.anyRight, percent)} of the problems have a right one. Intervals are 95% bootstrap intervals over problems, paired where ` +
      'they are of differences and ratios. What is right is what the verifier says; no scorer sees it.',
    '',
    '## Ranking quality',
    '',
    "AUROC of right against wrong candidates within problems, where a share of the answer's tokens is written:",
    '',
    table(scorers, [scorerColumn, ...quarterColumns(({ ranking }) => ranking.within, thousandths)]),
    '',
    "By how much that exceeds the head's, on the same candidates:",
    '',
    table(
      scorers.filter(({ ranking }) => ranking.overFirst !== null),
      [scorerColumn, ...quarterColumns(({ ranking }) => ranking.overFirst, signed)]
    ),
    '',
    `Pooled over the candidates of all problems; and how often the highest-scored of all ${each} is right:`,
    '',
    pooledTable(scorers, each),
    '',
    '## Speculative rejection',
    '',
    `alpha ${options.alpha}, checkpoints ${options.checkpoints}. Survival (the answer is best-of-${each}'s) and regret are against best-of-${each} by the ` +
      `same scorer, tokens are the share of best-of-${each}'s generated ones.`,
    '',
    rejectionTable(scorers),
    '',
    '## Against what else costs as much',
    '',
    'Best-of-N of the first candidates that take at least as many tokens, and as many kills by lot at the same checkpoints; in both the same ' +
      'scorer makes the final choice. Gains are points of verified accuracy of speculative rejection over each.',
    '',
    controlsTable(scorers),
    ...costSection(figures, each),
    ...readingSection(reading, options)
  ].join('\n')
}

/** What measured, which may have been several commands one after another, and what made the files of it. */
function originOf({ command, commands }) {
  const typed = (list) => ['', ...list.map((line) => `    ${line}`), '']
  const also = 'The JSON file of the same name has these figures and more.'
  if (commands.length === 1 && commands[0] === command) return [`${also} Both were made by`, ...typed(commands)]
  return [
    `${also} What they rest on was measured by`,
    ...typed(commands),
    'and both files were made of it by',
    ...typed([command])
  ]
}

function machineOf({ versions, hardware, options }) {
  const { cpu, cores, platform } = hardware
  const { threads, workers } = options
  const processes = workers === 1 ? 'one process' : `each of ${workers} processes at a time`
  return (
    `${cores} cores of ${cpu} (${platform}), ${threads} thread${threads === 1 ? '' : 's'} in ${processes}; winnow ${versions.winnow}, ` +
    `llama.cpp ${versions.llama}, Node ${versions.node}.`
  )
}

/** `columns`: pairs of a head and what of a row stands below it. */
function table(rows, columns) {
  const cells = rows.map((row) => columns.map(([, of]) => of(row)))
  return drawTable(
    columns.map(([head]) => head),
    cells,
    'md'
  )
}

/** Below a head: a figure with its interval. */
function figure(of, text) {
  return (row) => withInterval(of(row), text)
}

const scorerColumn = ['scorer', ({ name }) => labels[name] ?? name]

function quarterColumns(of, text) {
  return quarters.map((share) => [`${share}%`, figure((scorer) => of(scorer)[share], text)])
}

function pooledTable(scorers, each) {
  return table(scorers, [
    scorerColumn,
    ...quarterColumns(({ ranking }) => ranking.pooled, thousandths),
    [`best-of-${each} right`, figure(({ bestOf }) => bestOf.accuracy, percent)],
    ["over the head's, points", figure(({ bestOf }) => bestOf.overFirst, points)]
  ])
}

function rejectionTable(scorers) {
  return table(scorers, [
    scorerColumn,
    ['right', figure(({ specReject }) => specReject.accuracy, percent)],
    ["over the head's, points", figure(({ specReject }) => specReject.overFirst, points)],
    ['survival', figure(({ specReject }) => specReject.survival, percent)],
    ['regret', figure(({ specReject }) => specReject.regret, percent)],
    ['tokens', figure(({ specReject }) => specReject.tokensShare, percent)]
  ])
}

function controlsTable(scorers) {
  return table(scorers, [
    scorerColumn,
    ['candidates', ({ equalTokens }) => equalTokens.n.mean.toFixed(1)],
    ['right with as many tokens', figure(({ equalTokens }) => equalTokens.accuracy, percent)],
    ['gain over it', figure(({ equalTokens }) => equalTokens.gain, points)],
    ['right by lot', figure(({ randomKill }) => randomKill.accuracy, percent)],
    ['gain over lots', figure(({ randomKill }) => randomKill.gain, points)]
  ])
}

function costSection({ scorers, controls }, each) {
  const live = scorers.filter(({ cost }) => cost !== null)
  if (live.length === 0) return []
  return [
    '',
    '## Cost',
    '',
    `Live races on the first ${live[0].cost.problems} problems, taking turns on each. Accuracy above is read off recorded candidates, on which every ` +
      'policy is decided again (what a candidate writes does not depend on who else is alive); "as replayed" is the share of the live ' +
      'races that killed the same candidates at the same places and returned the same one. A log-probability scorer ranks finished ' +
      `candidates for next to nothing, so its own best-of-${each} was not run. With the head, the control of fewer candidates took ` +
      `${withInterval(controls.equalTokens, percent)} and kills by lot ${withInterval(controls.randomKill, percent)} of best-of-${each}'s wall time; ` +
      `${percent(controls.agreement)} of these live races returned what the replay says.`,
    '',
    table(live, [
      scorerColumn,
      [`wall, of best-of-${each} by the head`, figure(({ cost }) => cost.wallShare, percent)],
      [`wall, of best-of-${each} by itself`, figure(({ cost }) => cost.wallShareOfOwn, percent)],
      ['seconds a race', figure(({ cost }) => cost.wallSeconds, hundredths)],
      ['scoring, seconds a race', figure(({ cost }) => cost.scoreSeconds, thousandths)],
      ['scoring, of the wall', figure(({ cost }) => cost.scoreShare, percent)],
      ['reward tokens a race', figure(({ cost }) => cost.rewardTokens, whole)],
      ['as replayed', ({ cost }) => percent(cost.agreement)]
    ])
  ]
}

function readingSection(reading, { checkpoints }) {
  if (reading.length === 0) return []
  return [
    '',
    '## Reading each token once',
    '',
    `Speculative rejection by the reward model at checkpoints ${checkpoints}: reward-model tokens of a race (prompt, answers and closing tokens, in its ` +
      'own vocabulary) where each is read once, against reading every whole text again at each checkpoint; ratios are the second over the ' +
      'first. "Same race": the same answer, and the same candidates killed at the same places; with weights in half precision a score depends ' +
      'a little on what is read beside it, and candidates that are nearly level may change places.',
    '',
    table(reading, [
      ['alpha', ({ alpha }) => String(alpha)],
      ['problems', ({ problems }) => String(problems)],
      ['generated tokens', figure((row) => row.generatedTokens, whole)],
      ['reward tokens, each read once', figure((row) => row.mirrorTokens, whole)],
      ['read again each time', figure((row) => row.reencodeTokens, whole)],
      ['tokens, ratio', figure((row) => row.tokens, times)],
      ['scoring time, ratio', figure((row) => row.scoreSeconds, times)],
      ['race, ratio', figure((row) => row.wallSeconds, times)],
      ['same answer', ({ sameAnswer }) => percent(sameAnswer)],
      ['same race', ({ sameRace }) => percent(sameRace)]
    ])
  ]
}

function withInterval(found, text) {
  return found === null ? '-' : `${text(found.mean)} [${text(found.low)}, ${text(found.high)}]`
}

const percent = (share) => (share === null ? '-' : `${(100 * share).toFixed(1)}%`)
const points = (share) => `${share >= 0 ? '+' : ''}${(100 * share).toFixed(1)}`
const signed = (value) => `${value >= 0 ? '+' : ''}${value.toFixed(3)}`
const thousandths = (value) => value.toFixed(3)
const hundredths = (value) => value.toFixed(2)
const whole = (value) => value.toFixed(0)
const times = (value) => `${value.toFixed(2)}x`
