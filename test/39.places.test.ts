import { describe, expect, it } from 'vitest'
import { Places } from '../src/reward/places.js'

const never = new AbortController().signal
const settled = () => new Promise<void>((resolve) => setImmediate(resolve))

/** Notes in `log` when it has its place. */
function taking(places: Places, streams: number, log: string[], name: string, signal = never) {
  const place = places.take(streams, signal)
  place.then(
    () => log.push(name),
    () => log.push(`${name} left`)
  )
  return place
}

describe('places', () => {
  it('are given in the order of the asking, while all together are few enough', async () => {
    const [places, log]: [Places, string[]] = [new Places(10), []]
    const first = taking(places, 6, log, 'six')
    void taking(places, 4, log, 'four')
    const third = taking(places, 3, log, 'three')
    void taking(places, 1, log, 'one')
    await settled()
    // The last would fit, but nobody overtakes.
    expect(log).toEqual(['six', 'four'])
    ;(await first)()
    await settled()
    expect(log).toEqual(['six', 'four', 'three', 'one'])
    ;(await third)()
  })

  it('are for one alone that wants more than there are', async () => {
    const [places, log]: [Places, string[]] = [new Places(10), []]
    const small = taking(places, 1, log, 'small')
    const large = taking(places, 99, log, 'large')
    void taking(places, 1, log, 'next')
    await settled()
    expect(log).toEqual(['small'])
    ;(await small)()
    await settled()
    expect(log).toEqual(['small', 'large'])
    ;(await large)()
    await settled()
    expect(log).toEqual(['small', 'large', 'next'])
  })

  it('are not waited for by one whose signal ends, who stands in nobody’s way', async () => {
    const [places, log]: [Places, string[]] = [new Places(10), []]
    const leaving = new AbortController()
    void taking(places, 8, log, 'first')
    const second = taking(places, 8, log, 'second', leaving.signal)
    void taking(places, 2, log, 'third')
    leaving.abort(new Error('enough'))
    await expect(second).rejects.toThrow('enough')
    await settled()
    expect(log.sort()).toEqual(['first', 'second left', 'third'])
    await expect(places.take(1, AbortSignal.abort(new Error('late')))).rejects.toThrow('late')
  })

  it('become as many as there is memory for', async () => {
    const [places, log]: [Places, string[]] = [new Places(10), []]
    const first = taking(places, 3, log, 'first')
    expect(places.shrink(3)).toBe(false)
    const second = await taking(places, 4, log, 'second')
    expect(places.shrink(4)).toBe(true)
    second()
    void taking(places, 4, log, 'third')
    await settled()
    expect(log).toEqual(['first', 'second'])
    ;(await first)()
    await settled()
    expect(log).toEqual(['first', 'second', 'third'])
  })
})
