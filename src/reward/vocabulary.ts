import { createHash } from 'node:crypto'
import { stat } from 'node:fs/promises'
import { gguf } from '@huggingface/gguf'

/** What of a GGUF's metadata decides which text a token stands for and how text is cut into tokens. */
const keys = ['model', 'pre', 'tokens', 'token_type', 'merges', 'add_space_prefix'] as const

/** By path; a file that was replaced is read again. Large vocabularies take a while to read. */
const known = new Map<string, { readonly version: string; readonly digest: Promise<string> }>()

/**
 * SHA-256 over the vocabulary of a GGUF file, hexadecimal: models with the same one read each other's tokens. Token
 * scores are left out, since converters write them differently for the same vocabulary.
 */
export async function vocabularyOf(path: string): Promise<string> {
  const { mtimeMs, size } = await stat(path)
  const version = `${mtimeMs}:${size}`
  const held = known.get(path)
  if (held?.version === version) return held.digest
  const digest = read(path)
  known.set(path, { version, digest })
  return digest
}

async function read(path: string): Promise<string> {
  const { metadata } = await gguf(path, { allowLocalFile: true })
  const hash = createHash('sha256')
  for (const key of keys) {
    const value = (metadata as Record<string, unknown>)[`tokenizer.ggml.${key}`] ?? null
    hash.update(`${key}\0${JSON.stringify(value)}\0`)
  }
  return hash.digest('hex')
}
