import { createRequire } from 'node:module'
import { WinnowError } from './errors.js'
import { type Gpu, installedVariants, type Libraries, type Loader, openLibraries, releaseNumber } from './libraries.js'
import type { NativeSamplingRules } from './sampling-rules.js'
import { version } from './version.js'

/**
 * The whole native surface, and the only file that loads the addon. Every operation is a promise on a native
 * worker; arrays cross flat, once per checkpoint. A pool has one job in flight: a second one is rejected with
 * `POOL_BUSY` (the engine queues, the addon only refuses).
 */
export interface NativeDevice {
  readonly name: string
  readonly description: string
  readonly type: 'cpu' | 'gpu' | 'igpu' | 'accel'
  readonly memoryFree: number
  readonly memoryTotal: number
}

export interface NativeModelParams {
  readonly path: string
  readonly gpuLayers: number
  readonly devices: readonly string[]
  readonly split: 'none' | 'layer' | 'row'
  readonly mainGpu: number
  readonly tensorSplit: readonly number[]
  readonly mmap: boolean
  readonly mlock: boolean
  readonly checkTensors: boolean
  /** To be read by its rank head; the only way to open an encoder. Default false. */
  readonly ranker?: boolean
  /** False: nothing is allocated; such a model has facts, a vocabulary and sizes, and no pool takes it. Default true. */
  readonly weights?: boolean
}

/** Bytes on one device; what lies in the host's memory belongs to the CPU. */
export interface NativeDeviceSizes {
  readonly device: string
  /** All of the model's. */
  readonly weights: number
  readonly cells: number
  readonly compute: number
  /** Logits and states of one decode. */
  readonly outputs: number
}

/** What a context takes, as llama.cpp counts it. */
export interface NativeSizes {
  /** Those for ghosts included. */
  readonly streams: number
  readonly cellsPerStream: number
  readonly devices: readonly NativeDeviceSizes[]
}

export interface ModelFacts {
  readonly path: string
  readonly architecture: string
  readonly description: string
  readonly parameters: number
  /** Size of the weights, bytes. */
  readonly bytes: number
  readonly contextTrain: number
  /** Width of the hidden state after the final norm. */
  readonly width: number
  readonly layers: number
  readonly heads: number
  readonly headsKv: number
  readonly vocabulary: number
  readonly bos: number
  readonly eos: number
  readonly eot: number
  readonly addBos: boolean
  readonly hasTokenizer: boolean
  readonly chatTemplate: string | null
  /** Of a model opened as a ranker. */
  readonly rank?: RankFacts
}

/** The rank head of a reranker. */
export interface RankFacts {
  /** Reads query and document at once, both ways (`createRanker`). Otherwise a decoder, for a mirror (`rankHead`). */
  readonly encoder: boolean
  /** As the file names them: none, which is one label without a name, or one, or yes and no. */
  readonly labels: readonly string[]
  /** The text around {query} and {document}; empty where the file has none. */
  readonly template: string
}

export interface NativeModel {
  readonly facts: ModelFacts
  tokenize(text: string, addSpecial: boolean, parseSpecial: boolean): Promise<Int32Array>
  /**
   * Many sequences in one crossing: sequence i is tokens[offsets[i]..offsets[i+1]], less the last cuts[i] bytes of its
   * text. Invalid UTF-8 becomes U+FFFD.
   */
  detokenize(tokens: Int32Array, offsets: Int32Array, renderSpecial: boolean, cuts?: Int32Array): Promise<string[]>
  tokenText(token: number): string
  /** Idempotent. Weights are freed once the last pool that uses them is gone. */
  close(): void
}

export interface HeadFacts {
  readonly path: string
  readonly kind: 'linear' | 'mlp'
  readonly activation: string
  readonly width: number
  /** 0 for a linear head. */
  readonly hidden: number
  readonly features: readonly string[]
  readonly trainedOn: string
  readonly modelSha256: string
}

export interface NativeHead {
  readonly facts: HeadFacts
  /** states: rows x width; features: rows x 9 (`featureNames`). Returns one logit a row, calibrated by position where the head file says so. */
  apply(states: Float32Array, features: Float32Array): Float32Array
  close(): void
}

