import { drawTable } from '../cli/table.js'
import type { Chapter } from './page.js'

/** The report without its charts: every sentence and every figure of the page. */
export function markdownOf(chapters: readonly Chapter[]): string {
  return `${['# What rejection costs and keeps', ...chapters.flatMap(linesOf)].join('\n\n')}\n`
}

function linesOf({ title, verdicts, columns, rows, sections, missing, facts }: Chapter): string[] {
  const [first, ...others] = verdicts
  return [
    `## ${safe(title)}`,
    ...(first === undefined ? [] : [`**${safe(first.headline)}.**`, list(first.details)]),
    ...others.map(({ arm, headline, details }) => `${safe(arm ?? '')}: ${safe(headline)}. ${safe(details.join(' '))}`),
    table(columns, rows),
    'Means a prompt, with 95% intervals of a bootstrap over prompts. Survival: prompts on which best-of-N’s pick is returned.',
    ...sections.flatMap((section) => [
      `### ${section.title}`,
      safe(section.text),
      table(section.columns, section.rows)
    ]),
    ...(missing.length === 0 ? [] : [`Not here, for want of figures in these results: ${missing.join(', ')}.`]),
    '### How it was made',
    list(facts.map(([name, text]) => `${name}: ${text}`))
  ].filter((line) => line !== '')
}

function list(items: readonly string[]): string {
  return items.map((item) => `- ${safe(item)}`).join('\n')
}

function table(columns: readonly string[], rows: readonly (readonly string[])[]): string {
  const cells = (row: readonly string[]) => row.map((cell) => safe(cell).replaceAll('|', '\\|'))
  return drawTable(cells(columns), rows.map(cells), 'md')
}

/** Names of arms and files are anybody's: no markup of theirs takes effect. */
function safe(text: string): string {
  return text.replace(/[\\`*_<>]|\](?=\()/g, (sign) => `\\${sign}`).replace(/\s+/g, ' ')
}
