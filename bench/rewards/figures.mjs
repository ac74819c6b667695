// What the parts measured -> the figures of the table.
import { resamples } from '../../dist/statistics.js'
import { choicesOf } from './choices.mjs'
import { meanOf, ratioOf } from './interval.mjs'
import { rankingOf } from './ranking.mjs'

/**
 * `entries`: of all parts, by problem. `setup`: { names, schedule, grid, alphas, seed }, the first of the names being what the
 * others are compared with. Intervals are over problems, 95%.
 */
export function figuresOf(entries, { names, schedule, grid, alphas, seed }) {
  const problems = entries.filter(({ type }) => type === 'candidates')
  if (problems.length === 0) throw new Error('Expected at least one measured problem but received none')
  const drawn = resamples(problems.length, seed)
  const choices = Object.fromEntries(
    names.map((name) => [name, problems.map((problem) => choicesOf(problem, name, schedule, grid))])
  )
  const live = liveOf(entries, seed)
  const [first] = names
  const replayed = new Map(problems.map(({ prompt }, i) => [prompt, i]))
  return {
    candidates: candidatesOf(problems, drawn),
    scorers: names.map((name) => ({
      name,
      ranking: rankingOf(problems, name, first, grid, drawn),
      ...qualityOf(choices[name], choices[first], drawn),
      cost: costOf(live, name, first, (row) => choices[name][replayed.get(row.prompt)])
    })),
    controls: {
      equalTokens: wallShareOf(live, `equal-tokens ${first}`, `best-of-n ${first}`),
      randomKill: wallShareOf(live, `random-kill ${first}`, `best-of-n ${first}`),
      agreement: controlsAgree(live, choices[first], replayed, first)
    },
    reading: alphas.map((alpha) => readingOf(entries, alpha, seed)).filter((row) => row !== null)
  }
}

function candidatesOf(problems, drawn) {
  const share = (list) => list.filter(Boolean).length / list.length
  return {
    problems: problems.length,
    each: problems[0].right.length,
    right: meanOf(
      problems.map(({ right }) => share(right)),
      drawn
    ),
    anyRight: meanOf(
      problems.map(({ right }) => right.includes(true)),
      drawn
    ),
    tokens: meanOf(
      problems.map(({ lengths }) => lengths.reduce((sum, length) => sum + length, 0)),
      drawn
    )
  }
}

function qualityOf(own, first, drawn) {
  const of = (list, kind, key) => list.map((choice) => choice[kind][key])
  const mean = (kind, key) => meanOf(of(own, kind, key), drawn)
  const tokens = (kind) => of(own, kind, 'tokens')
  const difference = (a, b) =>
    meanOf(
      a.map((right, i) => right - b[i]),
      drawn
    )
  const against = (kind) => difference(of(own, 'specReject', 'right'), of(own, kind, 'right'))
  const overFirst = (kind) => (own === first ? null : difference(of(own, kind, 'right'), of(first, kind, 'right')))
  return {
    bestOf: { accuracy: mean('bestOf', 'right'), overFirst: overFirst('bestOf') },
    specReject: {
      accuracy: mean('specReject', 'right'),
      overFirst: overFirst('specReject'),
      survival: mean('specReject', 'survived'),
      regret: mean('specReject', 'regret'),
      tokens: mean('specReject', 'tokens'),
      tokensShare: ratioOf(tokens('specReject'), tokens('bestOf'), drawn)
    },
    equalTokens: {
      n: mean('equalTokens', 'n'),
      accuracy: mean('equalTokens', 'right'),
      tokens: mean('equalTokens', 'tokens'),
      gain: against('equalTokens')
    },
    randomKill: {
      accuracy: mean('randomKill', 'right'),
      tokens: mean('randomKill', 'tokens'),
      gain: against('randomKill')
    }
  }
}

