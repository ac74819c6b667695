import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from 'commander'
import { readCalibration } from '../calibrated.js'
import type { ModelFlags, OutputFlags } from './settings.js'
import type { Terminal } from './terminal.js'

export const calibrationName = 'winnow.calibration.json'

/**
 * Puts what the project's winnow.calibration.json chose below flags, environment and winnow.config.json, and says so; one
 * that was made for another model or machine is not used, and that is said too. Throws CONFIG_INVALID, OPTION_INVALID.
 */
export async function applyCalibration(command: Command, { cwd, stderr }: Terminal): Promise<void> {
  const path = join(cwd, calibrationName)
  const names = command.options.map((option) => option.attributeName())
  if (!names.includes('threads') || !existsSync(path)) return
  const { model, models, gpu, gpuLayers, quiet } = command.opts<ModelFlags & OutputFlags>()
  const say = (text: string) => {
    if (!quiet) stderr.write(`${text}\n`)
  }
  const { settings, misfit } = await readCalibration(path, model, { gpu, gpuLayers, models })
  if (settings === null) return say(`${calibrationName} is not used: it was made for ${misfit}. Run winnow calibrate.`)
  const applied = Object.entries(settings).filter(
    ([name]) => names.includes(name) && command.getOptionValueSource(name) === 'default'
  )
  for (const [name, value] of applied) command.setOptionValueWithSource(name, value, 'calibration')
  if (applied.length > 0) {
    say(`From ${calibrationName}: ${applied.map(([name, value]) => `${name} ${value}`).join(', ')}.`)
  }
}
