import { onAbort } from '../abort.js'
import type { NativeBinding, NativeFit } from '../binding.js'
import { fromAddon, WinnowError } from '../errors.js'
import { generator } from '../statistics.js'
import type { HeadNet } from './net.js'
import type { HeadTable } from './table.js'

export interface TrainOptions {
  /** Width of the state; the rest of a row are features. */
  readonly stateColumns: number
  /** Labels are 0..1. */
  readonly binary: boolean
  /** Units of the hidden layer; 0 for a linear head. */
  readonly hidden: number
  readonly epochs: number
  /** Weight of ranking within prompts beside the label itself. */
  readonly ranking: number
  /** Share of state columns left out in a step; the others count the more (native/engine/head_fit.h). */
  readonly dropout: number
  readonly decay: number
  readonly threads: number
  readonly seed: number
  readonly signal?: AbortSignal | undefined
  readonly onEpoch?: ((part: HeadPart, epoch: NativeFit['epochs'][number]) => void) | undefined
}

/** What of a row a head is given. */
export type HeadPart = 'both' | 'features' | 'state'

/** Prompts, not rows, are divided: a head must not be tested on prompts it has seen. */
export interface Division {
  readonly train: ReadonlySet<number>
  readonly validation: ReadonlySet<number>
  readonly test: ReadonlySet<number>
}

/** 65% to fit, 15% to stop early, 20% to measure; at least one prompt each. Throws OPTION_INVALID below ten prompts. */
export function divide(prompts: readonly number[], seed: number): Division {
  const all = [...new Set(prompts)]
  if (all.length < 10) {
    throw new WinnowError('OPTION_INVALID', `Expected at least 10 prompts to train on but received ${all.length}`)
  }
  const draw = generator(seed)
  for (let i = all.length - 1; i > 0; i--) {
    const j = Math.floor(draw() * (i + 1))
    ;[all[i], all[j]] = [all[j] as number, all[i] as number]
  }
  const [first, second] = [Math.floor(all.length * 0.65), Math.floor(all.length * 0.8)]
  return {
    train: new Set(all.slice(0, first)),
    validation: new Set(all.slice(first, second)),
    test: new Set(all.slice(second))
  }
}

/** Fits a head to a part of the rows; deterministic by seed. Rejects with the signal's reason. */
export async function fitPart(
  binding: NativeBinding,
  table: HeadTable,
  { train, validation }: Division,
  part: HeadPart,
  options: TrainOptions
): Promise<HeadNet> {
  const { stateColumns, binary, hidden, epochs, ranking, dropout, decay, threads, seed, signal, onEpoch } = options
  const [from, to] = columnsOf(part, stateColumns, table.columns)
  const states = part === 'features' ? 0 : stateColumns
  signal?.throwIfAborted()
  const job = binding.fitHead(
    table.part(train, from),
    table.part(validation, from),
    {
      columns: to - from,
      stateColumns: states,
      binary,
      hidden,
      epochs,
      patience: Math.max(5, Math.ceil(epochs / 4)),
      batch: 1024,
      rate: 3e-3,
      decay,
      dropout,
      ranking,
      threads,
      seed: BigInt(seed)
    },
    onEpoch === undefined ? null : (epoch) => onEpoch(part, epoch)
  )
  const release = onAbort(signal, () => job.stop())
  try {
    const fit = await fromAddon(() => job.done)
    signal?.throwIfAborted()
    return { stateColumns: states, hidden, fit }
  } finally {
    release()
  }
}

/** The columns of a row that a part has. */
export function columnsOf(part: HeadPart, stateColumns: number, columns: number): readonly [number, number] {
  return [part === 'features' ? stateColumns : 0, part === 'state' ? stateColumns : columns]
}
