/**
 * Which settings are fastest for a model on this machine: measured, one setting at a time, by contests of what could be
 * chosen against what is in force (contest.ts). What moves a number is only chosen where the caller allows it.
 */
import { availableParallelism } from 'node:os'
import { loadBinding, type NativeBinding, type NativeModel } from './binding.js'
import { type Calibration, choose, type SettingChoice, type SettingTrial, trialOf } from './calibration.js'
import { contest, type Entrant } from './contest.js'
import { embedded, example } from './embedded.js'
import { countKnob, type Knob, numberKnob, readKnobs } from './knob.js'
import { maxStreams } from './layout.js'
import { openModel } from './model.js'
import { type OpenOptions, type ResolvedOpenOptions, resolveCandidates, resolveOpen } from './options.js'
import { subjects } from './subject.js'
import { drawingOf, type Settings, timed } from './timing.js'

/** Options of `open` among them: threads, batch, kvType, flashAttention and drawing are what the search begins with. */
export interface CalibrateOptions extends Omit<OpenOptions, 'head'> {
  /** Candidates, 1..256. Default 64. */
  readonly n?: number | undefined
  /** Of the prompt; cut down to what the model's trained context holds. Default 256. */
  readonly promptTokens?: number | undefined
  /** That a candidate writes: what a step weighs beside the prompt. A few of them are run. Default 128. */
  readonly tokens?: number | undefined
  /** To measure in, once the model is loaded. Default 10. */
  readonly seconds?: number | undefined
  /** Whether what moves log-probabilities may be chosen. Default false. */
  readonly allowNumerics?: boolean | undefined
  /** Rejects with the signal's reason; ends a download too. */
  readonly signal?: AbortSignal | undefined
  /** After every round, of each trial that was in it. */
  readonly onTrial?: ((trial: SettingTrial) => void) | undefined
}

/** Steps of a run that count. */
const steps = 8

/**
 * Measures the model at `path`, which may be an address, or the embedded one, with the engine's own pool: prompt and steps of n candidates with
 * other threads, then other prompt batches, flash attention off, quantised cells, and tokens drawn elsewhere. Each setting keeps the value in
 * force unless another takes at least 3% less time in so many of at least five interleaved rounds that chance would do
 * that in fewer than 5 of 100 cases. Batches are compared by the prompt's time, all else by prompt + tokens x step.
 *
 * Flash attention, the type of the cells and the drawing always count as moving log-probabilities; threads and batch where a run shows
 * it. On a CPU they do by rounding: threads where a lone row reads more than 256 tokens (a single candidate, or the last
 * token of a prompt that long), a batch where it leaves fewer than 64 prompt tokens over. So what moved nothing at this
 * prompt length may at another.
 *
 * Throws what `open` does, and the reason of an aborted signal.
 */
export async function calibrate(path?: string, options: CalibrateOptions = {}): Promise<Calibration> {
  const { opening } = resolveCalibrate(options)
  return calibrateWith(loadBinding({ gpu: opening.gpu }).binding, path, options)
}

/** `calibrate` on a binding at hand: the addon's, or a test's. */
export async function calibrateWith(
  binding: NativeBinding,
  path: string | undefined,
  options: CalibrateOptions,
  cores = availableParallelism()
): Promise<Calibration> {
  const { signal, onTrial, opening, ...resolved } = resolveCalibrate(options)
  const { n, seconds, allowNumerics } = resolved
  signal?.throwIfAborted()
  const model = await openModel(binding, path ?? embedded.model, opening)
  try {
    const prompt = await promptOf(model, resolved.promptTokens)
    const course = { n, prompt, steps }
    const shape = { n, promptTokens: prompt.length, tokens: resolved.tokens }
    const began = performance.now()
    const deadline = began + seconds * 1000
    const run = (settings: Settings, until: number) => timed(binding, model, settings, course, until, signal)
    let settings: Settings = settingsOf(opening, cores)
    // The first run pages the weights in: it counts for what was computed, not for how long that took.
    const reference = await run(settings, deadline)
    const trials: SettingTrial[] = []
    const choices: SettingChoice[] = []
    for (const [i, subject] of subjects.entries()) {
      const cost = subject.cost(shape)
      const values = subject.values(settings, prompt.length, cores)
      const tried = values.map((value): Settings => ({ ...settings, [subject.setting]: value }))
      const trial = (entrant: Entrant) => trialOf(subject.setting, entrant, shape, cost, reference)
      const share = performance.now() + (deadline - performance.now()) / (subjects.length - i)
      const onRun = (entrant: Entrant) => onTrial?.(trial(entrant))
      const entrants =
        tried.length === 0 ? [] : await contest([settings, ...tried], { share, deadline, signal, run, onRun })
      const choice = choose(subject, settings, entrants, cost, (entrant) => trial(entrant).moved, allowNumerics)
      trials.push(...entrants.map(trial))
      choices.push(choice)
      settings = { ...settings, [subject.setting]: choice.value }
    }
    return { ...shape, seconds: (performance.now() - began) / 1000, trials, choices, settings }
  } finally {
    model.close()
  }
}

/** Text repeated, or without a tokenizer any tokens, so that no candidate's token ends it. */
async function promptOf(model: NativeModel, wanted: number): Promise<Int32Array> {
  const { contextTrain, vocabulary, hasTokenizer, bos, eos, eot } = model.facts
  const length = Math.max(1, Math.min(wanted, contextTrain - steps - 2))
  const any = Int32Array.from({ length: vocabulary }, (_, token) => token)
  const text = hasTokenizer ? await model.tokenize(example.prompt, false, false) : any
  const plain = text.filter((token) => token !== bos && token !== eos && token !== eot)
  return Int32Array.from({ length }, (_, i) => plain[i % plain.length] as number)
}

/** `threads` as many as compute: 0 is one a core. */
function settingsOf({ batch, kvType, flashAttention, ...options }: ResolvedOpenOptions, cores: number) {
  const threads = options.threads === 0 ? cores : options.threads
  return { threads, batch, kvType, flashAttention, drawing: drawingOf(options) }
}

function resolveCalibrate(options: CalibrateOptions) {
  const { n = 64, promptTokens, tokens, seconds, allowNumerics, signal, onTrial, ...opening } = options
  const resolved = readKnobs('calibrate', knobs, { promptTokens, tokens, seconds, allowNumerics })
  return {
    ...resolved,
    n: resolveCandidates(n, maxStreams),
    signal,
    onTrial,
    opening: resolveOpen({ ...opening, signal })
  }
}

const yesOrNo: Knob<boolean> = {
  text: 'true or false',
  test: (value): value is boolean => typeof value === 'boolean',
  fallback: false
}
const knobs = {
  promptTokens: countKnob(256, 2, 'tokens'),
  tokens: countKnob(128, 1, 'tokens'),
  seconds: numberKnob(10, 0.1, 86_400, 'a number of seconds from 0.1 to 86400'),
  allowNumerics: yesOrNo
}
