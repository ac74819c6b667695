import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { LoraOptions } from '../src/adapter.js'
import { loadBinding } from '../src/binding.js'
import { at as tokensAt } from '../src/checkpoint.js'
import { type Engine, open } from '../src/engine.js'
import { openAdapter, openModel, sha256 } from '../src/model.js'
import { type BestOfOptions, resolveOpen } from '../src/options.js'
import type { Plan } from '../src/plan.js'
import { planRace, type Site } from '../src/planning.js'
import { specReject } from '../src/policies/spec-reject.js'
import { writeRandomModel } from '../src/random-model.js'
import type { Result } from '../src/result.js'
import { fakeAdapter, fakePairs, writeMerged } from './fakes/adapter.js'
import { array, text } from './fakes/gguf.js'
import { modelHub } from './fakes/model-hub.js'

const MiB = 2 ** 20
const opening = { gpu: 'cpu', threads: 1, kvType: 'f32' } as const
const [one, other] = [
  { pairs: fakePairs(1), alpha: 8 },
  { pairs: fakePairs(2, 2), alpha: 3 }
]
const prompt = 'a b c d e f g h'
const raw = { raw: true, maxTokens: 24, deterministic: true }

let folder = ''
let engine: Engine
const at = (name: string) => join(folder, name)
beforeAll(async () => {
  loadBinding({ gpu: 'cpu' })
  folder = await mkdtemp(join(tmpdir(), 'winnow-adapter-'))
  await writeRandomModel(at('model.gguf'), { weights: 'f32' })
  await writeFile(at('one.gguf'), fakeAdapter(one.pairs, one.alpha))
  await writeFile(at('other.gguf'), fakeAdapter(other.pairs, other.alpha))
  engine = await open(at('model.gguf'), opening)
})
afterAll(async () => {
  await engine.close()
  await rm(folder, { recursive: true })
})

const tokensOf = ({ branches }: Result) => branches.map(({ tokens }) => [...tokens])
const logprobsOf = ({ branches }: Result) => branches.flatMap(({ logprobs }) => [...logprobs])
const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => 'none',
    (error: { code?: string }) => error.code
  )

/** What a program of the compiled library prints, in a process of its own. */
async function program(name: string, text: string, argv: string[], env: Record<string, string> = {}): Promise<string> {
  const library = new URL('../dist/index.js', import.meta.url).href
  await writeFile(at(`${name}.mjs`), `import { open } from '${library}'\n${text}`)
  const { HF_TOKEN: _, ...rest } = process.env
  const options = { env: { ...rest, ...env } }
  return (await promisify(execFile)(process.execPath, [at(`${name}.mjs`), ...argv], options)).stdout
}

/** What a model writes greedily, and what it thinks of an answer that somebody else wrote. */
async function judged(by: Engine, lora: LoraOptions[] = []) {
  const greedy = await by.bestOf(2, prompt, { ...raw, lora, sampling: { temperature: 0 } })
  const scored = await by.score(prompt, ['x y z and so on', 'q w e'], { ...raw, lora })
  return { tokens: tokensOf(greedy), logprobs: [...logprobsOf(greedy), ...logprobsOf(scored)] }
}

async function expectMerged(lora: LoraOptions[], parts: Parameters<typeof writeMerged>[2]) {
  await writeMerged(at('merged.gguf'), at('model.gguf'), parts)
  const merged = await open(at('merged.gguf'), opening)
  try {
    const [adapted, changed] = [await judged(engine, lora), await judged(merged)]
    expect(adapted.tokens).toEqual(changed.tokens)
    for (const [i, logprob] of changed.logprobs.entries()) expect(adapted.logprobs[i]).toBeCloseTo(logprob, 2)
  } finally {
    await merged.close()
  }
}

