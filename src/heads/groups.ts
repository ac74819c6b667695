/** Rows with the same key side by side; groups and rows in the order they come in. */
export function groupsOf<T>(rows: readonly T[], keyOf: (row: T) => number): T[][] {
  const groups = new Map<number, T[]>()
  for (const row of rows) {
    const own = groups.get(keyOf(row))
    if (own === undefined) groups.set(keyOf(row), [row])
    else own.push(row)
  }
  return [...groups.values()]
}

export function byPrompt<T extends { readonly prompt: number }>(rows: readonly T[]): T[][] {
  return groupsOf(rows, ({ prompt }) => prompt)
}