/** Live races: by arm, its rows in the order of the problems, of problems that every arm has; and resamples of these. */
function liveOf(entries, seed) {
  const races = entries.filter(({ type }) => type === 'race')
  const arms = [...new Set(races.map(({ arm }) => arm))]
  const prompts = [...new Set(races.map(({ prompt }) => prompt))]
  const of = new Map(races.map((row) => [`${row.prompt} ${row.arm}`, row]))
  const whole = prompts.filter((prompt) => arms.every((arm) => of.has(`${prompt} ${arm}`)))
  const table = new Map(arms.map((arm) => [arm, whole.map((prompt) => of.get(`${prompt} ${arm}`))]))
  return { rowsOf: (arm) => table.get(arm) ?? [], drawn: resamples(whole.length, seed) }
}

/** Live speculative rejection; null where none was run. `choiceOf` says what the replay of a row says. */
function costOf(live, name, first, choiceOf) {
  const rows = live.rowsOf(`spec-reject ${name}`)
  if (rows.length === 0) return null
  const column = (key) => rows.map((row) => row[key])
  const mean = (key) => meanOf(column(key), live.drawn)
  const agrees = (row) => {
    const { specReject, killedAt } = choiceOf(row)
    return specReject.winner === row.winner && killedAt.every((at, id) => at === row.killedAt[id])
  }
  return {
    problems: rows.length,
    wallSeconds: mean('wallSeconds'),
    wallShare: wallShareOf(live, `spec-reject ${name}`, `best-of-n ${first}`),
    wallShareOfOwn: wallShareOf(live, `spec-reject ${name}`, `best-of-n ${name}`),
    scoreSeconds: mean('scoreSeconds'),
    scoreShare: ratioOf(column('scoreSeconds'), column('wallSeconds'), live.drawn),
    generatedTokens: mean('generatedTokens'),
    rewardTokens: mean('rewardTokens'),
    agreement: rows.filter(agrees).length / rows.length
  }
}

/** The ratio of two arms' time; null where one was not run. */
function wallShareOf({ rowsOf, drawn }, arm, other) {
  const [above, below] = [arm, other].map((name) => rowsOf(name).map(({ wallSeconds }) => wallSeconds))
  return above.length === 0 || below.length === 0 ? null : ratioOf(above, below, drawn)
}

/** Share of the live controls that returned what the replay of them says. */
function controlsAgree({ rowsOf }, choices, replayed, first) {
  const kinds = { 'equal-tokens': 'equalTokens', 'random-kill': 'randomKill' }
  const found = Object.entries(kinds).flatMap(([arm, kind]) =>
    rowsOf(`${arm} ${first}`).map((row) => choices[replayed.get(row.prompt)][kind].winner === row.winner)
  )
  return found.length === 0 ? null : found.filter(Boolean).length / found.length
}

/** The same races with a mirror and with everything read again at each checkpoint; null where there is no pair. */
function readingOf(entries, alpha, seed) {
  const of = (kind) =>
    new Map(
      entries
        .filter((entry) => entry.type === 'reading' && entry.alpha === alpha && entry.kind === kind)
        .map((row) => [row.prompt, row])
    )
  const [mirror, again] = [of('mirror'), of('reencode')]
  const pairs = [...mirror].flatMap(([prompt, row]) => (again.has(prompt) ? [[row, again.get(prompt)]] : []))
  if (pairs.length === 0) return null
  const drawn = resamples(pairs.length, seed)
  const list = (side, key) => pairs.map((pair) => pair[side][key])
  const ratio = (key) => ratioOf(list(1, key), list(0, key), drawn)
  const sameAnswer = pairs.filter(([a, b]) => a.winner === b.winner)
  const sameRace = sameAnswer.filter(([a, b]) => a.killedAt.every((at, id) => at === b.killedAt[id]))
  return {
    alpha,
    problems: pairs.length,
    generatedTokens: meanOf(list(0, 'generatedTokens'), drawn),
    mirrorTokens: meanOf(list(0, 'rewardTokens'), drawn),
    reencodeTokens: meanOf(list(1, 'rewardTokens'), drawn),
    tokens: ratio('rewardTokens'),
    scoreSeconds: ratio('scoreSeconds'),
    wallSeconds: ratio('wallSeconds'),
    sameAnswer: sameAnswer.length / pairs.length,
    sameRace: sameRace.length / pairs.length
  }
}
