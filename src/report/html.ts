import type { Chapter } from './page.js'
import type { LegendItem, Section } from './section.js'
import { style } from './style.js'
import { element, escaped, sign } from './svg.js'
import type { Verdict } from './verdict.js'

/** One page that needs nothing but itself: no script, no font, no image from elsewhere. `data` is what it was made of, as JSON. */
export function htmlOf(chapters: readonly Chapter[], data: unknown): string {
  const title = chapters[0]?.verdicts[0]?.headline ?? ''
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="color-scheme" content="light dark">
<title>${escaped(title)}</title>
<style>${style}</style>
</head>
<body>
<main>
${chapters.map(chapterOf).join('\n')}
</main>
<script type="application/json" id="data">${JSON.stringify(data).replaceAll('<', '\\u003c')}</script>
</body>
</html>
`
}

function chapterOf({ title, verdicts, columns, rows, sections, missing, facts }: Chapter, place: number): string {
  const [first, ...others] = verdicts
  return [
    `<article aria-labelledby="title${place}">`,
    first === undefined ? '' : headlineOf(first, title, place),
    others.length === 0 ? '' : `<ul class="others">${others.map(otherOf).join('')}</ul>`,
    tableOf(columns, rows, 'All policies'),
    '<p class="note">Means a prompt, with 95% intervals of a bootstrap over prompts. Survival: prompts on which best-of-N’s pick is returned. Regret: how far below the best score of its prompt, of the range of scores.</p>',
    `<div class="sections">${sections.map(sectionOf).join('\n')}</div>`,
    missing.length === 0
      ? ''
      : `<p class="note">Not here, for want of figures in these results: ${missing.join(', ')}.</p>`,
    `<footer><h3>How it was made</h3><dl>${facts.map(factOf).join('')}</dl></footer>`,
    '</article>'
  ].join('\n')
}

function headlineOf({ answer, headline, details }: Verdict, title: string, place: number): string {
  const heading = place === 0 ? 'h1' : 'h2'
  const items = details.map((detail) => `<li>${escaped(detail)}</li>`).join('')
  return [
    `<header class="${answer}">`,
    `<p class="what">${escaped(title)}</p>`,
    `<${heading} id="title${place}">${escaped(headline)}.</${heading}>`,
    items === '' ? '' : `<ul>${items}</ul>`,
    '</header>'
  ].join('\n')
}

function otherOf({ arm, answer, headline, details }: Verdict): string {
  const text = `${headline}. ${details.join(' ')}`
  return `<li class="${answer}"><b>${escaped(arm ?? '')}</b> ${escaped(text)}</li>`
}

function sectionOf({ title, text, chart, legend, columns, rows }: Section): string {
  return [
    '<section>',
    `<h3>${title}</h3>`,
    `<p>${escaped(text)}</p>`,
    `<figure>${chart}<figcaption>${legend.map(legendOf).join('')}</figcaption></figure>`,
    tableOf(columns, rows, title),
    '</section>'
  ].join('\n')
}

function legendOf({ name, style, drawn }: LegendItem): string {
  const line = (dashed: string) => element('path', { class: `line ${style}${dashed}`, d: 'M1 7H21' })
  const marks =
    drawn === 'line'
      ? line('')
      : drawn === 'dashed'
        ? line(' dashed')
        : drawn === 'area'
          ? element('rect', { class: `area ${style}`, x: 4, y: 1, width: 14, height: 12 })
          : sign(drawn, 11, 7, `mark ${style}`)
  const key = element('svg', { viewBox: '0 0 22 14', width: 22, height: 14, 'aria-hidden': 'true' }, marks)
  return `<span>${key}<span>${breakable(name)}</span></span>`
}

/** Wide ones are moved under the finger and by the keyboard; the page itself stays as wide as the screen. */
function tableOf(columns: readonly string[], rows: readonly (readonly string[])[], name: string): string {
  const head = columns.map((column) => (column === '' ? '<td></td>' : `<th scope="col">${breakable(column)}</th>`))
  const body = rows.map(([first = '', ...cells]) => {
    const others = cells.map((cell) => `<td>${escaped(cell)}</td>`)
    return `<tr><th scope="row">${breakable(first)}</th>${others.join('')}</tr>`
  })
  const table = `<table><thead><tr>${head.join('')}</tr></thead><tbody>${body.join('')}</tbody></table>`
  return `<div class="table" role="region" tabindex="0" aria-label="${escaped(name)}, figures">${table}</div>`
}

/** Names of policies are long: they may end a line after a colon or an equals sign. */
function breakable(name: string): string {
  return escaped(name).replace(/[:=](?=\w)/g, '$&<wbr>')
}

function factOf([name, text]: readonly [string, string]): string {
  return `<dt>${escaped(name)}</dt><dd>${escaped(text)}</dd>`
}