export interface NativePoolParams {
  readonly streams: number
  readonly cellsPerStream: number
  readonly threads: number
  readonly batch: number
  readonly kvType: 'f32' | 'f16' | 'q8_0' | 'q4_0'
  readonly flashAttention: 'auto' | 'on' | 'off'
  readonly states: boolean
  readonly deterministic: boolean
}

export interface NativeForkParams {
  readonly count: number
  readonly seed: bigint
  readonly firstCandidate: number
  readonly maxTokens: number
  readonly temperature: number
  readonly topK: number
  readonly topP: number
  readonly minP: number
  readonly stopTokens: Int32Array
  /** What the branches write in place of what they would sample; list i is tokens[offsets[i]..offsets[i+1]]. */
  readonly given?: TokenLists
  /** What else decides the tokens, and what ends them. Without effect on given ones. */
  readonly rules?: NativeSamplingRules
  /** Fill `certainties` and `topConfidences` of `NativeAdvance`. Default false. */
  readonly certainties?: boolean
  /** In a stream of its own, for later forks; otherwise the first branch takes the prompt's stream. Default false. */
  readonly keepPrompt?: boolean
}

export interface TokenLists {
  readonly tokens: Int32Array
  readonly offsets: Int32Array
}

export type AdvanceReason = 'reached' | 'settled' | 'full' | 'room' | 'deadline' | 'aborted'

/** Codes in `NativeAdvance.status`. */
export const BranchCode = { live: 0, end: 1, stop: 2, length: 3, killed: 4, parked: 5, refused: 6 } as const

export interface NativePrefill {
  readonly reason: 'reached' | 'deadline' | 'aborted'
  /** Of a pool; 0 unless reached. */
  readonly race: number
  readonly tokens: number
  /** Fewer than `tokens` where the cells of a like beginning could be copied. */
  readonly decoded: number
  readonly seconds: number
}

/** What happened to a race in a turn: branches[i] took counts[i] tokens, flat and branch-major in `tokens`. */
export interface NativeAdvance {
  readonly reason: AdvanceReason
  readonly steps: number
  readonly branches: Int32Array
  readonly counts: Int32Array
  readonly status: Uint8Array
  /** Bytes to take off the end of the branch's text: a stop string, and what came with it. */
  readonly cuts: Int32Array
  /** Whole tokens of these. */
  readonly cutTokens: Int32Array
  readonly tokens: Int32Array
  readonly logprobs: Float32Array
  readonly entropies: Float32Array
  /** Empty unless the fork asked for them. */
  readonly certainties: Float32Array
  readonly topConfidences: Float32Array
  /** Rows decoded, ghost rows included. */
  readonly decoded: number
  /** The race's share, by rows, of what was decoded together. */
  readonly decodeSeconds: number
  readonly sampleSeconds: number
  /** The most cells that the race has held at once, so far. */
  readonly cellsPeak: number
}

export interface NativeOccupancy {
  readonly streams: number
  readonly streamsUsed: number
  readonly streamsFree: number
  readonly cellsPerStream: number
  readonly cells: number
  readonly cellsUsed: number
  readonly cellsFree: number
  readonly cellsPeak: number
  readonly live: number
  readonly kvBytes: number
  /** Copies of parked branches' cells, in the host's memory. */
  readonly parkedBytes: number
}

