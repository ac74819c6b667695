import { isAbsolute, join, relative } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { addressOf, partsOf, withoutSecrets } from '../src/address.js'

const hub = 'https://huggingface.co'
const place = (text: string) => addressOf(text, hub)?.place

describe('an address', () => {
  it.each(['model.gguf', '/a/b.gguf', './hf:org/repo:file.gguf', 'C:\\models\\a.gguf', 'hfx:y', 'httpd/a.gguf', ''])(
    'is not what is a path: %s',
    (text) => {
      expect(addressOf(text, hub)).toBeNull()
    }
  )

  it('names a file on the hub, at a revision where one is given', () => {
    expect(addressOf('hf:org/repo:sub/a.gguf', hub)).toEqual({
      kind: 'file',
      repository: 'org/repo',
      revision: 'main',
      file: 'sub/a.gguf',
      place: 'hf/org/repo/sub/a.gguf'
    })
    expect(addressOf('hf:org/repo@refs/pr/1:a.gguf', hub)).toMatchObject({
      revision: 'refs/pr/1',
      place: 'hf/org/repo@refs%2Fpr%2F1/a.gguf'
    })
    expect(place('hf:org/repo@main:a.gguf')).toBe('hf/org/repo/a.gguf')
    expect(place('hf:org/console:com10.gguf')).toBe('hf/org/console/com10.gguf')
  })

  it('names a quantisation, whose place begins with the name of the model', () => {
    expect(addressOf('hf:org/Repo-GGUF:q4_k_m', hub)).toEqual({
      kind: 'quantisation',
      repository: 'org/Repo-GGUF',
      quantisation: 'Q4_K_M',
      place: 'hf/org/Repo-GGUF/Repo.Q4_K_M.gguf'
    })
  })

  it('of a file on a page of the hub is the same as its hf: form', () => {
    for (const kind of ['resolve', 'blob']) {
      expect(addressOf(`${hub}/org/repo/${kind}/main/sub/a%20b.gguf?download=true`, hub)).toEqual(
        addressOf('hf:org/repo:sub/a b.gguf', hub)
      )
    }
    expect(addressOf('https://example.org/org/repo/resolve/main/a.gguf', hub)?.kind).toBe('url')
  })

  it('on the web has a place for each server, path and query', () => {
    expect(addressOf('https://example.org/x/../y/a%20b.gguf#top', hub)).toEqual({
      kind: 'url',
      url: 'https://example.org/y/a%20b.gguf',
      place: 'https/example.org/y/a%20b.gguf'
    })
    expect(place('http://[::1]:8080/a.gguf')).toBe('http/%5B%3A%3A1%5D%3A8080/a.gguf')
    const [one, two] = [place('https://example.org/a.gguf?v=1'), place('https://example.org/a.gguf?v=2')]
    expect(one).toMatch(/^https\/example\.org\/[0-9a-f]{16}\/a\.gguf$/)
    expect(one).not.toBe(two)
  })

  it('of any part of a split model is that of the first', () => {
    expect(place('hf:org/repo:m-00002-of-00003.gguf')).toBe('hf/org/repo/m-00001-of-00003.gguf')
    expect(addressOf('https://example.org/m-00003-of-00003.gguf', hub)).toMatchObject({
      url: 'https://example.org/m-00001-of-00003.gguf',
      place: 'https/example.org/m-00001-of-00003.gguf'
    })
    expect(partsOf('m-00002-of-00002.gguf')).toEqual(['m-00001-of-00002.gguf', 'm-00002-of-00002.gguf'])
    expect(partsOf('m.gguf')).toEqual(['m.gguf'])
  })

  it.each([
    'hf:org/repo',
    'hf:repo:a.gguf',
    'hf:org/repo:../a.gguf',
    'hf:org/repo:a/../../../../b.gguf',
    'hf:org/repo:/etc/a.gguf',
    'hf:org/repo:a\\..\\b.gguf',
    'hf:org/repo:C:a.gguf',
    'hf:org/repo:a\u0000.gguf',
    'hf:org/repo:a\n.gguf',
    'hf:../repo:a.gguf',
    'hf:org/..:a.gguf',
    'hf:org/repo@..:a.gguf',
    'hf:org/repo@v1:Q4_K_M',
    'hf:org/repo:Q4 K M',
    `${hub}/org/repo/resolve/main/%2e%2e%2fa.gguf`,
    `${hub}/org/repo/resolve/main/a%2f..%2f..%2fb.gguf`,
    `${hub}/org/repo/resolve/main/%ff.gguf`,
    'https://example.org/',
    'https://example.org/model.bin',
    'https://example.org/a//b.gguf',
    'hf:org/aux:a.gguf',
    'hf:org/repo:CON.gguf',
    'hf:org/repo:lpt1/a.gguf',
    'hf:org/repo:nul .x.gguf',
    'hf:org/repo:a./b.gguf',
    'hf:org/repo:a /b.gguf',
    'https:///.gguf',
    'http://'
  ])('is refused where it is none, or its file would land elsewhere: %j', (text) => {
    expect(() => addressOf(text, hub)).toThrow(/^Expected hf:ORG\/REPO:FILE\.gguf, .* for the address of a model but/)
  })

  it('is refused with a password, which is not repeated, and so is no query', () => {
    expect(() => addressOf('https://me:secret@example.org/a.gguf', hub)).toThrow(
      'Expected no password for the address of a model but received one'
    )
    expect(() => addressOf('https://example.org/a?key=secret', hub)).toThrow(/received "https:\/\/example\.org\/a"$/)
  })

  it.each([
    'https://me:secret@example.org/model.bin',
    'https://me:secret@example.org:port/a.gguf',
    'https://me:secret?@example.org/a.gguf',
    'https://me:se/secret@example.org/a.gguf',
    'https:me:secret@example.org/a',
    'https://me:a secret@/a.gguf',
    'https://example.org/a#secret',
    'https://example.org/a//b.gguf?at=me@secret&secret',
    'hf:org/repo:a?secret'
  ])('is refused without its secret: %s', (text) => {
    const refusal = () => addressOf(text, hub)
    expect(refusal).toThrow(/for the address of a model but received/)
    expect(refusal).not.toThrow(/secret/)
  })

  it('in a command line is shown without its secrets, and everything else as it is', () => {
    expect(withoutSecrets('https://me:secret@example.org/a.gguf?key=secret#secret')).toBe('https://example.org/a.gguf')
    expect(withoutSecrets('--model=https://example.org/a.gguf?key=secret')).toBe('--model=https://example.org/a.gguf')
    expect(withoutSecrets('-mhttps://example.org/a.gguf?key=secret')).toBe('-mhttps://example.org/a.gguf')
    for (const text of ['--max-tokens', 'a?b#c', 'hf:org/repo@v1:a.gguf', '{"a":1}', 'see https://example.org?a']) {
      expect(withoutSecrets(text)).toBe(text)
    }
  })

  it('keeps whatever it says inside the folder', () => {
    const piece = fc.oneof(
      fc.constantFrom(
        '..',
        '.',
        '/',
        '\\',
        '%2e',
        '%2F',
        '%5c',
        ':',
        '@',
        '#',
        '?',
        '\u0000',
        ' ',
        'C:',
        'hf',
        '.gguf'
      ),
      fc.string({ maxLength: 4 })
    )
    const tail = fc.array(piece, { maxLength: 8 }).map((pieces) => pieces.join(''))
    const head = fc.constantFrom(
      'hf:org/repo:',
      'hf:',
      'hf:org/',
      'https://example.org/',
      `${hub}/org/repo/resolve/main/`
    )
    fc.assert(
      fc.property(head, tail, (head, tail) => {
        let found: string | undefined
        try {
          found = place(`${head}${tail}.gguf`)
        } catch (error) {
          expect(error).toMatchObject({ code: 'OPTION_INVALID' })
          return
        }
        const path = relative('/models', join('/models', found as string))
        expect(isAbsolute(path) || path.startsWith('..') || /[\\:]|\p{Cc}/u.test(path)).toBe(false)
        expect(path.split('/').length).toBeGreaterThanOrEqual(3)
      }),
      { numRuns: 2000 }
    )
  })
})
