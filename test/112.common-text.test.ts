import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Branch } from '../src/branch.js'
import { CommonText, commonPrefix } from '../src/server/common-text.js'

/** A branch whose tokens are the bytes of its text. */
function branch(id: number, bytes: Uint8Array, live: boolean, cut = 0): Branch {
  const made = new Branch(id)
  made.append(Int32Array.from(bytes), new Float32Array(bytes.length), new Float32Array(bytes.length))
  made.status = live ? { state: 'live' } : { state: 'finished', reason: 'end' }
  made.cut = cut
  return made
}

const textsOf = async (tokens: readonly Int32Array[], cuts: readonly number[]) =>
  tokens.map((list, i) => new TextDecoder().decode(Uint8Array.from(list.subarray(0, list.length - (cuts[i] ?? 0)))))

async function common(branches: readonly Branch[], stops: readonly string[] = []) {
  const text = new CommonText(textsOf, stops, () => {})
  text.look(branches)
  await new Promise((resolve) => setImmediate(resolve))
  return text.text
}

const bytes = (text: string) => Buffer.from(text)

describe('the text that all who may win have in common', () => {
  it('is what they begin with alike', async () => {
    expect(await common([branch(0, bytes('one two'), true), branch(1, bytes('one three'), false)])).toBe('one t')
  })

  it('is all of the last one’s', async () => {
    expect(await common([branch(3, bytes('one two'), true)])).toBe('one two')
  })

  it('waits for whole characters', async () => {
    expect(await common([branch(0, bytes('né').subarray(0, 2), true)])).toBe('n')
    expect(await common([branch(0, bytes('a😀'), true), branch(1, bytes('a😁'), true)])).toBe('a')
  })

  it('waits where a stop text may have begun, until it has not', async () => {
    expect(await common([branch(0, bytes('one EN'), true)], ['NO'])).toBe('one E')
    expect(await common([branch(0, bytes('one EN'), true)], ['END'])).toBe('one ')
    expect(await common([branch(0, bytes('one EX'), true)], ['END'])).toBe('one EX')
    expect(await common([branch(0, bytes('one EN'), false)], ['END'])).toBe('one EN')
  })

  it('is read again only when somebody who held it up is gone', async () => {
    let read = 0
    const counting: typeof textsOf = (tokens, cuts) => {
      read++
      return textsOf(tokens, cuts)
    }
    const told: string[] = []
    const text = new CommonText(counting, [], (added) => told.push(added))
    const look = async (...branches: Branch[]) => {
      text.look(branches)
      await new Promise((resolve) => setImmediate(resolve))
    }
    await look(branch(0, bytes('ab'), true), branch(1, bytes('ac'), true))
    await look(branch(0, bytes('abab'), true), branch(1, bytes('acac'), true))
    expect([read, told]).toEqual([1, ['a']])
    await look(branch(0, bytes('ababab'), true))
    await look(branch(0, bytes('abababab'), true))
    expect([read, told]).toEqual([3, ['a', 'babab', 'ab']])
  })

  it('says nothing more once it is closed', async () => {
    const told: string[] = []
    const text = new CommonText(textsOf, [], (added) => told.push(added))
    text.look([branch(0, bytes('late'), true)])
    await text.close()
    text.look([branch(0, bytes('later'), true)])
    expect(told).toEqual([])
  })

  it('is what the answer begins with, whoever wins, however they are written and killed', async () => {
    const characters = fc.constantFrom('a', 'b', 'é', '😀', '😁', 'E', 'N', 'D')
    const answers = fc.array(fc.string({ unit: characters, maxLength: 12 }), { minLength: 1, maxLength: 4 })
    await fc.assert(
      fc.asyncProperty(answers, fc.array(fc.nat(3), { maxLength: 30 }), async (texts, steps) => {
        // The engine cuts an answer at its stop text.
        const finals = texts.map((text) => text.split('END')[0] as string)
        const whole = texts.map((text, i) => bytes(text.slice(0, text.includes('END') ? `${finals[i]}END`.length : 99)))
        const written = texts.map(() => 0)
        const killed = new Set<number>()
        const common = new CommonText(textsOf, ['END'], () => {})
        for (const [turn, step] of steps.entries()) {
          const id = step % texts.length
          written[id] = Math.min((whole[id] as Buffer).length, (written[id] as number) + 1 + (turn % 3))
          if (turn % 11 === 10 && killed.size < texts.length - 1) killed.add(id)
          const seen = whole.map((all, i) => {
            const live = (written[i] as number) < all.length
            const cut = !live && (texts[i] as string).includes('END') ? 3 : 0
            return branch(i, all.subarray(0, written[i]), live, cut)
          })
          common.look(seen.filter((_, i) => !killed.has(i)))
          if (turn % 2 === 0) await new Promise((resolve) => setImmediate(resolve))
        }
        await new Promise((resolve) => setImmediate(resolve))
        for (const [i, final] of finals.entries()) if (!killed.has(i)) expect(final.startsWith(common.text)).toBe(true)
      }),
      { numRuns: 300 }
    )
  })

  it('is a prefix of each, and no longer one would be', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'binary' }), { minLength: 1, maxLength: 5 }), (texts) => {
        const prefix = commonPrefix(texts)
        const of = (text: string) => [...text]
        expect(texts.every((text) => text.startsWith(prefix))).toBe(true)
        const next = new Set(texts.map((text) => of(text.slice(prefix.length))[0]))
        expect(next.size > 1 || next.has(undefined)).toBe(true)
      })
    )
  })
})
