import fc from 'fast-check'
import { expect, it } from 'vitest'
import { every } from '../src/checkpoint.js'
import { specReject } from '../src/policies/spec-reject.js'
import type { Standing, View } from '../src/policy.js'

/** A candidate of a made-up race: the round it ends in (0-based; beyond the last round: never) and a score a round. */
interface Candidate {
  readonly ends: number
  readonly scores: readonly number[]
}

interface Trajectory {
  readonly id: number
  readonly score: number
  readonly finished: boolean
}

/** Python's round(x), for x >= 0: to nearest, halves to even. Written out by cases, unlike the one under test. */
function pythonRound(x: number): number {
  const lower = Math.trunc(x)
  const upper = lower + 1
  if (x - lower < upper - x) return lower
  if (x - lower > upper - x) return upper
  return lower % 2 === 0 ? lower : upper
}

/** Python's sorted(list, key=score, reverse=True): stable, equal elements keep their order. Insertion sort. */
function pythonSortedDescending(list: readonly Trajectory[]): Trajectory[] {
  const sorted: Trajectory[] = []
  for (const item of list) {
    let place = sorted.length
    while (place > 0 && (sorted[place - 1] as Trajectory).score < item.score) place--
    sorted.splice(place, 0, item)
  }
  return sorted
}

/** The reference loop, literally: its lists, its order, its return value, its argmax. */
function reference(candidates: readonly Candidate[], rounds: number, alpha: number) {
  let trajectories: Trajectory[] = []
  const finished: Trajectory[] = []
  let currentTrajectories: Trajectory[] = []
  let batch = candidates.map((_, id) => id)
  const alive: number[][] = []
  for (let round = 0; round < rounds && batch.length > 0; round++) {
    currentTrajectories = batch.map((id) => {
      const candidate = candidates[id] as Candidate
      return { id, score: candidate.scores[round] as number, finished: candidate.ends <= round }
    })
    const previouslyFinished = trajectories.filter((trajectory) => trajectory.finished)
    finished.push(...previouslyFinished)
    const ranked = pythonSortedDescending([...previouslyFinished, ...currentTrajectories])
    const keep = pythonRound((1 - alpha) * ranked.length)
    trajectories = ranked.slice(0, keep)
    batch = trajectories.filter((trajectory) => !trajectory.finished).map((trajectory) => trajectory.id)
    alive.push([...batch].sort((a, b) => a - b))
  }
  let winner: Trajectory | null = null
  for (const trajectory of [...trajectories, ...currentTrajectories, ...finished]) {
    if (winner === null || trajectory.score > winner.score) winner = trajectory
  }
  return { alive, winner: winner?.id ?? null }
}

/** The same race as race.ts would run it, with the policy under test. The last round ends the live ones by length. */
function raceWith(candidates: readonly Candidate[], rounds: number, alpha: number) {
  const policy = specReject({ paper: true, alpha, checkpoints: every(1) })
  const branches = candidates.map((_, id): Standing => {
    return { id, state: 'live', reason: null, score: null, scores: [], tokens: 0, fresh: false }
  })
  const alive: number[][] = []
  let memory: unknown
  let view: View | null = null
  for (let round = 0; round < rounds; round++) {
    if (branches.every((branch) => branch.state !== 'live')) break
    for (const [id, branch] of branches.entries()) {
      if (branch.state !== 'live') {
        branches[id] = { ...branch, fresh: false }
        continue
      }
      const { ends, scores } = candidates[id] as Candidate
      const moved = { ...branch, score: scores[round] as number, tokens: round + 1 }
      if (ends <= round) branches[id] = { ...moved, state: 'finished', reason: 'end', fresh: true }
      else if (round === rounds - 1) branches[id] = { ...moved, state: 'finished', reason: 'length', fresh: true }
      else branches[id] = moved
    }
    const last = branches.every((branch) => branch.state !== 'live')
    const decision = policy.decide({ index: round, tokens: round + 1, last, branches, seed: 0, memory })
    memory = decision.memory
    for (const id of decision.kill) {
      expect(branches[id]?.state).toBe('live')
      branches[id] = { ...(branches[id] as Standing), state: 'killed' }
    }
    alive.push(branches.filter((branch) => branch.state === 'live').map((branch) => branch.id))
    view = { index: round, tokens: round + 1, last: true, branches, seed: 0, memory }
  }
  return { alive, winner: policy.choose?.(view as View) ?? null }
}

const races = fc.integer({ min: 1, max: 6 }).chain((rounds) =>
  fc.record({
    rounds: fc.constant(rounds),
    alpha: fc.oneof(fc.constantFrom(0, 0.1, 0.25, 0.5, 0.7, 0.75, 0.9), fc.double({ min: 0, max: 0.99, noNaN: true })),
    candidates: fc.array(
      fc.record({
        ends: fc.integer({ min: 0, max: rounds + 2 }),
        // Few different values make many ties.
        scores: fc.array(fc.integer({ min: 0, max: 4 }), { minLength: rounds, maxLength: rounds })
      }),
      { minLength: 1, maxLength: 17 }
    )
  })
)

it('agrees with the reference loop on who lives after each round and on the winner, in 10,000 random races', () => {
  fc.assert(
    fc.property(races, ({ rounds, alpha, candidates }) => {
      const theirs = reference(candidates, rounds, alpha)
      const ours = raceWith(candidates, rounds, alpha)
      expect(ours.winner).toBe(theirs.winner)
      // After the reference's last round nothing is written any more; ours has ended those branches by length.
      const compared = theirs.alive.length < rounds ? theirs.alive : theirs.alive.slice(0, -1)
      expect(ours.alive.slice(0, compared.length)).toEqual(compared)
    }),
    { numRuns: 10_000 }
  )
})

it('ranks finished branches with live ones and loses those that finish below the cut', () => {
  const candidates = [
    { ends: 0, scores: [1, 0, 0] },
    { ends: 9, scores: [3, 0, 0] },
    { ends: 9, scores: [2, 0, 0] },
    { ends: 0, scores: [0, 0, 0] }
  ]
  const { alive, winner } = raceWith(candidates, 3, 0.5)
  expect(alive[0]).toEqual([1, 2])
  // Candidate 0 would win with 1 against 0; the rule lost it in the first round.
  expect(winner).toBe(1)
})

it('stops a lone unfinished survivor and returns it as it stands', () => {
  const candidates = [
    { ends: 9, scores: [5, 5, 5, 5] },
    { ends: 9, scores: [1, 1, 1, 1] }
  ]
  const { alive, winner } = raceWith(candidates, 4, 0.5)
  expect(alive).toEqual([[0], []])
  expect(winner).toBe(0)
})
