// The figures as Markdown.
import { drawTable } from '../../dist/cli/table.js'
import { contenders } from './contenders.mjs'
import { models } from './models.mjs'

/** The whole page; `result` as the JSON file has it. */
export function pageOf({ machine, versions, commands, cells }) {
  const names = Object.keys(contenders).filter((name) => cells.some((cell) => figureOf(cell, name) !== undefined))
  const used = Object.keys(models).filter((name) => cells.some(({ model }) => model === name))
  return [
    '# Tokens per second of useful work',
    '',
    'The JSON file of the same name has these figures and every round. Both were made by',
    '',
    ...commands.map((command) => `    ${command}`),
    '',
    `${machine.cores} cores of ${machine.cpu} (${machine.platform}); winnow ${versions.winnow}, llama.cpp ${versions.llama}, node-llama-cpp ` +
      `${versions.nodeLlamaCpp}, Node ${versions.node}.`,
    '',
    'Every contender does the same work: so many candidates to each prompt, all just as long, with end tokens forbidden. The wall time of ' +
      'a round holds the decoding of its prompts, which nobody has seen before; only tokens of candidates count. Rounds are ' +
      'interleaved. Tokens a second are medians; ratios are winnow over the contender, ratio of the medians [least, greatest of a round]. ' +
      'Where the length is "own", problems are whole and end tokens end a candidate, after 142 tokens in the mean; the bare loop, which samples ' +
      'nothing, cannot do that.',
    '',
    ...names.map((name) => `- ${name}: ${contenders[name].about}`),
    '',
    ...used.map((name) => `- model ${name}: ${models[name].about}`),
    '',
    '## Tokens per second',
    '',
    table(cells, [...columns, ...names.map((name) => [name, (cell) => rateOf(figureOf(cell, name))])]),
    '',
    '## Candidates per second',
    '',
    table(cells, [...columns, ...names.map((name) => [name, (cell) => candidateRateOf(figureOf(cell, name))])]),
    '',
    '## Winnow over each',
    '',
    table(cells, [
      ...columns,
      ...names.filter((name) => name !== 'winnow').map((name) => [name, (cell) => ratioOf(figureOf(cell, name))])
    ]),
    '',
    '## The bare loop over each',
    '',
    'What an engine could reach that samples in no time, on the same libraries.',
    '',
    table(cells, [
      ...columns,
      ...names.filter((name) => !ours.includes(name)).map((name) => [name, (cell) => possible(cell, name)])
    ])
  ].join('\n')
}

const ours = ['winnow', 'decode-loop', 'advance-loop']

const columns = [
  ['model', ({ model }) => model],
  ['threads', ({ threads }) => String(threads)],
  ['prompts', ({ prompts }) => String(prompts)],
  ['prompt tokens', ({ meanPromptTokens }) => meanPromptTokens.toFixed(0)],
  ['N', ({ n }) => String(n)],
  ['length', ({ length, ends }) => (ends ? 'own' : String(length))]
]

/** `columns`: pairs of a head and what of a cell stands below it. */
function table(cells, columns) {
  const rows = cells.map((cell) => columns.map(([, of]) => of(cell)))
  return drawTable(
    columns.map(([head]) => head),
    rows,
    'md'
  )
}

function figureOf({ figures }, name) {
  return figures.find(({ contender }) => contender === name)
}

function rateOf(figure) {
  return figure === undefined ? '-' : figure.tokensPerSecond.median.toFixed(0)
}

function candidateRateOf(figure) {
  return figure === undefined ? '-' : figure.candidatesPerSecond.median.toFixed(1)
}

function ratioOf(figure) {
  if (figure === undefined || figure.ratio === null) return '-'
  const { min, median, max } = figure.ratio
  return `${median.toFixed(2)} [${min.toFixed(2)}, ${max.toFixed(2)}]`
}

function possible(cell, name) {
  const [bare, other] = [figureOf(cell, 'decode-loop'), figureOf(cell, name)]
  if (bare === undefined || other === undefined) return '-'
  return (bare.tokensPerSecond.median / other.tokensPerSecond.median).toFixed(2)
}
