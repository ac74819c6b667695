import { describe, expect, it } from 'vitest'
import { calibrationOf } from '../src/report/calibration.js'
import { pointOf } from '../src/report/curve.js'
import { htmlOf } from '../src/report/html.js'
import { markdownOf } from '../src/report/markdown.js'
import { chapterOf } from '../src/report/page.js'
import type { Study } from '../src/report/study.js'
import { about, fakeArm, fakeStudy } from './fakes/study.js'

const control = 'random-kill:like=spec-reject'
const against = {
  'best-of-n': { gain: about(-0.01, 0.02), tokens: about(0.4, 0.01) },
  [control]: { gain: about(0.2, 0.02) }
}

function whole(): Study {
  const rounds = [
    { tokens: 8, prompts: 100, live: 64, killed: 32, bestAlive: 0.9 },
    { tokens: 16, prompts: 100, live: 32, killed: 16, bestAlive: 0.8 }
  ]
  const full = fakeArm('best-of-n')
  const arms = [full, fakeArm('spec-reject', { rounds }, against), fakeArm(control, { rounds })]
  const flow = (arm: string, live: number[]) => {
    return { arm, steps: [1, 2, 3], live, finished: [0, 1, 2], killed: [0, 0, 1], cells: [40, 80, 20] }
  }
  const told = { points: [[8, 0.5]] as const, right: true }
  return {
    ...fakeStudy(arms),
    curve: [{ ...pointOf(full), n: 1, generatedTokens: about(10) }, pointOf(full)],
    flows: [flow('best-of-n', [4, 4, 3]), flow('spec-reject', [4, 2, 1])],
    calibrations: [calibrationOf('at the end', [1, 2, 3], [false, true, true])],
    trajectories: {
      ...{ arm: 'spec-reject', scorer: 'head', prompt: 0, winner: 1, best: 0, n: 2 },
      told: [
        { ...told, id: 0, end: 'killed' },
        { ...told, id: 1, end: 'finished' }
      ]
    }
  }
}

/** The report of one study. */
function written(study: Study) {
  const chapters = [chapterOf(study, 0)]
  return { html: htmlOf(chapters, { studies: [study] }), markdown: markdownOf(chapters) }
}

describe('a report', () => {
  it('has every chart and every table that its figures allow, in both forms', () => {
    const titles = [
      'Quality against tokens',
      'Quality against wall time',
      'Where tokens went',
      'Survival by round',
      'Scores of one prompt',
      'What a score means',
      'Memory over time',
      'Where time went'
    ]
    const { html, markdown } = written(whole())
    expect([...html.matchAll(/<h3>([^<]*)<\/h3>/g)].map(([, title]) => title)).toEqual([...titles, 'How it was made'])
    expect([...markdown.matchAll(/^### (.*)$/gm)].map(([, title]) => title)).toEqual([...titles, 'How it was made'])
    expect(html.match(/<svg [^>]*role="img"/g)).toHaveLength(titles.length)
    expect(html.match(/<table>/g)).toHaveLength(titles.length + 1)
    expect(html).not.toContain('Not here')
  })

  it('begins with the verdict and ends with how it was made', () => {
    const { html, markdown } = written(whole())
    expect(html).toContain('<title>Rejection pays here: 40% of the tokens for 1.0 points fewer right</title>')
    expect(html.indexOf('Rejection pays here')).toBeLessThan(html.indexOf('<table>'))
    expect(html).toContain('<dt>command</dt><dd>winnow bench</dd>')
    expect(markdown).toMatch(/\*\*Rejection pays here: 40% of the tokens for 1\.0 points fewer right\.\*\*/)
    expect(markdown.trimEnd().endsWith('- command: winnow bench')).toBe(true)
  })

  it('names what these results have no figures for', () => {
    const arms = [fakeArm('best-of-n'), fakeArm('spec-reject', {}, against)]
    const { html, markdown } = written({ ...fakeStudy(arms), curve: whole().curve })
    const missing =
      'Not here, for want of figures in these results: where tokens went, survival by round, scores of one prompt, what a score means, memory over time.'
    expect(html).toContain(missing)
    expect(markdown).toContain(missing)
  })

  it('needs nothing but itself, and holds its data', () => {
    const study = whole()
    const { html } = written(study)
    expect(html).not.toMatch(/<link|<img|<script(?! type="application\/json")|@import|url\(/)
    expect(html.replaceAll('http://www.w3.org/2000/svg', '')).not.toContain('://')
    const [, data] = /<script type="application\/json" id="data">(.*)<\/script>/.exec(html) ?? []
    expect(JSON.parse(data as string)).toEqual(JSON.parse(JSON.stringify({ studies: [study] })))
  })

  it('takes names for names, whatever is in them', () => {
    const name = '</script><img src=x onerror=alert(1)>*a*|b'
    const arm = { ...fakeArm(name, {}, against), kind: 'rejecting' as const }
    const { html, markdown } = written({ ...whole(), arms: [fakeArm('best-of-n'), arm], files: [name] })
    expect(html).not.toContain('<img')
    expect(html.match(/<\/script>/g)).toHaveLength(1)
    expect(markdown).not.toMatch(/(?<!\\)<img/)
    expect(markdown).toContain('\\*a\\*\\|b')
  })

  it('has no number that is none, and no identifier twice', () => {
    const bare = fakeArm('best-of-n', { accuracy: null, meanScore: null, survival: null, regret: null, phases: {} })
    for (const study of [whole(), fakeStudy([bare]), { ...whole(), arms: [bare] }]) {
      const { html } = written(study)
      const visible = html.replace(/<script.*<\/script>/s, '')
      expect(visible).not.toMatch(/NaN|Infinity|undefined|null/)
      const ids = [...visible.matchAll(/ id="([^"]*)"/g)].map(([, id]) => id)
      expect(new Set(ids).size).toBe(ids.length)
    }
  })
})
