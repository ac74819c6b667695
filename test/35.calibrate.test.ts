import { once } from 'node:events'
import { copyFile, mkdir, mkdtemp, readFile, rm, utimes, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { availableParallelism, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { Command } from 'commander'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { addressOf } from '../src/address.js'
import { loadBinding } from '../src/binding.js'
import { type CalibrateOptions, type calibrate, calibrateWith } from '../src/calibrate.js'
import { readCalibration, writeCalibration } from '../src/calibrated.js'
import type { Calibration } from '../src/calibration.js'
import { calibrateCommand } from '../src/cli/calibrate.js'
import { applyCalibration, calibrationName } from '../src/cli/calibrated.js'
import { main } from '../src/cli/main.js'
import { addModelFlags, addOutputFlags } from '../src/cli/settings.js'
import { type Entrant, judge } from '../src/contest.js'
import { embedded } from '../src/embedded.js'
import type { open } from '../src/engine.js'
import { sha256 } from '../src/model.js'
import { generator } from '../src/statistics.js'
import type { Settings, Timing } from '../src/timing.js'
import { fakeEngine } from './fakes/engine.js'
import { fakeMachine, type Machine } from './fakes/machine.js'
import { fakeTerminal } from './fakes/terminal.js'

let folder = ''
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'winnow-calibrate-'))
})
afterAll(() => rm(folder, { recursive: true }))

/** A machine on which everything takes the same time. */
const even: Machine = { step: () => 0.01, prompt: () => 0.1 }

async function calibrated(machine: Partial<Machine>, options: CalibrateOptions = {}, cores = 4) {
  const fake = fakeMachine({ ...even, ...machine })
  const calibration = await calibrateWith(fake.binding, embedded.model, { seconds: 5, ...options }, cores)
  const choice = (setting: keyof Settings) => calibration.choices.find((one) => one.setting === setting)
  return { calibration, choice, ...fake }
}

