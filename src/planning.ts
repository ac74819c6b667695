/** The facts a plan rests on: measured sizes, free memory, the prompt's tokens. What follows from them is plan.ts. */
import { localAdapters } from './adapter.js'
import type { ModelFacts, NativeBinding } from './binding.js'
import { expected, WinnowError } from './errors.js'
import { type Rung, toBlock } from './ladder.js'
import { type LayoutFacts, layoutFacts, maxStreams } from './layout.js'
import { together } from './memory.js'
import {
  type BestOfOptions,
  type ResolvedBestOfOptions,
  type ResolvedOpenOptions,
  resolveBestOf,
  resolveCandidates
} from './options.js'
import { Outline, takenOf } from './outline.js'
import type { Pace } from './pace.js'
import { type Plan, plan } from './plan.js'
import { type Prompt, type PromptInput, readPrompt } from './prompt.js'
import { Reranker } from './reward/reranker.js'
import { type Present, RewardModel, type RewardModelOptions, resolveReward } from './reward/reward-model.js'
import { RewardSizing } from './reward/sizing.js'
import { adapterWeights, roomsOf } from './rooms.js'
import { ownsModel, type Scorer } from './scorer.js'
import { partsWithin } from './scorers/blend.js'
import { rewardHead } from './scorers/head.js'
import { meanLogprob } from './scorers/mean-logprob.js'
import { type HeldPool, type PoolNeeds, poolsFor, serves } from './streams.js'

export interface PlanOptions extends BestOfOptions {
  /**
   * The reward model that scores, as `rewardModel` takes it: its weights, cells and buffers are counted in. Default: the one
   * that a scorer runs. Where no scorer is named this is the one.
   */
  readonly reward?: RewardToPlan | undefined
}

type RewardToPlan = Omit<RewardModelOptions, 'head'> & { readonly head?: string | undefined }

/** Where a race would run. */
export interface Site {
  readonly binding: NativeBinding
  readonly path: string
  readonly options: ResolvedOpenOptions
  /** Whether the weights are in memory already. */
  readonly loaded: boolean
  /** Whether an adapter is in memory already, by its path. Default: none is. */
  readonly hasAdapter?: ((path: string) => boolean) | undefined
  /** Whether there is a reward head. */
  readonly head: boolean
  /** The pool at hand. */
  readonly held: HeldPool | null
  readonly pace: Pace | null
  /** Whether other races are in the pool at hand, or wait for one. */
  readonly shared: boolean
}

/**
 * Where a race plans for itself `known` leaves out the memory of scorers that cannot be counted; otherwise they are refused.
 */
export async function planRace(
  site: Site,
  n: number,
  input: PromptInput,
  options: PlanOptions,
  signal: AbortSignal,
  counted: 'all' | 'known' = 'all'
): Promise<Plan> {
  resolveCandidates(n)
  const { reward: named, ...rest } = options
  const race = resolveBestOf(rest)
  const budget = race.budget ?? null
  const ranking = race.scorer ?? (named === undefined ? defaultScorer(site.head) : null)
  const scorers = [...(ranking === null ? [] : [ranking]), ...(race.pipeline?.rewards ?? [])]
  const owners = [...new Set(scorers.flatMap(partsWithin).filter(ownsModel))]
  const left = counted === 'known' && !(owners.length === 1 && owners[0] instanceof RewardModel)
  const reward = left ? undefined : (named ?? owners.find((owner) => owner instanceof RewardModel)?.asked)
  const present = left ? null : presentOf(owners, reward)
  const outlines: Outline[] = []
  const outlined = async (path: string, opening: ResolvedOpenOptions): Promise<Outline> => {
    signal.throwIfAborted()
    const outline = await Outline.open(site.binding, path, { ...opening, signal })
    outlines.push(outline)
    return outline
  }
  try {
    const generator = await outlined(site.path, site.options)
    // Before the outline takes memory for adapters, which it gives back.
    const devices = site.binding.devices()
    const lora = await localAdapters(race.lora, { ...site.options, signal })
    const adapted = await generator.adapt(lora)
    const prompt = await readPrompt(generator.model, input, race.raw)
    const { deterministic } = race
    const maxTokens = fitTokens(generator.model.facts, prompt, race.maxTokens)
    const states = scorers.some(({ needs }) => needs.includes('states'))
    const cellsPerStream = prompt.tokens.length + maxTokens
    const needs = { cellsPerStream, states, deterministic, adapters: adapted.set }
    const rewarding =
      reward === undefined ? null : await rewardOf(reward, present, outlined, generator, prompt, maxTokens)
    const { held } = site
    // The pool at hand, where it gets other adapters, keeps states even for a race that reads none.
    const keeping = (pool: Rung) => {
      const atHand = held !== null && isHeld(held, pool, { ...needs, adapters: held.needs.adapters })
      return atHand ? { ...needs, states: held.needs.states } : needs
    }
    // One candidate in one block: the weights come with any shape.
    const own = await generator.pool({ width: 1, cells: 1 }, needs)
    const models = [
      { sizes: own, loaded: site.loaded, mmap: site.options.mmap },
      ...adapted.facts.map((facts) => adapterWeights(facts, site.hasAdapter?.(facts.path) === true)),
      ...(rewarding === null ? [] : [rewarding.weights])
    ]
    const freed = [...(held === null ? [] : takenOf(held.sizes)), ...(rewarding?.freed ?? [])]
    const ownCells = own.devices.reduce((sum, { cells }) => sum + cells, 0)
    return await plan({
      n,
      promptTokens: prompt.tokens.length,
      maxTokens,
      policy: race.policy,
      checkpoints: race.checkpoints,
      room: roomsOf(devices, models, freed),
      budget,
      ladder: race.policy.onFull === true,
      deterministic,
      layout: layoutAt(site, generator.model.facts),
      pace: site.pace,
      ownBytesPerCell: ownCells / (own.streams * own.cellsPerStream),
      poolsFor: (rung) => (ownsPool(n, race) || rung.unifiedCells !== undefined ? [rung] : poolsAt(held, rung, needs)),
      sizesOf: async (pool, width) => {
        signal.throwIfAborted()
        const written = takenOf(isHeld(held, pool, needs) ? held.sizes : await generator.pool(pool, keeping(pool)))
        return rewarding === null ? written : together(written, await rewarding.takenAt(width))
      }
    })
  } finally {
    for (const outline of outlines) outline.close()
  }
}

