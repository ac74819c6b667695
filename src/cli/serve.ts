import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Command } from 'commander'
import { type Logger, pino } from 'pino'
import { collectDefaultMetrics } from 'prom-client'
import { parseBytes } from '../bytes.js'
import type { Engine, open as openEngine } from '../engine.js'
import { WinnowError } from '../errors.js'
import { policyNamed, scorerNamed } from '../names.js'
import { maxCandidates } from '../options.js'
import { serverOf } from '../server/listener.js'
import { Service } from '../server/service.js'
import type { ServiceOptions } from '../server/service-options.js'
import { Downloads } from './downloads.js'
import { exit } from './exit.js'
import { add, number, seconds } from './flag.js'
import { addPolicyFlags, type OneRaceFlags } from './race.js'
import { addRerankerFlag, addRewardFlags, type RewardFlags, RewardModels } from './reward.js'
import { addModelFlags, addScheduleFlags, type ModelFlags, openOptionsOf, type ScheduleFlags } from './settings.js'
import type { Terminal } from './terminal.js'
import { withThreads } from './threads.js'
import { withEngine } from './workplace.js'

interface ServeFlags extends ModelFlags, RewardFlags, ScheduleFlags, Pick<OneRaceFlags, 'policy' | 'scorer' | 'quiet'> {
  readonly host: string
  readonly port: number
  readonly name?: string
  readonly apiKey?: string
  readonly bestOf: number
  readonly shadow: number
  readonly mostCandidates: number
  readonly mostTokens: number
  readonly queue: number
  readonly body: number
  readonly deadline: number
  readonly drain: number
}

/** An interrupted process is to be gone within five seconds; a service that is told to end has longer. Milliseconds. */
const interruptedMs = 4000

/** What slow readers have left after the last race. Milliseconds. */
const readersMs = 500

/** `winnow serve`: OpenAI's API with best_of, ready to run. */
export function serveCommand(terminal: Terminal, open: typeof openEngine, finish: (code: number) => void): Command {
  const command = new Command('serve')
  command.description("serve OpenAI's API (completions, chat, models) with best_of on this machine")
  add(command, '--host <address>', 'address to listen at; beyond this machine only with an --api-key', '127.0.0.1')
  add(command, '-p, --port <number>', 'port to listen at, 0 for any that is free', 8080, number)
  add(command, '--name <name>', 'what requests call the model, besides "default" (default: the name of its file)')
  add(command, '--api-key <key>', 'asked for by every route but /health; in WINNOW_API_KEY other users do not see it')
  add(command, '--best-of <count>', 'candidates of a request that does not say best_of', 1, number)
  addPolicyFlags(command)
  addScheduleFlags(command)
  add(
    command,
    '--shadow <share>',
    'races of which one rejected candidate is finished, to measure rejection',
    0.01,
    number
  )
  add(command, '--most-candidates <count>', `candidates a request may have, 1 to ${maxCandidates}`, 64, number)
  add(command, '--most-tokens <count>', 'tokens a candidate may write', 4096, number)
  add(command, '--queue <count>', 'requests that may wait; one more is refused with 503', 512, number)
  add(command, '--body <bytes>', 'size of a request, such as 1MiB', 2 ** 20, parseBytes, '1MiB')
  add(command, '--deadline <seconds>', 'a request is answered with the best so far after this time', 300, seconds)
  add(command, '--drain <seconds>', 'requests in flight have so long when SIGTERM comes', 30, seconds)
  addModelFlags(command)
  addRewardFlags(command)
  addRerankerFlag(command)
  add(command, '--quiet', 'no line for each request on stderr', false)
  add(command, '--verbose', 'stack traces with errors', false)
  command.action(async (flags: ServeFlags) => finish(await serve(terminal, open, flags)))
  return command
}