/** KV memory in equal streams, for any number of races: a prompt each, and its branches. */
export interface NativePool {
  /** A new race, in a free stream. Cut short it leaves nothing behind. Seconds; 0 means no deadline. */
  prefill(prompt: Int32Array, deadlineSeconds: number): Promise<NativePrefill>
  fork(race: number, params: NativeForkParams): Promise<void>
  /**
   * `turns`: pairs of a race and the generated tokens that its branches go to. `least`: for each turn, how many of them must
   * still be on their way for it to go on; where there are fewer it has `room`. Default 0. Ends as soon as one race is
   * there, settled, full or has room. One outcome for each turn; null for a race that runs still, which is told when its
   * turn ends.
   */
  advance(turns: Int32Array, deadlineSeconds: number, least?: Int32Array): Promise<(NativeAdvance | null)[]>
  kill(race: number, ids: Int32Array): Promise<void>
  /** Frees the cells of branches, which go on after `resume`. `copy`: they are kept in the host's memory meanwhile. */
  park(race: number, ids: Int32Array, copy: boolean): Promise<void>
  /** The tokens that were decoded again. */
  resume(race: number, ids: Int32Array): Promise<number>
  /** Streams of another number and length; who lives goes on there. If they cannot be had all is as it was. */
  reshape(streams: number, cellsPerStream: number): Promise<void>
  /** Forgets a race and frees what it holds; an unknown one is ignored. */
  end(race: number): Promise<void>
  score(head: NativeHead, race: number, ids: Int32Array): Promise<Float32Array>
  states(race: number, ids: Int32Array): Promise<Float32Array>
  confidence(race: number, ids: Int32Array): Promise<Float32Array>
  /** As of the end of the last job. */
  occupancy(): NativeOccupancy
  /** What llama.cpp has allocated for it. */
  sizes(): Promise<NativeSizes>
  /** Ends the job in flight at its next step, which then resolves with reason `aborted`. No job: no effect. */
  abort(): void
  /** Idempotent. Aborts a job in flight, waits for it, then frees the context. */
  close(): Promise<void>
}

export type NativeMirrorParams = Omit<NativePoolParams, 'states' | 'deterministic'>

/** Which branches of a mirror get which new tokens, and where they are scored. */
export interface NativeMirrorRequest {
  /** Branches, each once. */
  readonly ids: Int32Array
  /** Of each branch: how many of its tokens stay, the prefix among them; the rest is removed. 0 to its length. */
  readonly keep: Int32Array
  /** New tokens of branch i: tokens[offsets[i]..offsets[i+1]]; may be none. */
  readonly tokens: Int32Array
  /** One more than ids. */
  readonly offsets: Int32Array
  /** One for each new token, 1: also score after this token. Of length 0: none. */
  readonly marks: Uint8Array
  /** Decoded behind each branch, scored at its last token, then removed. Of length 0: scored at the branch's own end. */
  readonly suffix: Int32Array
}

export interface NativeMirrorScores {
  /** Cut short, branches hold the tokens they were given all the same, and the next score decodes the rest. */
  readonly reason: 'reached' | 'deadline' | 'aborted'
  /** One raw logit for each id; empty unless reached. */
  readonly scores: Float32Array
  /** One for each mark, in the order of the tokens; empty unless reached. */
  readonly marked: Float32Array
  /** Rows decoded, those of suffixes included. */
  readonly decoded: number
  readonly suffixDecoded: number
  readonly seconds: number
}

/** A reward model's KV memory that follows the branches of a pool: tokens are given, and each is decoded once. */
export interface NativeMirror {
  /** Seconds; 0 means no deadline. A prefill cut short leaves the mirror empty. */
  prefill(prefix: Int32Array, deadlineSeconds: number): Promise<NativePrefill>
  /** Branches 0..count-1 that share the prefix. Once per prefill. */
  fork(count: number): Promise<void>
  /** Takes heads without features only. */
  score(head: NativeHead, request: NativeMirrorRequest, deadlineSeconds: number): Promise<NativeMirrorScores>
  /** Frees the cells of these branches at once; ids dropped before are ignored. */
  drop(ids: Int32Array): Promise<void>
  /** As of the end of the last job. */
  occupancy(): NativeOccupancy
  /** Ends the job in flight soon, which then resolves with reason `aborted`. No job: no effect. */
  abort(): void
  /** Idempotent. Aborts a job in flight, waits for it, then frees the context. */
  close(): Promise<void>
}

export interface NativeRankerParams {
  /** Most tokens of a sequence. */
  readonly context: number
  /** Rows of a batch, raised to `context`. */
  readonly batch: number
  /** 0: as many as the machine has. */
  readonly threads: number
  readonly flashAttention: 'auto' | 'on' | 'off'
}

export interface NativeRankScores {
  readonly reason: 'reached' | 'deadline' | 'aborted'
  /**
   * One for each sequence; empty unless reached. The raw logit of the head's one label, or that of yes less that of no;
   * of Jina BERT v2 its hyperbolic tangent, which llama.cpp puts on it.
   */
  readonly scores: Float32Array
  /** Rows decoded. */
  readonly decoded: number
  readonly batches: number
  readonly seconds: number
}

