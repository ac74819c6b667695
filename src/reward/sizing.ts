import { WinnowError } from '../errors.js'
import type { Rung } from '../ladder.js'
import type { Taken } from '../memory.js'
import { type Outline, takenOf } from '../outline.js'
import type { Weights } from '../rooms.js'
import { serves } from './cells.js'
import type { Present, resolveReward } from './reward-model.js'
import { layOut, type Read } from './session.js'
import { vocabularyOf } from './vocabulary.js'

/** What a reward model takes in one race: its weights, and the mirror that its session asks for. */
export class RewardSizing {
  readonly #outline: Outline
  /** Tokens that each branch is given room for. */
  readonly #cells: number
  readonly #held: Present['cells']
  readonly weights: Weights
  /** What the mirror at hand takes. */
  readonly freed: readonly Taken[]

  private constructor(
    outline: Outline,
    cells: number,
    held: Present['cells'],
    weights: Weights,
    freed: readonly Taken[]
  ) {
    this.#outline = outline
    this.#cells = cells
    this.#held = held
    this.weights = weights
    this.freed = freed
  }

  /**
   * The prompt is put into its template and cut into its tokens, as for a race. `present`: what of it is in memory, null
   * for nothing. Throws what beginning a race by it would.
   */
  static async of(
    outline: Outline,
    { reading, opening }: ReturnType<typeof resolveReward>,
    present: Present | null,
    race: Read
  ): Promise<RewardSizing> {
    const { model } = outline
    const vocabulary = await vocabularyOf(model.facts.path)
    const template = reading.template === undefined ? model.facts.chatTemplate : reading.template
    const { cells } = await layOut(
      { model, vocabulary, template, reencode: reading.reencode },
      reading.steps ?? null,
      race
    )
    // The weights come with any context, and a mirror's outputs alone may be more than there is room for.
    const sizes = await outline.pool({ width: 1, cells: 1 }, { states: false, deterministic: false })
    const held = present?.cells ?? null
    const freed = held === null ? [] : await heldBy(outline, { width: held.streams, cells: held.cells })
    const weights = { sizes, loaded: present !== null, mmap: opening.mmap }
    return new RewardSizing(outline, Math.min(cells, model.facts.contextTrain), held, weights, freed)
  }

  /** A mirror lasts the whole race: for so many branches, as long as the longest from the first rung on. */
  async takenAt(width: number): Promise<readonly Taken[]> {
    const held = this.#held
    const kept = serves(held, width, this.#cells)
    const shape = kept ? { width: held.streams, cells: held.cells } : { width, cells: this.#cells }
    return takenOf(await this.#outline.mirror(shape))
  }
}

/** Nothing where there is no memory left to lay it out beside itself: then less is counted as free. */
async function heldBy(outline: Outline, shape: Rung): Promise<readonly Taken[]> {
  try {
    return takenOf(await outline.mirror(shape))
  } catch (error) {
    if (WinnowError.is(error) && error.code === 'OUT_OF_MEMORY') return []
    throw error
  }
}