/** Where memory decides, or one context has not the streams: the race has a pool of just its shape. */
export function ownsPool(n: number, { budget, policy }: Pick<ResolvedBestOfOptions, 'budget' | 'policy'>): boolean {
  return budget !== undefined || policy.onFull === true || n > maxStreams
}

export function layoutAt(
  { binding, options, shared }: Pick<Site, 'binding' | 'options' | 'shared'>,
  facts: ModelFacts
): LayoutFacts {
  return layoutFacts(options, facts, binding.devices(), shared)
}

/** What `acquire` would try for a rung. A race asks for its tokens, not for whole blocks. */
function poolsAt(held: HeldPool | null, rung: Rung, needs: Omit<PoolNeeds, 'streams'>): Rung[] {
  const cellsPerStream = Math.min(rung.cells, needs.cellsPerStream)
  return poolsFor(held?.needs ?? null, { ...needs, streams: rung.width, cellsPerStream }).map((pool) => ({
    width: pool.streams,
    cells: toBlock(pool.cellsPerStream)
  }))
}

function isHeld(held: HeldPool | null, pool: Rung, needs: Omit<PoolNeeds, 'streams'>): held is HeldPool {
  if (
    held === null ||
    pool.unifiedCells !== undefined ||
    pool.width !== held.needs.streams ||
    pool.cells !== toBlock(held.needs.cellsPerStream)
  ) {
    return false
  }
  return serves(held.needs, { ...needs, streams: pool.width })
}

/**
 * What of the reward model that scores is in memory; null for nothing, or where none scores. Throws OPTION_INVALID for
 * scorers whose memory a plan would leave out.
 */
function presentOf(owners: readonly Scorer[], reward: RewardToPlan | undefined): Present | null {
  if (owners.some((scorer) => scorer instanceof Reranker)) {
    const message = 'Expected scorers that a plan can size but received a reranker, which cannot be sized'
    throw new WinnowError('OPTION_INVALID', message)
  }
  if (owners.length > 1) {
    throw expected('OPTION_INVALID', 'at most one reward model', 'a plan', owners.length)
  }
  const [owner] = owners
  if (owner === undefined) return null
  if (reward === undefined) {
    throw expected('OPTION_INVALID', 'the options of the reward model that scores', 'reward', reward)
  }
  const present = owner instanceof RewardModel ? owner.present : null
  return present?.path === reward.model ? present : null
}

async function rewardOf(
  reward: RewardToPlan,
  present: Present | null,
  outlined: (path: string, opening: ResolvedOpenOptions) => Promise<Outline>,
  generator: Outline,
  { turns }: Prompt,
  maxTokens: number
): Promise<RewardSizing> {
  // No head is opened.
  const resolved = resolveReward({ ...reward, head: reward.head ?? reward.model })
  const outline = await outlined(reward.model, resolved.opening)
  return RewardSizing.of(outline, resolved, present, { turns, model: generator.model.facts, maxTokens })
}

/** What the model's trained context holds of `maxTokens` after the prompt. Throws PROMPT_TOO_LONG. */
export function fitTokens({ contextTrain }: ModelFacts, prompt: Prompt, maxTokens: number): number {
  const room = contextTrain - prompt.tokens.length
  if (room < 1) {
    throw new WinnowError(
      'PROMPT_TOO_LONG',
      `Expected at most ${contextTrain - 1} tokens for the prompt, the model's context of ${contextTrain} less one to write, but received ${prompt.tokens.length}`
    )
  }
  return Math.min(maxTokens, room)
}

/** What ranks where nobody says. */
export function defaultScorer(head: boolean): Scorer {
  return head ? rewardHead() : meanLogprob()
}
