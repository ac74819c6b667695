import type { Progress } from '../options.js'
import type { EventStream } from './event-stream.js'
import { finite } from './reply.js'

/** Named events beside the text: branches starting, their scores, kills, and who leads. */
export class RaceEvents {
  readonly #events: EventStream
  #begun = false
  #leader: number | null = null

  constructor(events: EventStream) {
    this.#events = events
  }

  progress({ branches }: Progress): void {
    if (this.#begun) return
    this.#begun = true
    this.#events.send({ branches: branches.map(({ id }) => id) }, 'winnow.start')
  }

  checkpoint(progress: Progress): void {
    this.progress(progress)
    const { branches, killed, tokens } = progress
    const scores = branches
      .filter(({ status, score, id }) => score !== null && (status.state !== 'killed' || killed.includes(id)))
      .map(({ id, score, length }) => ({ branch: id, score: finite(score), tokens: length }))
    this.#events.send({ tokens, scores }, 'winnow.scores')
    if (killed.length > 0) this.#events.send({ tokens, branches: killed }, 'winnow.kills')
    const left = scores.filter(({ branch, score }) => score !== null && !killed.includes(branch))
    const leader = left.toSorted((a, b) => (b.score as number) - (a.score as number) || a.branch - b.branch)[0]
    if (leader === undefined || leader.branch === this.#leader) return
    this.#leader = leader.branch
    this.#events.send({ branch: leader.branch, score: leader.score }, 'winnow.leader')
  }
}