async function serve(terminal: Terminal, open: typeof openEngine, flags: ServeFlags): Promise<number> {
  const interruption = onStop(terminal)
  const logger = pino({ level: flags.quiet ? 'warn' : 'info' }, { write: (line) => terminal.stderr.write(line) })
  const downloads = new Downloads(terminal, flags.quiet, interruption.signal)
  try {
    const opening = { ...withThreads(openOptionsOf(flags), terminal, flags.quiet), ...downloads.options }
    const rewards = new RewardModels(flags, opening)
    const options = serviceOptionsOf(flags, rewards)
    const loaded = new Loading<Engine>()
    // Refuse what can be refused before a large model is loaded.
    const service = new Service({ ...options, engine: loaded.promise, logger })
    // The process is the service's own: its memory, handles and delays are worth watching too.
    collectDefaultMetrics({ register: service.registry })
    const server = serverOf(service)
    try {
      await listen(server, flags, logger)
      return await withEngine(open, flags.model, { opening, rewards }, async (engine) => {
        loaded.resolve(engine)
        logger.info({ model: engine.model.path }, 'ready')
        const signal = await interruption.came
        const ms = 1000 * flags.drain
        await service.drain(signal === 'SIGINT' ? Math.min(interruptedMs, ms) : ms)
        await readersGone(server)
        return exit[signal]
      })
    } finally {
      server.close()
      server.closeAllConnections()
    }
  } finally {
    downloads.end()
    interruption.release()
  }
}

/** Throws OPTION_INVALID, OPTION_UNKNOWN, HEAD_NOT_FOUND. */
function serviceOptionsOf(flags: ServeFlags, rewards: RewardModels): Omit<ServiceOptions, 'engine'> {
  const { policy, alpha, margin, right, hopeless, checkpoints, scorer, name, apiKey, bestOf, shadow } = flags
  const named = rewards.default
  return {
    name,
    apiKey,
    bestOf,
    shadow,
    policy: policyNamed(policy, { alpha, margin, right, hopeless, checkpoints }),
    scorer: scorer === undefined ? (named ?? undefined) : scorerNamed(scorer, (each) => rewards.named(each)),
    scorers: named === null ? {} : { [named.name]: named },
    limits: {
      candidates: flags.mostCandidates,
      tokens: flags.mostTokens,
      queue: flags.queue,
      body: flags.body,
      deadlineMs: 1000 * flags.deadline
    }
  }
}

async function listen(server: Server, { host, port, apiKey }: ServeFlags, logger: Logger): Promise<void> {
  server.listen(port, host)
  await once(server, 'listening')
  const { address, port: chosen, family } = server.address() as AddressInfo
  const url = `http://${family === 'IPv6' ? `[${address}]` : address}:${chosen}`
  logger.info({ url }, 'listening')
  const local = address === '::1' || address.startsWith('127.')
  if (!local && apiKey === undefined)
    logger.warn({ url }, 'whoever reaches this address may use it: there is no API key')
}

/** Readers that are slow have a moment after the last race. */
async function readersGone(server: Server): Promise<void> {
  const gone = once(server, 'close')
  server.close()
  server.closeIdleConnections()
  const timer = setTimeout(() => server.closeAllConnections(), readersMs)
  await gone
  clearTimeout(timer)
}

/** The first signal asks for an end, a second one ends the process at once. */
function onStop(terminal: Terminal) {
  const controller = new AbortController()
  const first = new Loading<'SIGINT' | 'SIGTERM'>()
  let stopping = false
  const release = terminal.onSignal((signal) => {
    if (stopping) return terminal.exit(exit[signal])
    stopping = true
    terminal.stderr.write('Finishing what was begun; interrupt again to stop at once.\n')
    // Ends a download of a model; one that is being loaded goes on to its end.
    controller.abort(new WinnowError('INTERRUPTED', `Interrupted by ${signal}`, { cause: signal }))
    first.resolve(signal)
  })
  return { signal: controller.signal, came: first.promise, release }
}

/** A promise and what fulfils it. */
class Loading<T> {
  resolve!: (value: T) => void
  readonly promise = new Promise<T>((resolve) => {
    this.resolve = resolve
  })
}
