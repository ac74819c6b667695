/** A calibration as a file: what was chosen, and for which model on which machine. */
import { constants } from 'node:fs'
import { access, readFile, stat, writeFile } from 'node:fs/promises'
import { availableParallelism, cpus } from 'node:os'
import { basename, dirname, resolve } from 'node:path'
import { z } from 'zod'
import { type Loaded, loadBinding } from './binding.js'
import type { Calibration } from './calibration.js'
import { localModel, modelHere } from './download.js'
import { embedded } from './embedded.js'
import { WinnowError } from './errors.js'
import { sha256 } from './model.js'
import { type OpenOptions, type ResolvedOpenOptions, resolveOpen } from './options.js'
import type { Settings } from './timing.js'

/** Where the model runs, and where models given by address are. */
export type Placement = Pick<OpenOptions, 'gpu' | 'gpuLayers' | 'devices' | 'models'>

/** What a calibration file says to open a model with. */
export interface Calibrated {
  /** Null where the file is for something else. */
  readonly settings: Settings | null
  /** What is something else: a sentence's end. Null where nothing is. */
  readonly misfit: string | null
}

const count = z.number().int().min(0)
const schema = z.strictObject({
  schemaVersion: z.literal(1),
  llama: z.string(),
  machine: z.strictObject({ cpu: z.string(), cores: count, platform: z.string(), devices: z.array(z.string()) }),
  model: z.strictObject({ file: z.string(), bytes: count, modifiedMs: z.number(), sha256: z.string() }),
  placement: z.strictObject({ gpu: z.string(), gpuLayers: z.number(), devices: z.array(z.string()) }),
  shape: z.strictObject({ n: count, promptTokens: count, tokens: count }),
  /** The names of flags, as in winnow.config.json. */
  settings: z.strictObject({
    threads: z.number(),
    batch: z.number(),
    kvType: z.string(),
    flashAttention: z.string(),
    // A file may be older.
    drawing: z.string().default('auto')
  })
})

/**
 * Writes what was chosen for the model at `path`, in place of an earlier calibration at most. Throws WRITE_FAILED, also
 * where `file` is something else, OPTION_INVALID, and what `download` does for an address whose file is not here.
 */
export async function writeCalibration(
  file: string,
  path: string | undefined,
  { n, promptTokens, tokens, settings }: Calibration,
  placement: Placement = {}
): Promise<void> {
  const where = resolveOpen(placement)
  await checkWritable(file)
  const here = factsOf(loadBinding({ gpu: where.gpu }), where)
  const model = await localModel(path ?? embedded.model, where)
  const identity = { ...(await identityOf(model)), sha256: await sha256(model) }
  const record = { schemaVersion: 1, ...here, model: identity, shape: { n, promptTokens, tokens }, settings }
  await writeFile(file, `${JSON.stringify(record, null, 2)}\n`).catch((error: Error) => {
    throw unwritable(file, error.message)
  })
}

/** Before anything is measured. Throws WRITE_FAILED. */
export async function checkWritable(file: string): Promise<void> {
  await access(dirname(resolve(file)), constants.W_OK).catch((error: Error) => {
    throw unwritable(file, error.message)
  })
  const found = await stat(file).catch(() => null)
  if (found === null) return
  await recordIn(file).catch(() => {
    throw unwritable(file, 'something that is there and no calibration')
  })
}

/**
 * What a calibration file says for the model at `path`, or the embedded one. A file for another model, machine, placement
 * or llama.cpp is an outcome, and so is an address whose file is not here: nothing is fetched. A model that has the size but
 * not the date of the one that was measured is read once, for its checksum. Throws OPTION_INVALID, and CONFIG_INVALID for a
 * file that is no calibration.
 */
export async function readCalibration(file: string, path?: string, placement: Placement = {}): Promise<Calibrated> {
  const where = resolveOpen(placement)
  const model = await modelHere(path ?? embedded.model, where)
  const { record, settings } = await recordIn(file)
  const here = factsOf(loadBinding({ gpu: where.gpu }), where)
  const misfit =
    (record.llama === here.llama ? null : `llama.cpp ${record.llama}, and this is ${here.llama}`) ??
    differing('machine', record.machine, here.machine) ??
    differing('placement', record.placement, here.placement) ??
    (await otherModel(record.model, model))
  return { settings: misfit === null ? settings : null, misfit }
}

type CalibrationRecord = z.output<typeof schema>

async function recordIn(file: string): Promise<{ record: CalibrationRecord; settings: Settings }> {
  try {
    const record = schema.parse(JSON.parse(await readFile(file, 'utf8')))
    const { threads, batch, kvType, flashAttention, drawing } = resolveOpen(record.settings as Settings)
    return { record, settings: { threads, batch, kvType, flashAttention, drawing } }
  } catch (error) {
    const cause = error instanceof z.ZodError ? new Error(z.prettifyError(error), { cause: error }) : error
    const message = cause instanceof Error ? cause.message : String(cause)
    throw new WinnowError('CONFIG_INVALID', `Expected a calibration in ${file} but received: ${message}`, { cause })
  }
}

function factsOf({ binding, libraries }: Loaded, { gpuLayers, devices }: ResolvedOpenOptions) {
  return {
    llama: binding.llamaVersion(),
    machine: {
      cpu: cpus()[0]?.model.trim() ?? 'unknown',
      cores: availableParallelism(),
      platform: `${process.platform}-${process.arch}`,
      devices: binding.devices().map(({ name, description }) => `${name} ${description}`)
    },
    // The variant that `auto` came to.
    placement: { gpu: libraries.variant, gpuLayers, devices: [...devices] }
  }
}

function differing<Facts extends object>(what: string, made: Facts, here: Facts): string | null {
  for (const key of Object.keys(here) as (keyof Facts & string)[]) {
    const [then, now] = [String(made[key]), String(here[key])]
    if (then !== now) return `another ${what}: ${key} ${then}, and this has ${now}`
  }
  return null
}

async function identityOf(path: string) {
  const { size, mtimeMs } = await stat(path)
  return { file: basename(path), bytes: size, modifiedMs: mtimeMs }
}

async function otherModel(made: CalibrationRecord['model'], path: string | null): Promise<string | null> {
  if (path === null) return `${made.file}, and the model of this address is not here yet`
  const here = await identityOf(path).catch(() => null)
  // Whoever opens it says what is wrong with it.
  if (here === null) return `${made.file}, and ${path} cannot be read`
  if (made.bytes === here.bytes && made.modifiedMs === here.modifiedMs) return null
  const same = made.bytes === here.bytes && made.sha256 === (await sha256(path))
  return same ? null : `another model: ${made.file} of ${made.bytes} bytes, and this is ${here.file} of ${here.bytes}`
}

function unwritable(file: string, received: string): WinnowError {
  return new WinnowError('WRITE_FAILED', `Expected to write a calibration to ${file} but received ${received}`)
}