describe('a race with a LoRA adapter', () => {
  it.each([1, 0.5, -0.8])('at scale %s is one of a model whose weights were changed', async (scale) => {
    await expectMerged([{ path: at('one.gguf'), scale }], [{ ...one, scale }])
    expect((await judged(engine)).tokens).not.toEqual((await judged(engine, [{ path: at('one.gguf') }])).tokens)
  })

  it('adds up with another, in either order', async () => {
    const lora = [{ path: at('one.gguf'), scale: 0.7 }, { path: at('other.gguf') }]
    const parts = [
      { ...one, scale: 0.7 },
      { ...other, scale: 1 }
    ]
    await expectMerged(lora, parts)
    expect(await judged(engine, lora.toReversed())).toEqual(await judged(engine, lora))
  })

  it('at scale 0 is one without', async () => {
    expect(await judged(engine, [{ path: at('one.gguf'), scale: 0 }])).toEqual(await judged(engine))
  })

  it('tells which, at what scale', async () => {
    const lora = [{ path: at('other.gguf'), scale: -2 }, { path: at('one.gguf') }]
    const { lora: told } = await engine.bestOf(1, prompt, { ...raw, lora })
    expect(told).toEqual([
      { file: 'one.gguf', sha256: await sha256(at('one.gguf')), scale: 1 },
      { file: 'other.gguf', sha256: await sha256(at('other.gguf')), scale: -2 }
    ])
    expect((await engine.bestOf(1, prompt, raw)).lora).toEqual([])
  })

  it('writes what it writes alone, whatever adapters others have at the same time', async () => {
    const sets: LoraOptions[][] = [
      [],
      [{ path: at('one.gguf') }],
      [{ path: at('one.gguf'), scale: 0.5 }],
      [{ path: at('other.gguf') }],
      [{ path: at('one.gguf') }, { path: at('other.gguf') }]
    ]
    // The long beginning that all share is copied only where the same adapters decoded it.
    const asked = Array.from({ length: 15 }, (_, i) => ({ text: `${'a b c '.repeat(20)} ${i}`, lora: sets[i % 5] }))
    const race = ({ text, lora }: (typeof asked)[number]) => engine.bestOf(4, text, { ...raw, lora, seed: 3 })
    const alone = []
    for (const each of asked) alone.push(tokensOf(await race(each)))
    expect((await Promise.all(asked.map(race))).map(tokensOf)).toEqual(alone)
    expect(alone[0]).not.toEqual(alone[1])
  })

  it('has its turn in the order of the calls: nobody overtakes, and nobody starves', async () => {
    const began: string[] = []
    const race = (name: string, lora: LoraOptions[]) => {
      const onCheckpoint = () => void (began.includes(name) || began.push(name))
      return engine.bestOf(2, prompt, { ...raw, lora, checkpoints: tokensAt([2]), onCheckpoint })
    }
    const lora = [{ path: at('one.gguf') }]
    await Promise.all([
      race('a', []),
      race('b', []),
      race('c', lora),
      race('d', []),
      race('e', lora),
      race('f', lora),
      race('g', [])
    ])
    expect([began.slice(0, 2).sort(), began[2], began[3], began.slice(4, 6).sort(), began[6]]).toEqual([
      ['a', 'b'],
      'c',
      'd',
      ['e', 'f'],
      'g'
    ])
  })

  it('moves to longer streams with its adapters', async () => {
    const options = { ...raw, maxTokens: 500, policy: specReject({ memory: true, alpha: 0.5 }), seed: 5 }
    const lora = [{ path: at('one.gguf') }]
    const roomy = await engine.plan(8, prompt, { ...options, lora })
    const budget = roomy.peakBytes * 0.7
    const result = await engine.bestOf(8, prompt, { ...options, lora, budget })
    expect(result.rungs.length).toBeGreaterThan(1)
    const whole = await engine.bestOf(8, prompt, { ...options, policy: undefined, lora })
    const { tokens, id } = result.winner as NonNullable<Result['winner']>
    expect([...tokens]).toEqual([...(whole.branches[id]?.tokens ?? [])])
  })

  it('ends when its engine closes, or its caller leaves, and everything is freed', async () => {
    const own = await open(at('model.gguf'), opening)
    const lora = [{ path: at('one.gguf') }]
    const endless: BestOfOptions = { ...raw, maxTokens: 1900, lora }
    const left = new AbortController()
    const leaving = own.bestOf(8, prompt, { ...endless, signal: left.signal })
    const running = [own.bestOf(8, prompt, endless), own.bestOf(8, prompt, { ...endless, lora: [] })]
    setTimeout(() => left.abort(new Error('left')), 20)
    await expect(leaving).rejects.toThrow('left')
    const codes = running.map(codeOf)
    await own.close()
    expect(await Promise.all(codes)).toEqual(['ENGINE_CLOSED', 'ENGINE_CLOSED'])
    expect(await codeOf(own.bestOf(1, prompt, endless))).toBe('ENGINE_CLOSED')
    // Closed while the adapter is being opened.
    const quick = await open(at('model.gguf'), opening)
    const opened = codeOf(quick.bestOf(1, prompt, endless))
    await quick.close()
    expect(await opened).toBe('ENGINE_CLOSED')
  })
})

