/**
 * The way of one prompt, and the file to read first: prompt -> tokens -> prefill once -> fork n branches -> advance to
 * a checkpoint -> score -> decide (pure) -> kill -> advance ... -> winner. The steps are in steps.ts, the state they
 * share in round.ts. JavaScript is entered once a checkpoint, never for each token.
 */
import { onAbort } from './abort.js'
import { choose } from './choose.js'
import { concludeRace, type Outcome } from './result.js'
import { type RaceSetup, Round } from './round.js'
import { advance, climb, decide, endScoring, fork, kill, prefill, prepare, report, score } from './steps.js'

export async function race(setup: RaceSetup): Promise<Outcome> {
  const round = new Round(setup)
  // The pool ends its job at the next step; which of the two it was is read off the signals afterwards.
  const undo = [setup.signal, setup.options.stop].map((signal) => onAbort(signal, () => setup.pool.abort()))
  try {
    await prefill(round)
    await prepare(round)
    await fork(round)
    while (round.reason === null) {
      await advance(round)
      // Finished branches are scored too, once: their final score is what the survivors compete with.
      await score(round)
      const decision = decide(round)
      await kill(round, decision)
      await climb(round)
      report(round, decision)
    }
    await endScoring(round)
    await choose(round)
    return await concludeRace(round)
  } finally {
    await endScoring(round)
    for (const step of undo) step()
  }
}