describe('a calibration', () => {
  it('keeps everything where nothing is faster', async () => {
    const { calibration } = await calibrated({})
    expect(calibration.settings).toEqual({
      threads: 4,
      batch: 512,
      kvType: 'f16',
      flashAttention: 'auto',
      drawing: 'host'
    })
    expect(calibration.choices.map(({ verdict }) => verdict)).toEqual(Array(5).fill('kept'))
  })

  it('finds the threads that are fastest, and tries the rest with them', async () => {
    const { calibration, choice, diary } = await calibrated({ step: ({ threads }) => (threads === 3 ? 0.005 : 0.01) })
    expect(calibration.settings.threads).toBe(3)
    expect(choice('threads')).toMatchObject({ was: 4, value: 3, advice: null, verdict: 'changed' })
    expect(choice('threads')?.reason).toMatch(
      /^3 took 0\.\d\d of the time of 4, .* in (\d+) of \1 rounds; .*same bits$/
    )
    expect(calibration.trials.filter(({ setting }) => setting === 'threads').map((t) => t.settings.threads)).toEqual([
      4, 3, 2, 1
    ])
    expect(diary.at(-2)).toMatch(/^made 3\//)
  })

  it('weighs a step by the tokens to be written', async () => {
    const machine: Partial<Machine> = {
      step: ({ threads }) => (threads === 1 ? 0.01 : 0.02),
      prompt: ({ threads }) => (threads === 1 ? 1 : 0.1)
    }
    expect((await calibrated(machine, { tokens: 10 }, 2)).calibration.settings.threads).toBe(2)
    expect((await calibrated(machine, { tokens: 1000 }, 2)).calibration.settings.threads).toBe(1)
  })

  it('judges a prompt batch by the prompt alone, and leaves out those that come to the same', async () => {
    const { calibration, choice } = await calibrated({ prompt: ({ batch }) => (batch === 128 ? 0.05 : 0.1) })
    expect(choice('batch')).toMatchObject({ value: 128, verdict: 'changed' })
    const tried = calibration.trials.filter(({ setting }) => setting === 'batch').map((trial) => trial.settings.batch)
    expect(tried).toEqual([512, 64, 128])
  })

  it('says the medians, the spread and the cells of what it measured', async () => {
    const steps = [0.01, 0.02, 0.03]
    const { calibration } = await calibrated({ step: (_, run) => steps[run % 3] as number }, {}, 1)
    const [trial] = calibration.trials
    expect(trial).toMatchObject({ setting: 'batch', promptTokensPerSecond: 2560, cellBytes: 64 * 266, moved: 0 })
    expect(steps).toContain(trial?.stepSeconds)
    expect(trial?.rounds).toBeGreaterThanOrEqual(5)
  })

  it('only advises flash attention off and other cells, unless numbers may move', async () => {
    const machine: Partial<Machine> = {
      step: ({ flashAttention, kvType }) => (flashAttention === 'off' || kvType === 'q8_0' ? 0.005 : 0.01)
    }
    const strict = await calibrated(machine)
    expect(strict.calibration.settings).toMatchObject({ flashAttention: 'auto', kvType: 'f16' })
    expect(strict.choice('flashAttention')).toMatchObject({ value: 'auto', advice: 'off', verdict: 'advised' })
    expect(strict.choice('kvType')).toMatchObject({ value: 'f16', advice: 'q8_0', verdict: 'advised' })
    const free = await calibrated(machine, { allowNumerics: true })
    expect(free.calibration.settings).toMatchObject({ flashAttention: 'off', kvType: 'f16' })
  })

  it('only advises threads that moved a log-probability, and takes the best of those that did not', async () => {
    const machine: Partial<Machine> = {
      step: ({ threads }) => threads / 1000,
      logprob: ({ threads }) => (threads === 1 ? -1.25 : -1)
    }
    const { calibration, choice } = await calibrated(machine)
    expect(choice('threads')).toMatchObject({ value: 2, advice: 1, verdict: 'changed' })
    expect(choice('threads')?.reason).toContain('move by up to 0.25 nats')
    const moves = calibration.trials.filter(({ setting }) => setting === 'threads').map(({ moved }) => moved)
    expect(moves).toEqual([0, 0, 0, 0.25])
    expect((await calibrated(machine, { allowNumerics: true })).calibration.settings.threads).toBe(1)
  })

  it('changes nothing on a device that does not repeat itself', async () => {
    const { calibration } = await calibrated({
      step: ({ threads }) => threads / 1000,
      logprob: (_, run) => -1 - run / 1000
    })
    expect(calibration.settings.threads).toBe(4)
    expect(calibration.choices[0]).toMatchObject({ verdict: 'advised', advice: 1 })
  })

  it('gives up what fails and what takes several times as long, and says so', async () => {
    const { calibration, choice } = await calibrated(
      {
        fails: ({ kvType }) => (kvType === 'q8_0' ? 'OUT_OF_MEMORY' : null),
        realMs: ({ threads }) => (threads === 1 ? 10_000 : 1)
      },
      { seconds: 3 },
      2
    )
    const [, slow] = calibration.trials
    expect(slow).toMatchObject({ rounds: 0, failure: 'it took several times as long' })
    expect(choice('threads')).toMatchObject({ value: 2, verdict: 'kept' })
    const quantised = calibration.trials.find(({ settings }) => settings.kvType === 'q8_0')
    expect(quantised?.failure).toBe('Expected memory but received OUT_OF_MEMORY')
    expect(choice('kvType')?.verdict).toBe('kept')
    expect(calibration.seconds).toBeLessThan(3)
  })

  it('throws what the settings in force fail with', async () => {
    await expect(calibrated({ fails: () => 'OUT_OF_MEMORY' })).rejects.toMatchObject({ code: 'OUT_OF_MEMORY' })
  })

  it('ends when its time is over and decides nothing it had no time for', async () => {
    const { calibration, diary } = await calibrated({ realMs: () => 70 }, { seconds: 0.5 }, 2)
    expect(calibration.seconds).toBeGreaterThan(0.45)
    expect(calibration.seconds).toBeLessThan(1.5)
    expect(calibration.choices.map(({ verdict }) => verdict)).toEqual(Array(5).fill('undecided'))
    expect(calibration.choices[0]?.reason).toMatch(
      /^the time was enough for [0-4] of at least 5 rounds; more seconds are needed$/
    )
    expect(diary.filter((entry) => entry === 'freed')).toHaveLength(diary.length / 2)
  })

  it('frees every pool before it makes the next, and the model at the end', async () => {
    const { diary, model } = await calibrated({})
    expect(diary.length).toBeGreaterThan(20)
    for (const [i, entry] of diary.entries()) expect(entry.startsWith(i % 2 === 0 ? 'made' : 'freed')).toBe(true)
    expect(model.closed).toBe(true)
  })

  it('rejects with the reason of an abort, in the middle of a prompt too, and frees everything', async () => {
    const controller = new AbortController()
    const reason = new Error('enough')
    const fake = fakeMachine({ ...even, realMs: () => 20_000 })
    const running = calibrateWith(fake.binding, embedded.model, { seconds: 60, signal: controller.signal }, 2)
    setTimeout(() => controller.abort(reason), 50)
    await expect(running).rejects.toBe(reason)
    expect(fake.diary).toEqual(['made 2/512/auto/f16', 'freed'])
    expect(fake.model.closed).toBe(true)
  })

  it('rejects with the reason of an abort while the model is still being fetched', async () => {
    // A server that never answers.
    const server = createServer(() => {})
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const asked = once(server, 'request')
    const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/model.gguf`
    const controller = new AbortController()
    const options = { models: join(folder, 'fetched'), signal: controller.signal }
    const running = calibrateWith(fakeMachine(even).binding, address, options)
    await asked
    controller.abort(new Error('enough'))
    await expect(running).rejects.toThrow('enough')
    server.closeAllConnections()
    server.close()
  })

  it('tells of every trial after each round', async () => {
    const rounds: number[] = []
    await calibrated({}, { onTrial: ({ setting, rounds: of }) => setting === 'kvType' && rounds.push(of) })
    expect(rounds.slice(0, 4)).toEqual([1, 1, 2, 2])
  })

  it('refuses options it does not have and values out of range', async () => {
    const refused = (options: object) => calibrated({}, options)
    await expect(refused({ n: 257 })).rejects.toMatchObject({ code: 'OPTION_INVALID' })
    await expect(refused({ seconds: 0 })).rejects.toMatchObject({ code: 'OPTION_INVALID' })
    await expect(refused({ allowNumerics: 1 })).rejects.toMatchObject({ code: 'OPTION_INVALID' })
    await expect(refused({ promtTokens: 9 })).rejects.toMatchObject({ code: 'OPTION_UNKNOWN' })
  })
})

describe('a verdict', () => {
  const entrant = (costs: readonly number[]): Entrant => ({
    settings: { threads: 1, batch: 512, kvType: 'f16', flashAttention: 'auto', drawing: 'host' },
    timings: costs.map((stepSeconds): Timing => {
      return { promptSeconds: 0, stepSeconds, logprobs: new Float32Array(), cellBytes: 0 }
    }),
    givenUp: null
  })
  const verdict = (a: readonly number[], b: readonly number[]) =>
    judge(entrant(a), entrant(b), ({ stepSeconds }) => stepSeconds)

  it('forgives one disturbed round in eight, none in seven, and asks for five', () => {
    const fast = (rounds: number, disturbed: number) =>
      verdict(
        Array(rounds).fill(1),
        Array.from({ length: rounds }, (_, i) => (i < disturbed ? 50 : 0.9))
      ).better
    expect([fast(4, 0), fast(5, 0), fast(7, 1), fast(8, 1), fast(8, 2)]).toEqual([false, true, false, true, false])
  })

  it('takes no notice of less than three percent', () => {
    expect(verdict(Array(15).fill(1), Array(15).fill(0.98)).better).toBe(false)
    expect(verdict(Array(15).fill(1), Array(15).fill(0.96))).toMatchObject({ better: true, wins: 15, ratio: 0.96 })
  })

  it('is seldom for one that is no faster, however noisy the machine', () => {
    const random = generator(7)
    // Times that are now and then ten times as long, as on a machine where others compute.
    const noisy = () => Array.from({ length: 9 }, () => (0.8 + 0.4 * random()) * (random() < 0.2 ? 10 : 1))
    const wrong = Array.from({ length: 1000 }, () => verdict(noisy(), noisy()).better).filter(Boolean).length
    expect(wrong).toBeGreaterThan(0)
    expect(wrong).toBeLessThan(50)
  })
})

const chosen: Calibration = {
  n: 64,
  promptTokens: 256,
  tokens: 128,
  seconds: 1,
  trials: [],
  choices: [],
  settings: { threads: 1, batch: 128, kvType: 'f16', flashAttention: 'auto', drawing: 'host' }
}

describe('a calibration file', () => {
  /** A file for a copy of the embedded model, and both paths. */
  const written = async (name: string, placement = {}) => {
    const [file, model] = [join(folder, `${name}.json`), join(folder, `${name}.gguf`)]
    await copyFile(embedded.model, model)
    await writeCalibration(file, model, chosen, placement)
    return { file, model }
  }
  const changed = async (file: string, change: (record: Record<string, Record<string, unknown>>) => void) => {
    const record = JSON.parse(await readFile(file, 'utf8'))
    change(record)
    await writeFile(file, JSON.stringify(record))
  }

  it('says again what was chosen, to be opened with', async () => {
    const { file, model } = await written('plain')
    expect(await readCalibration(file, model)).toEqual({ settings: chosen.settings, misfit: null })
    const record = JSON.parse(await readFile(file, 'utf8'))
    expect(record.model).toMatchObject({ file: 'plain.gguf', sha256: await sha256(model) })
    expect(record.shape).toEqual({ n: 64, promptTokens: 256, tokens: 128 })
    expect(record).not.toHaveProperty('path')
  })

  it('knows its model by the checksum when the date is another', async () => {
    const { file, model } = await written('touched')
    await utimes(model, new Date(0), new Date(0))
    expect((await readCalibration(file, model)).misfit).toBeNull()
    const bytes = await readFile(model)
    bytes.writeUInt8(bytes.readUInt8(bytes.length - 1) ^ 1, bytes.length - 1)
    await writeFile(model, bytes)
    expect(await readCalibration(file, model)).toEqual({
      settings: null,
      misfit: expect.stringMatching(/^another model: touched\.gguf of \d+ bytes, and this is touched\.gguf/)
    })
  })

  it.each([
    ['cores', 'machine', 'another machine: cores 7777, and this has '],
    ['cpu', 'machine', 'another machine: cpu 7777, and this has '],
    ['gpuLayers', 'placement', 'another placement: gpuLayers 7777, and this has -1']
  ])('is not for another %s', async (key, part, misfit) => {
    const { file, model } = await written(key)
    await changed(file, (record) => {
      const own = record[part] as Record<string, unknown>
      own[key] = typeof own[key] === 'number' ? 7777 : '7777'
    })
    const found = await readCalibration(file, model)
    expect(found.settings).toBeNull()
    expect(found.misfit).toContain(misfit)
  })

  it('is refused where it is broken or says what no model can be opened with', async () => {
    const { file, model } = await written('broken')
    await changed(file, ({ settings }) => Object.assign(settings as object, { kvType: 'f8' }))
    await expect(readCalibration(file, model)).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
    await writeFile(file, '{')
    await expect(readCalibration(file, model)).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
  })

  it('takes the place of a calibration and of nothing else', async () => {
    const { file, model } = await written('twice')
    await writeCalibration(file, model, { ...chosen, settings: { ...chosen.settings, threads: 2 } })
    expect((await readCalibration(file, model)).settings?.threads).toBe(2)
    await writeFile(file, '{"row":1}\n{"row":2}\n')
    await expect(writeCalibration(file, model, chosen)).rejects.toMatchObject({ code: 'WRITE_FAILED' })
    expect(await readFile(file, 'utf8')).toContain('"row":2')
    const nowhere = join(folder, 'missing', 'file.json')
    await expect(writeCalibration(nowhere, model, chosen)).rejects.toMatchObject({ code: 'WRITE_FAILED' })
  })

  it('of a model by address is for the file in the folder, and asks nobody for one that is not there', async () => {
    const [file, models] = [join(folder, 'address.json'), join(folder, 'models')]
    const address = 'https://model.invalid/model.gguf?key=secret'
    const misfit = 'embedded.gguf, and the model of this address is not here yet'
    const nowhere = await readCalibration((await written('embedded')).file, address, { models })
    expect(nowhere).toEqual({ settings: null, misfit })
    const path = join(models, addressOf(address, 'https://hub.invalid')?.place as string)
    await mkdir(dirname(path), { recursive: true })
    await copyFile(embedded.model, path)
    await writeCalibration(file, address, chosen, { models })
    expect(await readCalibration(file, address, { models })).toEqual({ settings: chosen.settings, misfit: null })
    expect(JSON.parse(await readFile(file, 'utf8')).model.file).toBe('model.gguf')
  })

  it('is the same for a variant that is named and one that is found', async () => {
    const { file, model } = await written('named', { gpu: loadBinding().libraries.variant })
    expect((await readCalibration(file, model, { gpu: 'auto' })).misfit).toBeNull()
  })
})

describe('a calibration on the command line', () => {
  beforeEach(() => void vi.stubEnv('WINNOW_THREADS', undefined))
  afterEach(() => void vi.unstubAllEnvs())

  /** What a command's flags come to in a folder with a calibration for the embedded model. */
  const flagsOf = async (argv: string[], name = 'cli') => {
    const cwd = await mkdtemp(join(folder, name))
    await writeCalibration(join(cwd, calibrationName), undefined, chosen)
    const terminal = fakeTerminal({ cwd })
    const command = new Command('run')
    addModelFlags(command)
    addOutputFlags(command)
    command.hook('preAction', () => applyCalibration(command, terminal))
    let flags: Record<string, unknown> = {}
    command.action((own) => {
      flags = own
    })
    await command.parseAsync(argv, { from: 'user' })
    return { flags, err: terminal.err() }
  }

  it('stands in for flags that nobody gave, and that is said', async () => {
    const { flags, err } = await flagsOf([])
    expect(flags).toMatchObject(chosen.settings)
    expect(err).toMatch(
      /^From winnow\.calibration\.json: threads 1, batch 128, kvType f16, flashAttention auto, drawing host\.\n$/
    )
  })

  it('gives way to a flag', async () => {
    const { flags, err } = await flagsOf(['--threads', '2'])
    expect(flags.threads).toBe(2)
    expect(err).not.toContain('threads')
  })

  it('is not used for another model or placement, and that is said', async () => {
    const other = join(folder, 'other.gguf')
    await writeFile(other, 'GGUF')
    for (const argv of [
      ['-m', other],
      ['--gpu-layers', '3']
    ]) {
      const { flags, err } = await flagsOf(argv)
      expect(flags.threads).toBe(0)
      expect(err).toMatch(/^winnow\.calibration\.json is not used: it was made for .+\. Run winnow calibrate\.\n$/)
    }
  })

  it('leaves what is wrong with a flag to be said as without it', async () => {
    await expect(flagsOf(['--gpu', 'foo'])).rejects.toMatchObject({ code: 'OPTION_INVALID' })
    await expect(flagsOf(['-m', 'https://example.org/a'])).rejects.toMatchObject({ code: 'OPTION_INVALID' })
    const gpu = 'foo' as 'cpu'
    await expect(writeCalibration(join(folder, 'foo.json'), undefined, chosen, { gpu })).rejects.toMatchObject({
      code: 'OPTION_INVALID'
    })
  })

  it('gives way to winnow.config.json, as results show', async () => {
    const cwd = await mkdtemp(join(folder, 'main'))
    await writeCalibration(join(cwd, calibrationName), undefined, chosen)
    const script = { length: () => 4 }
    const opened = (async () =>
      fakeEngine(script, { head: false, facts: { path: embedded.model } }).engine) as typeof open
    const threads = async () => {
      const terminal = fakeTerminal({ cwd })
      expect(await main(['run', 'hi', '-n', '2', '--json', '--quiet'], terminal, opened)).toBe(0)
      expect(terminal.err()).toBe('')
      return JSON.parse(terminal.out()).options.threads
    }
    expect(await threads()).toBe(1)
    await writeFile(join(cwd, 'winnow.config.json'), '{"threads":2}')
    expect(await threads()).toBe(Math.min(2, availableParallelism()))
    await writeFile(join(cwd, calibrationName), '{}')
    const terminal = fakeTerminal({ cwd })
    expect(await main(['run', 'hi'], terminal, opened)).toBe(2)
    expect(terminal.err()).toContain('Expected a calibration in ')
  })

  const winnow = async (argv: string[], cwd: string, measure: typeof calibrate = async () => chosen) => {
    const terminal = fakeTerminal({ cwd })
    let code = -1
    const command = calibrateCommand(
      terminal,
      (own) => {
        code = own
      },
      measure
    )
    await command.parseAsync(argv, { from: 'user' })
    return { code, terminal, out: terminal.out(), err: terminal.err() }
  }

  it('is measured as the flags say, written where other commands read it, and printed', async () => {
    const cwd = await mkdtemp(join(folder, 'command'))
    let asked: CalibrateOptions | undefined
    const argv = ['-n', '16', '--prompt-tokens', '99', '--seconds', '2', '--allow-numerics', '--json']
    const { code, out, err } = await winnow(argv, cwd, async (_, options) => {
      asked = options
      return chosen
    })
    expect(code).toBe(0)
    expect(asked).toMatchObject({ n: 16, promptTokens: 99, seconds: 2, allowNumerics: true, gpu: 'auto' })
    expect(JSON.parse(out)).toMatchObject({ schemaVersion: 1, settings: chosen.settings, layout: 'streams' })
    expect(err).toBe('Written to winnow.calibration.json.\n')
    expect((await readCalibration(join(cwd, calibrationName))).settings).toEqual(chosen.settings)
  })

  it('prints a table, why each setting is what it is, and what was given up', async () => {
    const cwd = await mkdtemp(join(folder, 'table'))
    const machine: Partial<Machine> = {
      step: ({ threads }) => threads / 1000,
      fails: ({ flashAttention }) => (flashAttention === 'off' ? 'OUT_OF_MEMORY' : null)
    }
    const { calibration } = await calibrated(machine, {}, 2)
    const { out } = await winnow([], cwd, async () => calibration)
    expect(out).toMatch(/^64 candidates, 256 tokens of prompt, 128 to write; \d+\.\d s\n/)
    expect(out).toMatch(/\nthreads 1 +1\.00 +2560 +0% +0\.0 +\S+ \S+ +\d+\n/)
    expect(out).toContain('\nflashAttention off was given up: Expected memory but received OUT_OF_MEMORY\n')
    expect(out).toMatch(/\nthreads 1 \(changed\): 1 took 0\.6\d of the time of 2, /)
    expect(out).toMatch(/\nkvType f16 \(kept\): /)
  })

  it('writes nothing over a file that is something else, and measures nothing then', async () => {
    const cwd = await mkdtemp(join(folder, 'guard'))
    await writeFile(join(cwd, 'rows.jsonl'), 'rows')
    let measured = false
    const measuring = winnow(['--out', 'rows.jsonl'], cwd, async () => {
      measured = true
      return chosen
    })
    await expect(measuring).rejects.toMatchObject({ code: 'WRITE_FAILED' })
    expect(measured).toBe(false)
    expect(await readFile(join(cwd, 'rows.jsonl'), 'utf8')).toBe('rows')
  })

  it('that is interrupted writes nothing and exits with 130', async () => {
    const cwd = await mkdtemp(join(folder, 'interrupted'))
    const terminal = fakeTerminal({ cwd })
    let code = -1
    const measure: typeof calibrate = (_, options) =>
      new Promise((_, reject) => {
        options?.signal?.addEventListener('abort', () => reject(options.signal?.reason))
        terminal.send('SIGINT')
      })
    const command = calibrateCommand(
      terminal,
      (own) => {
        code = own
      },
      measure
    )
    await command.parseAsync([], { from: 'user' })
    expect(code).toBe(130)
    expect(terminal.err()).toContain('Nothing was written to winnow.calibration.json.')
    await expect(readFile(join(cwd, calibrationName))).rejects.toMatchObject({ code: 'ENOENT' })
  })
})