describe('an adapter that cannot be had', () => {
  it.each([
    ['none.gguf', 'ADAPTER_NOT_FOUND', 'which does not exist'],
    ['.', 'ADAPTER_NOT_FOUND', 'which is not a file'],
    ['empty.gguf', 'ADAPTER_CORRUPT', 'it does not begin with the bytes GGUF'],
    ['half.gguf', 'ADAPTER_CORRUPT', 'lies outside the file'],
    ['model.gguf', 'ADAPTER_CORRUPT', 'a file of type'],
    ['foreign.gguf', 'ADAPTER_MISMATCH', "architecture 'qwen3' and not 'llama'"],
    ['wide.gguf', 'ADAPTER_MISMATCH', "a pair of another shape for 'blk.0.attn_q.weight'"],
    ['invoked.gguf', 'ADAPTER_UNSUPPORTED', 'aLoRA']
  ])('is refused with a sentence, and the engine goes on: %s', async (name, code, sentence) => {
    const whole = fakeAdapter(one.pairs, 8)
    const files: Record<string, Buffer> = {
      'empty.gguf': Buffer.of(),
      'half.gguf': whole.subarray(0, whole.length / 2),
      'foreign.gguf': fakeAdapter(one.pairs, 8, { 'general.architecture': text('qwen3') }),
      'wide.gguf': fakeAdapter(
        [{ ...(one.pairs.at(-1) as (typeof one.pairs)[number]), base: 'blk.0.attn_q.weight' }],
        8
      ),
      'invoked.gguf': fakeAdapter(one.pairs, 8, {
        'adapter.alora.invocation_tokens': array(4, 1, Buffer.from([7, 0, 0, 0]))
      })
    }
    const bytes = files[name]
    if (bytes !== undefined) await writeFile(at(name), bytes)
    const lora = [{ path: at(name) }]
    const wrong = { code, message: expect.stringContaining(sentence) }
    await expect(engine.bestOf(1, prompt, { ...raw, lora })).rejects.toMatchObject(wrong)
    await expect(engine.plan(1, prompt, { ...raw, lora })).rejects.toMatchObject(wrong)
    expect((await engine.bestOf(1, prompt, raw)).reason).toBe('settled')
  })

  it('is tried again the next time', async () => {
    const lora = [{ path: at('late.gguf') }]
    expect(await codeOf(engine.bestOf(1, prompt, { ...raw, lora }))).toBe('ADAPTER_NOT_FOUND')
    await writeFile(at('late.gguf'), 'not yet')
    expect(await codeOf(engine.bestOf(1, prompt, { ...raw, lora }))).toBe('ADAPTER_CORRUPT')
    await writeFile(at('late.gguf'), fakeAdapter(one.pairs, one.alpha))
    expect((await engine.bestOf(1, prompt, { ...raw, lora })).reason).toBe('settled')
  })

  it('is refused twice in one race, by whatever name', async () => {
    await symlink(at('one.gguf'), at('link.gguf'))
    const lora = [{ path: at('one.gguf') }, { path: at('link.gguf'), scale: 2 }]
    await expect(engine.bestOf(1, prompt, { ...raw, lora })).rejects.toMatchObject({
      code: 'OPTION_INVALID',
      message: expect.stringContaining('Expected each adapter once for lora')
    })
  })

  it('ends no process, whatever its bytes are', async () => {
    const output = await program(
      'fuzz',
      `import { readFileSync, writeFileSync } from 'node:fs'
       const [model, adapter, changed] = process.argv.slice(2)
       const whole = readFileSync(adapter)
       const engine = await open(model, { gpu: 'cpu', threads: 1 })
       const codes = {}
       let state = 1
       const next = (most) => (state = (state * 48271) % 2147483647) % most
       for (let i = 0; i < 300; i++) {
         const cut = i % 3 === 0 ? next(whole.length) : whole.length
         const bytes = Buffer.from(whole.subarray(0, cut))
         // The header, mostly.
         if (i % 3 !== 0) bytes[next(i % 5 === 0 ? bytes.length : 2000)] = next(256)
         writeFileSync(changed + i, bytes)
         const options = { raw: true, maxTokens: 2, lora: [{ path: changed + i }] }
         const code = await engine.bestOf(2, 'a b', options).then(() => 'fine', (error) => error.code)
         codes[code] = (codes[code] ?? 0) + 1
       }
       const { reason } = await engine.bestOf(2, 'a b', { raw: true, maxTokens: 2 })
       await engine.close()
       console.log(JSON.stringify({ codes, reason }))`,
      [at('model.gguf'), at('one.gguf'), at('changed')]
    )
    const { codes, reason } = JSON.parse(output)
    expect(reason).toBe('settled')
    expect(codes.ADAPTER_CORRUPT).toBeGreaterThan(100)
    const known = ['fine', 'ADAPTER_CORRUPT', 'ADAPTER_MISMATCH', 'ADAPTER_UNSUPPORTED', 'LOGITS_INVALID']
    expect(Object.keys(codes).filter((code) => !known.includes(code))).toEqual([])
  }, 60_000)
})

