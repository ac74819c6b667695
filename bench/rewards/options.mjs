// What the driver can be asked for, checked before anything is measured: a measurement takes hours.
import { parseCheckpoints } from '../../dist/names.js'
import { specReject } from '../../dist/policies/spec-reject.js'

/** Throws where `values`, the driver's options, could not all be measured and read off what was recorded. */
export function checkOptions(values) {
  const counts = ['limit', 'n', 'grid', 'max-tokens', 'threads', 'workers']
  for (const name of counts) wholeOf(values, name, 1)
  for (const name of ['live-limit', 'ratio-limit']) wholeOf(values, name, 0)
  const checkpoints = parseCheckpoints(values.checkpoints)
  for (const alpha of [values.alpha, ...values['ratio-alphas'].split(',')]) {
    specReject({ alpha: alpha.trim() === '' ? Number.NaN : Number(alpha), checkpoints })
  }
  checkGrid(checkpoints, Number(values.grid), Number(values['max-tokens']))
}

/** Scores are recorded every `grid` tokens: a race can be decided again only where it looks at those places. */
function checkGrid(checkpoints, grid, maxTokens) {
  for (let at = checkpoints.next(0); at !== null && at <= maxTokens; at = checkpoints.next(at)) {
    if (at % grid === 0) continue
    throw new Error(`Expected --checkpoints at multiples of --grid ${grid} tokens but received one at ${at}`)
  }
}

function wholeOf(values, name, least) {
  const value = values[name].trim() === '' ? Number.NaN : Number(values[name])
  if (Number.isSafeInteger(value) && value >= least) return
  throw new Error(`Expected a whole number, at least ${least}, for --${name} but received "${values[name]}"`)
}
