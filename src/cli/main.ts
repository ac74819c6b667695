#!/usr/bin/env node
import { realpathSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Command, CommanderError } from 'commander'
import { open as openEngine } from '../engine.js'
import { WinnowError } from '../errors.js'
import { version } from '../version.js'
import { benchCommand } from './bench.js'
import { calibrateCommand } from './calibrate.js'
import { applyCalibration } from './calibrated.js'
import { applyConfig } from './config.js'
import { doctorCommand } from './doctor.js'
import { exit, exitCodeOf } from './exit.js'
import { applySwitches } from './flag.js'
import { headCommand } from './head.js'
import { planCommand } from './plan.js'
import { randomModelCommand } from './random-model.js'
import { recordCommand } from './record.js'
import { replayCommand } from './replay.js'
import { reportCommand } from './report.js'
import { runCommand } from './run.js'
import { sampleCommand } from './sample.js'
import { serveCommand } from './serve.js'
import { processTerminal, type Terminal } from './terminal.js'
import { tuneCommand } from './tune.js'

/** The command line: arguments (without node and script) -> exit code. Only the result goes to stdout. */
export async function main(argv: readonly string[], terminal: Terminal, open = openEngine): Promise<number> {
  let code: number = exit.done
  const finish = (value: number) => {
    code = value
  }
  const head = headCommand(terminal, open, finish)
  const training = head.commands.filter((command) => command.name() === 'train')
  const raced = [
    runCommand(terminal, open, finish),
    benchCommand(terminal, open, finish, argv),
    sampleCommand(terminal, open, finish, argv),
    planCommand(terminal, finish),
    recordCommand(terminal, open, finish, argv),
    replayCommand(terminal, open, finish, argv),
    serveCommand(terminal, open, finish),
    reportCommand(terminal, argv)
  ]
  const calibration = calibrateCommand(terminal, finish)
  const configured = [...raced, ...training, calibration]
  const program = new Command('winnow')
  program
    .description(
      'Writes many candidate answers at once on llama.cpp and stops the losers while they are still being written.'
    )
    .version(version, '--version', 'print the version')
    .showHelpAfterError('(--help lists the flags)')
  const tuning = tuneCommand(terminal, finish, argv)
  const all = [...raced, tuning, head, calibration, doctorCommand(terminal, finish), randomModelCommand(terminal)]
  for (const command of all) program.addCommand(command)
  // Before an action and not before parsing: help, version and doctor work whatever the project's settings are.
  program.hook('preAction', async (_, command) => {
    applySwitches(command)
    if (!configured.includes(command)) return
    applyConfig(command, configured, terminal)
    await applyCalibration(command, terminal)
  })
  for (const command of [program, ...all, ...all.flatMap((command) => command.commands)]) {
    command
      .exitOverride()
      .showSuggestionAfterError()
      .configureOutput({
        writeOut: (text) => terminal.stdout.write(text),
        writeErr: (text) => terminal.stderr.write(text),
        getOutHelpWidth: () => terminal.stdout.columns,
        getErrHelpWidth: () => terminal.stderr.columns
      })
  }
  try {
    await program.parseAsync([...argv], { from: 'user' })
    return code
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exit.done : exit.usage
    terminal.stderr.write(`${messageOf(error, argv.includes('--verbose'))}\n`)
    return exitCodeOf(error)
  }
}

function messageOf(error: unknown, verbose: boolean): string {
  if (!(error instanceof Error)) return `winnow: ${String(error)}`
  if (verbose) return `winnow: ${error.stack ?? error.message}`
  return WinnowError.is(error) ? `winnow: ${error.message}` : `winnow: ${error.message} (--verbose shows where)`
}

// npm links the command, so the script's name may lead here by way of a link.
if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  // Whoever reads the output may stop reading (`winnow bench | head`); that is no failure.
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error
    })
  }
  const code = await main(process.argv.slice(2), processTerminal())
  if (code !== exit.done) process.exitCode = code
}