/** An encoder with a rank head. Nothing is kept between calls: a text that grew is read again. */
export interface NativeRanker {
  /** The tokens around a query and a document: before, query, between, document, after. */
  readonly frame: { readonly before: Int32Array; readonly between: Int32Array; readonly after: Int32Array }
  /** Most tokens of a sequence. */
  readonly context: number
  /** Sequence i is tokens[offsets[i]..offsets[i+1]], of 1 to `context` tokens. Seconds; 0 means no deadline. */
  score(tokens: Int32Array, offsets: Int32Array, deadlineSeconds: number): Promise<NativeRankScores>
  /** Ends the job in flight soon, which then resolves with reason `aborted`. No job: no effect. */
  abort(): void
  /** Idempotent. Aborts a job in flight, waits for it, then frees the context. */
  close(): Promise<void>
}

export interface NativeRandomModelParams {
  readonly path: string
  readonly architecture: string
  readonly weights: 'f32' | 'f16' | 'q8_0' | 'q4_0'
  readonly tokenizer: 'bytes' | 'none'
  readonly vocabulary: number
  readonly width: number
  readonly layers: number
  readonly heads: number
  readonly headsKv: number
  readonly feedForward: number
  readonly context: number
  readonly spread: number
  readonly seed: bigint
  readonly chatTemplate: string
}

/**
 * Some labelled rows of a table (the state's columns first; rows of one group lie side by side), and of them as many
 * columns as are fitted. The addon copies just these.
 */
export interface NativeFitRows {
  /** The table's values row by row, `partRows` rows a part; the last part may have room to spare. */
  readonly parts: readonly Float32Array[]
  readonly partRows: number
  readonly tableColumns: number
  readonly firstColumn: number
  /** Numbers of rows in the table. */
  readonly rows: Int32Array
  /** One a row of `rows`, as groups are. */
  readonly labels: Float32Array
  readonly groups: Int32Array
}

export interface NativeFitParams {
  readonly columns: number
  readonly stateColumns: number
  /** Labels are 0..1. */
  readonly binary: boolean
  /** 0 for a linear head. */
  readonly hidden: number
  readonly epochs: number
  readonly patience: number
  readonly batch: number
  readonly rate: number
  readonly decay: number
  readonly dropout: number
  readonly ranking: number
  readonly threads: number
  readonly seed: bigint
}

export interface NativeEpoch {
  readonly index: number
  readonly trainLoss: number
  readonly validationLoss: number
}

export interface NativeFit {
  readonly stopped: boolean
  /** Flat, as the head file has them. */
  readonly parameters: Float32Array
  /** Of the features. */
  readonly mean: Float32Array
  readonly deviation: Float32Array
  readonly epochs: readonly NativeEpoch[]
  readonly best: number
}

export interface NativeBinding {
  readonly addonVersion: string
  /** What the headers said at build time. */
  readonly compiledLlamaVersion: string
  readonly featureNames: readonly string[]
  /** What the loaded library says of itself. */
  llamaVersion(): string
  loadBackends(folder: string): void
  devices(): NativeDevice[]
  systemInfo(): string
  setLogger(logger: ((level: number, text: string) => void) | null): void
  loadModel(params: NativeModelParams, onProgress?: (share: number) => void): Promise<NativeModel>
  loadHead(path: string): Promise<NativeHead>
  createPool(model: NativeModel, params: NativePoolParams): Promise<NativePool>
  createMirror(model: NativeModel, params: NativeMirrorParams): Promise<NativeMirror>
  /** Takes an encoder opened as a ranker. */
  createRanker(model: NativeModel, params: NativeRankerParams): Promise<NativeRanker>
  /**
   * Of a decoder opened as a ranker: its one output for the last token's state, or that of yes less that of no. No
   * softmax, which llama.cpp's own rank pooling applies and which makes 1.0 of any text where there is one label.
   */
  rankHead(model: NativeModel): NativeHead
  /** What such a pool would take, without making it. Takes models opened without weights only. */
  poolSizes(model: NativeModel, params: NativePoolParams): Promise<NativeSizes>
  /** Likewise for a mirror. */
  mirrorSizes(model: NativeModel, params: NativeMirrorParams): Promise<NativeSizes>
  fitHead(
    train: NativeFitRows,
    validation: NativeFitRows,
    params: NativeFitParams,
    onEpoch: ((epoch: NativeEpoch) => void) | null
  ): { readonly done: Promise<NativeFit>; stop(): void }
  writeRandomModel(params: NativeRandomModelParams): Promise<void>
}

