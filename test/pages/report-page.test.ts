import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openChromium } from '../fakes/chromium.js'
import { FakeWorkplace } from '../fakes/recording.js'

let at: FakeWorkplace
let browser: Browser
let address = ''
const measured = new URL('../../bench/results/arith-n64.json', import.meta.url).pathname

beforeAll(async () => {
  at = new FakeWorkplace(await mkdtemp(join(tmpdir(), 'winnow-page-')))
  await at.record(40)
  const out = join(at.folder, 'report.html')
  const policy = 'spec-reject,spec-reject:scorer=min-logprob,keep-enough'
  const where = ['--out', out, '--checkpoints', 'every:4', '--quiet']
  const { code, err } = await at.winnow('report', at.traces, measured, '--policy', policy, ...where)
  expect([code, err]).toEqual([0, ''])
  address = pathToFileURL(out).href
  browser = await openChromium()
})
afterAll(async () => {
  await browser?.close()
  await rm(at.folder, { recursive: true })
})

/** The page at a width, and everything that went wrong while it was opened. */
async function opened(width: number, colorScheme: 'light' | 'dark' = 'light') {
  const page = await browser.newPage({ viewport: { width, height: 800 }, colorScheme })
  const trouble: string[] = []
  page.on('console', (message) => trouble.push(message.text()))
  page.on('pageerror', (error) => trouble.push(error.message))
  page.on('request', (request) => {
    if (request.url() !== address) trouble.push(request.url())
  })
  await page.goto(address)
  return { page, trouble }
}

/** How far a page is wider than its window. */
function overflow(page: Page): Promise<number> {
  return page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth')
}

/** Texts of charts that are cut off at an edge, or lie on each other. */
const wrongTexts = `[...document.querySelectorAll('figure > svg')].flatMap((svg) => {
  const { width, height } = svg.viewBox.baseVal
  const texts = [...svg.querySelectorAll('text')].map((text) => [text.textContent, text.getBBox()])
  const cut = texts.filter(([, box]) => box.x < 0 || box.y < 0 || box.x + box.width > width || box.y + box.height > height)
  const over = texts.filter(([, a], i) => texts.some(([, b], j) => i < j &&
    a.x < b.x + b.width && b.x < a.x + a.width && a.y + 3 < b.y + b.height && b.y + 3 < a.y + a.height))
  return [...cut, ...over].map(([text]) => svg.querySelector('title').textContent + ': ' + text)
})`

describe('the page in a browser', () => {
  for (const width of [1280, 390, 320]) {
    it(`opens ${width} pixels wide without an error, a request or a thing that is too wide`, async () => {
      const { page, trouble } = await opened(width)
      expect(trouble).toEqual([])
      expect(await overflow(page)).toBe(0)
      expect(await page.locator('figure > svg').count()).toBe(8 + 3)
      expect(await page.evaluate(wrongTexts)).toEqual([])
      const first = await page.locator('h1').boundingBox()
      expect((first?.y ?? 800) + (first?.height ?? 0)).toBeLessThan(400)
      await page.close()
    })
  }

  it('is dark where that is wished for, and readable in both', async () => {
    const contrast = async (scheme: 'light' | 'dark') => {
      const { page } = await opened(1280, scheme)
      const colours: string[] = await page.evaluate(
        "['body', 'h1', '.note', 'svg text', 'th'].map((which) => getComputedStyle(document.querySelector(which))).flatMap((style) => [style.color])"
      )
      const ground: string = await page.evaluate('getComputedStyle(document.body).backgroundColor')
      await page.close()
      return { ground: luminance(ground), least: Math.min(...colours.map((colour) => ratio(colour, ground))) }
    }
    const [light, dark] = [await contrast('light'), await contrast('dark')]
    expect(light.ground).toBeGreaterThan(0.9)
    expect(dark.ground).toBeLessThan(0.05)
    expect(Math.min(light.least, dark.least)).toBeGreaterThan(4.5)
  })

  it('prints light, with nothing wider than the paper', async () => {
    const { page, trouble } = await opened(794, 'dark')
    await page.emulateMedia({ media: 'print', colorScheme: 'dark' })
    expect(await page.evaluate('getComputedStyle(document.body).backgroundColor')).toBe('rgb(255, 255, 255)')
    const paper = await page.pdf({ format: 'A4' })
    expect(paper.subarray(0, 5).toString()).toBe('%PDF-')
    expect(trouble).toEqual([])
    await page.close()
  })

  it('names every chart and every table for who cannot see them', async () => {
    const { page } = await opened(1280)
    const charts = page.locator('figure > svg')
    for (const chart of await charts.all()) {
      const [title, description] = await Promise.all(
        ['title', 'desc'].map((name) => chart.locator(`> ${name}`).textContent())
      )
      expect(await chart.getAttribute('role')).toBe('img')
      expect((title ?? '').length).toBeGreaterThan(5)
      expect((description ?? '').length).toBeGreaterThan(20)
    }
    expect(await page.locator('table').count()).toBe(await page.locator('.table[aria-label]').count())
    await page.close()
  })
})

/** Relative luminance and contrast of WCAG 2.2. */
function luminance(colour: string): number {
  const [red = 0, green = 0, blue = 0] = (colour.match(/\d+/g) ?? []).map((value) => {
    const share = Number(value) / 255
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4
  })
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue
}

function ratio(one: string, other: string): number {
  const [dark = 0, light = 0] = [luminance(one), luminance(other)].sort((a, b) => a - b)
  return (light + 0.05) / (dark + 0.05)
}
