// One process' share of the problems.
import { basename, join } from 'node:path'
import { machineOf } from '../../dist/cli/provenance.js'
import { RewardModels } from '../../dist/cli/reward.js'
import { open } from '../../dist/engine.js'
import { sha256 } from '../../dist/model.js'
import { parseCheckpoints, scorerNamed } from '../../dist/names.js'
import { readProblems } from '../../dist/problems.js'
import { headFile } from '../../dist/scorers/head-file.js'
import { Journal } from './journal.mjs'
import { measure } from './measure.mjs'

/** Problems `part - 1`, `part - 1 + parts` and so on, into a journal of their own. `values` are the driver's options, `command` is how it was called. */
export async function measurePart(values, part, parts, command) {
  const [limit, threads] = [Number(values.limit), Number(values.threads)]
  const problems = await readProblems(values.prompts, limit)
  const opening = { threads, ...(values.head !== undefined && { head: values.head }) }
  const flags = {
    rewardModel: values['reward-model'],
    rewardHead: values['reward-head'],
    rewardTemplate: values['reward-template'],
    rewardDelimiter: '\\n\\n',
    rewardAggregate: 'min'
  }
  const rewards = new RewardModels(flags, { threads })
  const scorers = scorersOf(values, rewards)
  const engine = await open(values.model, opening)
  try {
    const reading =
      rewards.default === null
        ? null
        : { mirror: rewards.named('reward-model'), reencode: rewards.named('reward-model-reencode') }
    await rewards.load()
    const schedule = { alpha: Number(values.alpha), checkpoints: parseCheckpoints(values.checkpoints) }
    const [n, grid] = [Number(values.n), Number(values.grid)]
    const race = { seed: BigInt(values.seed), maxTokens: Number(values['max-tokens']), deterministic: true }
    const bench = {
      ...{ engine, scorers, reading, n, grid, schedule, race },
      live: Number(values['live-limit']),
      ratio: Number(values['ratio-limit']),
      alphas: values['ratio-alphas'].split(',').map(Number)
    }
    const conditions = await conditionsOf(values, engine, rewards, bench, parts)
    const journal = new Journal(join(values.journal, `part-${part}-of-${parts}.jsonl`), conditions, command)
    // Pages the weights in and sizes the pools.
    await engine.bestOf(n, problems[0].prompt, { ...race, scorer: scorers[0].scorer, deadlineMs: 1000 })
    const mine = problems.flatMap((problem, prompt) => (prompt % parts === part - 1 ? [{ problem, prompt }] : []))
    const say = paceOf(`part ${part} of ${parts}`, mine.length)
    for (const [i, { problem, prompt }] of mine.entries()) {
      await measure(bench, problem, prompt, journal)
      say(i + 1)
    }
  } finally {
    await engine.close()
    await rewards.close()
  }
}

/** The head first: the others are compared with it. */
function scorersOf(values, rewards) {
  const distilled = values.distilled
  return [
    { name: 'head', scorer: scorerNamed('head') },
    ...(rewards.default === null ? [] : [{ name: 'reward-model', scorer: rewards.default }]),
    ...(distilled === undefined ? [] : [{ name: 'distilled-head', scorer: headFile(distilled) }]),
    ...values.scorers.split(',').map((name) => ({ name, scorer: scorerNamed(name) }))
  ]
}

/** Everything that must be the same for parts to belong together, and what a result needs beside it to be made again. */
async function conditionsOf(values, engine, rewards, { scorers, n, grid, schedule, race }, workers) {
  const { schemaVersion, versions, hardware } = machineOf(engine.runtime)
  const { cpu, cores, platform, devices } = hardware
  const fileOf = async (path) => ({ file: basename(path), sha256: await sha256(path) })
  const { seed, ...sampling } = race
  const { alpha, checkpoints } = schedule
  return {
    schemaVersion,
    versions,
    // How much memory a device has may be counted otherwise after a restart.
    hardware: { cpu, cores, platform, devices: devices.map(({ name, description }) => `${name} ${description}`) },
    model: await fileOf(engine.model.path),
    head: await fileOf(engine.head.path),
    distilled: values.distilled === undefined ? null : await fileOf(values.distilled),
    rewardModel: await rewards.provenance(),
    prompts: await fileOf(values.prompts),
    seed: String(seed),
    options: {
      ...{ n, alpha, checkpoints: checkpoints.name, grid, ...sampling, threads: Number(values.threads), workers },
      names: scorers.map(({ name }) => name)
    }
  }
}

/** Says how far it is, every half minute, and from the pace so far how long it will take. */
function paceOf(who, total) {
  const startedAt = performance.now()
  let saidAt = startedAt
  return (done) => {
    const now = performance.now()
    if (now - saidAt < 30_000 && done < total) return
    saidAt = now
    const left = ((now - startedAt) / done) * (total - done)
    process.stderr.write(`${who}: ${done} of ${total} problems, at most about ${Math.ceil(left / 60_000)} min left\n`)
  }
}