export interface Loaded {
  readonly binding: NativeBinding
  readonly libraries: Libraries
}

const require = createRequire(import.meta.url)
const addonFolder = '../build/addon/Release'
let loaded: Loaded | null = null

/**
 * Opens the libraries of a variant and the addon on top of them; later calls return the same. `auto` (the default)
 * follows the environment variable WINNOW_GPU where it is set.
 *
 * Throws ADDON_MISSING, ADDON_MISMATCH, VERSION_MISMATCH, VARIANT_LOADED, VARIANT_UNAVAILABLE, BACKEND_LOAD.
 */
export function loadBinding(options: { readonly gpu?: Gpu | undefined } = {}): Loaded {
  const gpu = wantedGpu(options.gpu ?? 'auto')
  if (loaded !== null && (gpu === 'auto' || gpu === loaded.libraries.variant)) return loaded
  const loader = requireAddon<Loader>('loader.node')
  const { backends, ...libraries } = openLibraries(loader, gpu, installedVariants())
  const binding = requireAddon<NativeBinding>('winnow.node')
  checkVersions(binding, libraries)
  for (const path of backends) loader.loadBackend(path)
  try {
    binding.loadBackends(libraries.folder)
  } catch (error) {
    throw WinnowError.from(error)
  }
  loaded = { binding, libraries: explainMissingDevice(libraries, binding) }
  return loaded
}

function wantedGpu(gpu: Gpu): Gpu {
  const fromEnvironment = process.env.WINNOW_GPU
  if (gpu !== 'auto' || fromEnvironment === undefined || fromEnvironment === '') return gpu
  const known: readonly string[] = ['auto', 'cuda', 'vulkan', 'metal', 'cpu']
  if (known.includes(fromEnvironment)) return fromEnvironment as Gpu
  throw new WinnowError(
    'OPTION_INVALID',
    `Expected auto, cuda, vulkan, metal or cpu for WINNOW_GPU but received "${fromEnvironment}"`
  )
}

function requireAddon<Module>(name: string): Module {
  try {
    return require(`${addonFolder}/${name}`) as Module
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND')
      throw new WinnowError('ADDON_MISMATCH', `Expected to load ${name} but received "${(cause as Error).message}"`, {
        cause
      })
    throw new WinnowError(
      'ADDON_MISSING',
      `Expected the compiled addon ${name} but found none: it is built when the package is installed, by cmake and a C++ compiler. Run npm rebuild winnow-llm (npm 12 first wants npm install-scripts approve winnow-llm), or npm run build:addon in the repository`,
      { cause }
    )
  }
}

function checkVersions(binding: NativeBinding, libraries: Libraries): void {
  if (binding.addonVersion !== version) {
    throw new WinnowError(
      'ADDON_MISMATCH',
      `Expected the addon of winnow-llm ${version} but received one of ${binding.addonVersion}. Run npm rebuild winnow-llm`
    )
  }
  if (releaseNumber(binding.llamaVersion()) !== releaseNumber(binding.compiledLlamaVersion)) {
    throw new WinnowError(
      'VERSION_MISMATCH',
      `Expected llama.cpp ${binding.compiledLlamaVersion}, which the addon was compiled for, but the libraries in ${libraries.folder} say ${binding.llamaVersion()}`
    )
  }
}

/** A GPU variant without a GPU works, on the CPU; the reason should say so. */
function explainMissingDevice(libraries: Libraries, binding: NativeBinding): Libraries {
  if (libraries.variant === 'cpu' || binding.devices().some(({ type }) => type !== 'cpu')) return libraries
  const tried = libraries.tried.map((attempt) =>
    attempt.ok ? { ...attempt, reason: `no ${attempt.variant} device found; runs on the CPU` } : attempt
  )
  return { ...libraries, tried }
}