describe('an adapter at an address', () => {
  it('is fetched before its race waits for streams, and holds nobody up', async () => {
    const hub = await modelHub()
    try {
      const bytes = fakeAdapter(one.pairs, one.alpha)
      hub.files.set('org/lora/small.gguf', bytes)
      // What lies behind the tensors is nobody's.
      for (const name of ['large', 'never']) {
        hub.files.set(`org/lora/${name}.gguf`, Buffer.concat([bytes, Buffer.alloc(2 ** 20)]))
      }
      hub.mood.slowMs = 100
      const output = await program(
        'address',
        `const [model] = process.argv.slice(2)
         const engine = await open(model, { gpu: 'cpu', threads: 1 })
         const order = []
         const race = (name, lora, own = {}) =>
           engine.bestOf(1, 'a b', { raw: true, maxTokens: 2, lora, ...own }).then(
             (result) => {
               order.push(name)
               return result
             },
             (error) => error.code ?? error.message
           )
         const lora = (name) => [{ path: 'hf:org/lora:' + name + '.gguf', scale: 2 }]
         await Promise.all([race('fetching', lora('large')), race('other', [])])
         const small = await race('small', lora('small'))
         const left = new AbortController()
         const leaving = race('left', lora('never'), { signal: left.signal })
         setTimeout(() => left.abort(new Error('left')), 50)
         const codes = [await leaving]
         const closing = race('closed', lora('never'))
         setTimeout(() => engine.close(), 50)
         codes.push(await closing)
         await engine.close()
         console.log(JSON.stringify({ order, codes, told: small.lora }))`,
        [at('model.gguf')],
        { HF_ENDPOINT: hub.url, WINNOW_MODELS: at('models') }
      )
      expect(JSON.parse(output)).toEqual({
        order: ['other', 'fetching', 'small'],
        codes: ['left', 'ENGINE_CLOSED'],
        told: [{ file: 'small.gguf', sha256: await sha256(at('one.gguf')), scale: 2 }]
      })
    } finally {
      await hub.close()
    }
  })
})

