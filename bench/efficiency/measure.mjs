// One cell: its contenders take turns, in the reverse order every other time, so that a drift of the machine's speed favours
// nobody.
import { targetOf } from './cells.mjs'
import { Contender } from './contender.mjs'
import { commandOf, contenders } from './contenders.mjs'
import { figuresOf } from './figures.mjs'
import { models } from './models.mjs'
import { promptsOf } from './prompts.mjs'

/** Seconds of a round after which a contender is not asked again. */
const long = 20

/** `names`: who takes part where a cell does not leave them out. `cell`: as `placed` has it. */
export async function measureCell(cell, names) {
  const taking = names.filter((name) => !cell.without.includes(name) && (contenders[name].only?.(cell) ?? true))
  const running = new Map()
  const rounds = Object.fromEntries(taking.map((name) => [name, []]))
  try {
    for (const name of taking) {
      const contender = await Contender.start(commandOf(name, cell))
      running.set(name, contender)
      // Buffers are made and caches are warm after this.
      const first = promptsOf(models[cell.model], { tokens: 16, count: cell.prompts, round: cell.most })
      await contender.round(2, first)
    }
    const share = cell.seconds / taking.length
    for (let round = 0; round < cell.most; round += 1) {
      const text = { tokens: targetOf(cell), count: cell.prompts, round, whole: cell.ends }
      const prompts = promptsOf(models[cell.model], text)
      const again = (taken) => (round < cell.least ? last(taken) < long : secondsOf(taken) + last(taken) < share)
      const order = taking.filter((name) => rounds[name].length === round && again(rounds[name]))
      for (const name of round % 2 === 0 ? order : order.toReversed()) {
        const taken = await running.get(name).round(cell.length, prompts)
        checkWork(name, cell, taken)
        rounds[name].push(taken)
      }
    }
  } finally {
    await Promise.all([...running.values()].map((contender) => contender.end()))
  }
  return resultOf(cell, rounds)
}

function secondsOf(taken) {
  return taken.reduce((sum, { seconds }) => sum + seconds, 0)
}

function last(taken) {
  return taken.at(-1)?.seconds ?? 0
}

/** Everybody does the same work, or the comparison is none. */
function checkWork(name, { prompts, n, length, ends }, { tokens }) {
  const most = prompts * n * length
  if (ends ? tokens > 0 && tokens <= most : tokens === most) return
  throw new Error(`Expected ${ends ? 'up to ' : ''}${most} tokens of ${name} but received ${tokens}`)
}

function resultOf({ id, model, threads, prompts, promptTokens: asked, n, length, ends, without }, rounds) {
  const lists = Object.values(rounds).flat()
  const promptTokens = lists.reduce((sum, taken) => sum + taken.promptTokens, 0) / lists.length / prompts
  return {
    ...{ id, model, threads, prompts, promptTokens: asked, meanPromptTokens: promptTokens, n, length, ends, without },
    figures: figuresOf(rounds, 'winnow', prompts * n),
    rounds
  }
}
