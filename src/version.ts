import { readFileSync } from 'node:fs'

const manifest = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  readonly version: string
  readonly engines: { readonly node: string }
}

/** Of the package; the addon must say the same. */
export const version: string = manifest.version

/** The oldest Node that runs it, "20.17". */
export const nodeRequired: string = manifest.engines.node.replace('>=', '')

/** Whether `actual` ("v20.20.2") is `required` ("20.17") or later. */
export function atLeast(actual: string, required: string): boolean {
  const parts = actual.replace(/^v/, '').split('.').map(Number)
  for (const [place, needed] of required.split('.').map(Number).entries()) {
    const part = parts[place] ?? 0
    if (part !== needed) return part > needed
  }
  return true
}