describe('a plan with an adapter', () => {
  const lora = () => [{ path: at('one.gguf'), scale: 0.5 }]
  const takenOf = ({ devices }: Plan) => devices.map(({ room: _, ...taken }) => taken)

  it('takes exactly what llama.cpp then allocates, whether the pool is made, adapted or at hand', async () => {
    const { binding } = loadBinding()
    const own = await open(at('model.gguf'), opening)
    try {
      const model = await openModel(binding, at('model.gguf'), resolveOpen(opening))
      const adapter = await openAdapter(binding, model, at('one.gguf'))
      const bare = await own.plan(6, prompt, { raw: true, maxTokens: 100 })
      const plan = await own.plan(6, prompt, { raw: true, maxTokens: 100, lora: lora() })
      const { width, cells } = plan.rungs[0] as (typeof plan.rungs)[number]
      const pool = await binding.createPool(model, {
        streams: width,
        cellsPerStream: cells,
        threads: 1,
        batch: 512,
        kvType: 'f32',
        flashAttention: 'auto',
        states: false,
        deterministic: false
      })
      const compute = async () => (await pool.sizes()).devices.map((each) => each.compute)
      expect(await compute()).toEqual(bare.devices.map((each) => each.compute))
      await pool.adapt([{ adapter, scale: 0.5 }])
      expect(await compute()).toEqual(plan.devices.map((each) => each.compute))
      expect((await pool.sizes()).devices.map((each) => each.cells)).toEqual(plan.devices.map((each) => each.cells))
      await pool.close()
      adapter.close()
      model.close()
      // What the engine has done before changes nothing of it.
      await own.bestOf(6, prompt, { raw: true, maxTokens: 100 })
      const adapting = await own.plan(6, prompt, { raw: true, maxTokens: 100, lora: lora() })
      expect(takenOf(adapting)).toEqual(takenOf(plan))
      const { usage } = await own.bestOf(6, prompt, { raw: true, maxTokens: 100, lora: lora() })
      const held = await own.plan(6, prompt, { raw: true, maxTokens: 100, lora: lora() })
      expect(takenOf(held)).toEqual(takenOf(plan))
      expect(held.devices[0]?.cells).toBe(usage.cellBytes)
    } finally {
      await own.close()
    }
  })

  it('counts its bytes until it is in memory', async () => {
    const { binding } = loadBinding()
    const [cpu] = binding.devices().filter(({ type }) => type === 'cpu')
    const devices = [{ ...(cpu as NonNullable<typeof cpu>), memoryFree: 4096 * MiB }]
    const planned = (changes: Partial<Site>, asked: LoraOptions[]) => {
      const site: Site = {
        binding: { ...binding, devices: () => devices },
        path: at('model.gguf'),
        options: resolveOpen(opening),
        loaded: false,
        head: false,
        held: null,
        pace: null,
        shared: false,
        ...changes
      }
      const options = { ...raw, lora: asked }
      return planRace(site, 2, prompt, options, new AbortController().signal)
    }
    const bytes = one.pairs.reduce((sum, { a, b }) => sum + 4 * (a.length + b.length), 0)
    const { budgetBytes } = await planned({}, [])
    expect((await planned({}, lora())).budgetBytes).toBe(budgetBytes - bytes)
    expect((await planned({ hasAdapter: () => true }, lora())).budgetBytes).toBe(budgetBytes)
  })
})

describe('a journal', () => {
  it('is refused when it was written with another adapter, another scale or none', async () => {
    const [journal, options] = [at('journal.jsonl'), { n: 1, ...raw }]
    const run = async (lora: LoraOptions[] | undefined, path = journal) => {
      const results: Result[] = []
      for await (const mapped of engine.map([prompt], { ...options, lora, journal: path })) {
        if (mapped.state === 'done') results.push(mapped.result)
      }
      return results
    }
    const [first] = await run([{ path: at('one.gguf'), scale: 0.5 }])
    expect(first?.lora).toEqual([{ file: 'one.gguf', sha256: await sha256(at('one.gguf')), scale: 0.5 }])
    await writeFile(at('copy.gguf'), await readFile(at('one.gguf')))
    // By another name it is the same.
    const [again] = await run([{ path: at('copy.gguf'), scale: 0.5 }])
    expect(again?.text).toBe(first?.text)
    expect(again?.lora).toEqual(first?.lora)
    for (const lora of [
      [],
      [{ path: at('one.gguf') }],
      [{ path: at('other.gguf'), scale: 0.5 }],
      [{ path: at('one.gguf'), scale: 0.5 }, { path: at('other.gguf') }]
    ]) {
      await expect(run(lora)).rejects.toMatchObject({
        code: 'RESULTS_MISMATCH',
        message: expect.stringContaining('which differs in lora')
      })
    }
    const plain = at('plain.jsonl')
    await run(undefined, plain)
    await run([], plain)
    expect(await codeOf(run([{ path: at('one.gguf') }], plain))).toBe('RESULTS_MISMATCH')
  })
})
