import { writeHeadFile } from '../../src/heads/file.js'

/** Writes a linear head that reads states alone, and resolves with its path. */
export async function linearHead(path: string, weight: Float32Array, bias = 0): Promise<string> {
  const outer = { weight, bias: Float32Array.of(bias) }
  const trained = { activation: 'silu', trainedOn: 'nothing', modelSha256: '' } as const
  await writeHeadFile(path, { width: weight.length, features: [], inner: null, outer, ...trained })
  return path
}
