import { basename, resolve } from 'node:path'
import { Command } from 'commander'
import { loadBinding } from '../binding.js'
import { bytesText } from '../bytes.js'
import { calibrate } from '../calibrate.js'
import { checkWritable, writeCalibration } from '../calibrated.js'
import type { Calibration, SettingTrial } from '../calibration.js'
import { localModel } from '../download.js'
import { embedded } from '../embedded.js'
import { maxStreams } from '../layout.js'
import { sha256 } from '../model.js'
import { resolveCandidates, resolveOpen } from '../options.js'
import { calibrationName } from './calibrated.js'
import { Downloads } from './downloads.js'
import { exit, nothingWritten, onInterrupt } from './exit.js'
import { add, number, seconds } from './flag.js'
import { ProgressLine } from './progress-line.js'
import { machineOf } from './provenance.js'
import { addOutputFlags, type ModelFlags, type OutputFlags } from './settings.js'
import { drawTable } from './table.js'
import type { Terminal } from './terminal.js'

interface CalibrateFlags extends Pick<ModelFlags, 'model' | 'models' | 'gpu' | 'gpuLayers'>, OutputFlags {
  readonly candidates: number
  readonly promptTokens: number
  readonly tokens: number
  readonly seconds: number
  readonly allowNumerics: boolean
  readonly out: string
}

/** `winnow calibrate`: measures the settings that depend on the machine, and writes what other commands then start from. */
export function calibrateCommand(
  terminal: Terminal,
  finish: (code: number) => void,
  measure: typeof calibrate = calibrate
): Command {
  const command = new Command('calibrate')
  command.description(
    'measure which threads, prompt batch, attention, KV type and drawing are fastest here, and write the choice'
  )
  add(command, '-m, --model <path>', 'GGUF model, path or address (default: the embedded one)')
  add(command, '--models <folder>', 'where models given by address are kept (default: winnow/models in ~/.cache)')
  add(command, '--gpu <variant>', 'llama.cpp to use: auto, cuda, vulkan, metal or cpu', 'auto')
  add(command, '--gpu-layers <count>', 'layers on the device, -1 for all', -1, number)
  add(command, '-n, --candidates <count>', 'candidates to measure with, 1 to 256', 64, number)
  add(command, '--prompt-tokens <count>', 'tokens of the prompt to measure with', 256, number)
  add(command, '--tokens <count>', 'tokens a candidate will write: what a step weighs beside the prompt', 128, number)
  add(command, '--seconds <seconds>', 'time to measure in, once the model is loaded', 10, seconds)
  add(command, '--allow-numerics', 'choose also what moves log-probabilities; else that is advice', false)
  // No environment variable: bench results of the same name would be lost.
  command.option('-o, --out <file>', `file to write; other commands read ${calibrationName}`, calibrationName)
  addOutputFlags(command)
  command.action(async (flags: CalibrateFlags) => finish(await run(terminal, measure, flags)))
  return command
}

async function run(terminal: Terminal, measure: typeof calibrate, flags: CalibrateFlags): Promise<number> {
  const { models, gpu, gpuLayers, candidates, promptTokens, tokens, seconds, allowNumerics } = flags
  const n = resolveCandidates(candidates, maxStreams)
  resolveOpen({ gpu, gpuLayers, models })
  const out = resolve(terminal.cwd, flags.out)
  await checkWritable(out)
  const interruption = onInterrupt(terminal)
  const { signal } = interruption
  const downloads = new Downloads(terminal, flags.quiet, signal)
  const line = flags.quiet ? null : new ProgressLine(terminal)
  try {
    const model = await localModel(flags.model ?? embedded.model, { models, ...downloads.options })
    const onTrial = (trial: SettingTrial) => line?.say(`${trial.setting} ${nameOf(trial)}: round ${trial.rounds}`)
    const options = { n, promptTokens, tokens, seconds, allowNumerics, signal, onTrial, gpu, gpuLayers }
    const calibration = await measure(model, options)
    line?.end()
    await writeCalibration(out, model, calibration, { gpu, gpuLayers })
    const text = flags.json ? await jsonOf(calibration, model, flags) : textOf(calibration)
    terminal.stdout.write(`${text}\n`)
    if (!flags.quiet) terminal.stderr.write(`Written to ${flags.out}.\n`)
    return exit.done
  } catch (error) {
    line?.end()
    return nothingWritten(terminal, interruption, flags.out, error)
  } finally {
    downloads.end()
    interruption.release()
  }
}

const caveat = 'On a CPU, threads and batch may round otherwise at other prompt lengths (--prompt-tokens).'

/** For people. */
function textOf({ n, promptTokens, tokens, seconds, trials, choices }: Calibration): string {
  const rows = trials.map((trial) => [
    `${trial.setting} ${nameOf(trial)}`,
    ...(trial.rounds === 0
      ? ['', '', '', '', '']
      : [
          (trial.stepSeconds * 1000).toFixed(2),
          trial.promptTokensPerSecond.toFixed(0),
          `${(100 * trial.spread).toFixed(0)}%`,
          trial.moved.toPrecision(2),
          bytesText(trial.cellBytes)
        ]),
    trial.failure === null ? `${trial.rounds}` : 'given up'
  ])
  const columns = ['', 'step ms', 'prompt tokens/s', 'spread', 'nats moved', 'cells', 'rounds']
  const said = choices.map(({ setting, value, advice, verdict, reason }) => {
    const also = advice === null ? '' : `, ${advice} would be faster (--allow-numerics takes it)`
    return `${setting} ${value} (${verdict}${also}): ${reason}`
  })
  const lost = trials.flatMap((trial) =>
    trial.failure === null ? [] : [`${trial.setting} ${nameOf(trial)} was given up: ${trial.failure}`]
  )
  return [
    `${n} candidates, ${promptTokens} tokens of prompt, ${tokens} to write; ${seconds.toFixed(1)} s`,
    '',
    drawTable(columns, rows, 'text'),
    '',
    ...lost,
    ...said,
    caveat
  ].join('\n')
}

/** For programs: the same, with what it takes to make it again. */
async function jsonOf(
  calibration: Calibration,
  model: string,
  { gpu, gpuLayers, seconds, allowNumerics }: CalibrateFlags
): Promise<string> {
  const { binding } = loadBinding({ gpu })
  const runtime = { addon: binding.addonVersion, llama: binding.llamaVersion(), devices: binding.devices() }
  return JSON.stringify({
    ...machineOf(runtime),
    model: { file: basename(model), sha256: await sha256(model) },
    options: { gpu, gpuLayers, seconds, allowNumerics },
    layout: 'streams',
    ...calibration
  })
}

function nameOf({ setting, settings }: SettingTrial): string {
  return String(settings[setting])
}
