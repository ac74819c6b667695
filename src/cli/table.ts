export type TableStyle = 'text' | 'md' | 'csv'

/** Rows of the same columns as text; the first column to the left, the others to the right. */
export function drawTable(columns: readonly string[], rows: readonly (readonly string[])[], style: TableStyle): string {
  if (style === 'csv') return [columns, ...rows].map((row) => row.map(quoted).join(',')).join('\n')
  const widths = columns.map((name, i) =>
    Math.max(...[name, ...rows.map((row) => row[i] ?? '')].map((cell) => cell.length))
  )
  const line = (row: readonly string[]) =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] as number) : cell.padStart(widths[i] as number)))
  if (style === 'text') return [columns, ...rows].map((row) => line(row).join('  ').trimEnd()).join('\n')
  const rule = widths.map((width, i) => (i === 0 ? '-'.repeat(width) : `${'-'.repeat(Math.max(1, width - 1))}:`))
  return [line(columns), rule, ...rows.map(line)].map((row) => `| ${row.join(' | ')} |`).join('\n')
}

function quoted(cell: string): string {
  return /[",\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell
}
